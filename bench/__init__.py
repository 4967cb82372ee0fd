"""What Antiphon costs, measured against nginx doing the nearest thing in the same run: `python -m bench`."""
