"""Data URLs (RFC 2397), read strictly: what two readers could take for two things is refused.

Only the standard alphabet of base64, padded, without blanks and line breaks; percent signs only before two
hexadecimal digits; nothing outside ASCII.
"""

import binascii
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from antiphon.wire.errors import ClientFault

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bound of what is decoded, where the caller names none."""

_SCHEME: Final = "data:"
_MAX_HEAD: Final = 1024
_NAME: Final = r"[!#$&'*+.^_`|~0-9A-Za-z%-]+"
_HEAD: Final = re.compile(
    rf"(?P<type>{_NAME}/{_NAME})?(?P<parameters>(;{_NAME}=(\"[ !#-\[\]-~]*\"|[!#-+\--:<-~]*))*)(?P<base64>;base64)?",
    re.ASCII | re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*", re.ASCII)


class DataUrl(NamedTuple):
    """What a data URL holds."""

    media_type: str
    """Type and subtype in lower case, without parameters; `text/plain` where the URL names none."""
    data: bytes


def is_data_url(url: str) -> bool:
    """Whether `url` carries its content itself."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def read_data_url(
    url: str, *, param: str | None = None, code: str = "invalid_value", max_bytes: int = MAX_BYTES
) -> DataUrl:
    """Decode a data URL. Raises ClientFault with `code` and `param` for what is not one, or is too large."""
    # Bounded, since the head of a URL without a comma is all of it.
    comma = url.find(",", 0, _MAX_HEAD)
    head = _HEAD.fullmatch(url, len(_SCHEME), comma) if comma >= 0 and is_data_url(url) else None
    if head is None:
        raise _fault("It must look like `data:image/png;base64,…`", param, code)
    start = comma + 1
    # An escaped byte takes three characters, four characters of base64 are three bytes: both less than this.
    if (len(url) - start) // (4 if head["base64"] else 3) > max_bytes:
        raise _too_large(max_bytes, param)
    data = _base64(url, start, param, code) if head["base64"] else _text(url, start, param, code)
    if len(data) > max_bytes:
        raise _too_large(max_bytes, param)
    return DataUrl((head["type"] or "text/plain").lower(), data)


def _base64(url: str, start: int, param: str | None, code: str) -> bytes:
    letters = url[start:]
    if "%" in letters:
        letters = _text(url, start, param, code).decode("latin-1")
    try:
        # Strict as it is, the decoder takes any padding behind what is whole already.
        if len(letters) % 4 or letters.endswith("==="):
            raise ValueError("wrong padding")
        return binascii.a2b_base64(letters, strict_mode=True)
    except ValueError as error:
        raise _fault(
            "What follows the comma must be standard base64, padded, without blanks and line breaks",
            param,
            code,
        ) from error


def _text(url: str, start: int, param: str | None, code: str) -> bytes:
    text = url[start:]
    if not _PRINTABLE.fullmatch(text) or _PERCENT.search(text):
        raise _fault(
            "What follows the comma must be ASCII, all but letters, digits and punctuation percent-encoded",
            param,
            code,
        )
    return unquote_to_bytes(text)


def _fault(what: str, param: str | None, code: str) -> ClientFault:
    return ClientFault(f"This is not a data URL that can be read. {what}.", code=code, param=param)


def _too_large(max_bytes: int, param: str | None) -> ClientFault:
    return ClientFault(
        f"The content of this data URL is larger than {max_bytes} bytes.",
        code="string_above_max_length",
        param=param,
    )
