"""Compressing what is kept or carried, in the format of RFC 1950 (zlib).

By Intel's ISA-L, which takes an eighth of the time of zlib's fastest level and makes the result no larger.
"""

from typing import Final

from isal import isal_zlib

_LEVEL: Final = 1
"""Of much that is compressed the most is base64, where a higher level finds nothing more."""
_BROKEN: Final[type[Exception]] = isal_zlib.error  # type: ignore[assignment]  # its stub says: an instance


def deflated(data: bytes, least: int = 0) -> bytes | None:
    """Return it compressed; None where it has fewer than `least` bytes, or would not become smaller."""
    if len(data) < least:
        return None
    made = isal_zlib.compress(data, _LEVEL)
    return made if len(made) < len(data) else None


def inflated(data: bytes, most: int = 0) -> bytes:
    """Return what was compressed, or its first `most` bytes. Raises ValueError for what cannot be read."""
    try:
        if most:
            return isal_zlib.decompressobj().decompress(data, most)
        return isal_zlib.decompress(data)
    except _BROKEN as error:
        raise ValueError(f"compressed data that cannot be read: {error}") from error
