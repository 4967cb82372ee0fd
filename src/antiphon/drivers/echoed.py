"""The stored form of echoed members, whose values are JSON as it came."""

from typing import Final

import msgspec

_ECHO: Final = msgspec.msgpack.Decoder(dict[str, bytes])


def write_echo(echo: dict[str, bytes]) -> bytes:
    """Write echoed members."""
    return msgspec.msgpack.encode(echo)


def read_echo(data: bytes) -> dict[str, bytes]:
    """Read what `write_echo` wrote. Raises msgspec.DecodeError."""
    return _ECHO.decode(data)
