"""What PostgreSQL cannot hold and SQLite can: NUL in a text, halves of surrogate pairs, numbers beyond 64 bits."""

from typing import Final

_MOST: Final = 2**63 - 1


def is_storable(text: str) -> bool:
    """Whether a text can be in the database, and so can be looked for."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def storable(value: object) -> object:
    """Return what is nearest to a value that an upstream or a client has made up."""
    if isinstance(value, str):
        return (
            value if is_storable(value) else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_MOST, min(value, _MOST))
    return value
