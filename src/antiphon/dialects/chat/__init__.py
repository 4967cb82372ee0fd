"""Chat Completions, and what imitates them."""
