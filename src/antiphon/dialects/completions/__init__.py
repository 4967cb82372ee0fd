"""Text completions, chat's older sister."""
