"""`antiphon demo`."""


def run() -> int:
    """Run the demonstration."""
    return 0
