"""The response cache decides here: keys, controls, entries, verdicts. It never fetches."""
