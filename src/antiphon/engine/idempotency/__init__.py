"""Requests with an idempotency key: answered once, told as often as they are asked."""
