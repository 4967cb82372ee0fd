"""Answers that survive their process: accepted, run under a lease, logged before anybody sees them, and followed."""
