"""Files inside a request: data URLs taken apart and put together, in whatever dialect they stand."""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from antiphon.dialects.translation import Download

_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*?(;base64)?,", re.ASCII | re.IGNORECASE)


class Inline(NamedTuple):
    """A file that a request holds itself."""

    media_type: str
    """Empty where it is not said."""
    data: str
    """Its bytes as base64."""


def read_inline(url: str) -> Inline | None:
    """Take a data URL apart; None for any other. What it says is base64 stays as it is."""
    found = _DATA_URL.match(url)
    if found is None:
        return None
    rest = url[found.end() :]
    return Inline(found[1].lower(), rest if found[2] else _encoded(unquote_to_bytes(rest)))


def downloaded(file: Download) -> Inline:
    """Return a file that was fetched for the request."""
    return Inline(file.media_type, _encoded(file.data))


def data_url(file: Inline) -> str:
    """Put a data URL together."""
    return f"data:{file.media_type};base64,{file.data}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
