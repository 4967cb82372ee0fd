"""Storage in PostgreSQL: what several hosts share."""
