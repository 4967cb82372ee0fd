"""Requests that are lists of items, each with a cache entry of its own: only what is missing is asked for."""
