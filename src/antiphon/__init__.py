"""Antiphon: an LLM gateway that records every answer, and replays it."""

__version__ = "0.1.0"
