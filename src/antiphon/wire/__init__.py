"""Bytes on the wire: SSE, JSON and its canonical form, error bodies. No I/O, no clock."""
