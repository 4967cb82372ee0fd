"""Ollama's own API: an upstream alone."""
