"""Gemini's generateContent: an upstream alone."""
