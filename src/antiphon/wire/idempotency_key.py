"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a string that names one request.

The draft wants a structured field's string, `"8e03978e-…"`. Stripe's clients, and most others, send the same without
quotes: both are the same key.
"""

import re
from typing import Final

from antiphon.wire.errors import ClientFault

IDEMPOTENCY_KEY: Final = b"idempotency-key"
MOST_CHARACTERS: Final = 255

# RFC 9651, 3.3.3: printable ASCII, in which a quote and a backslash stand behind a backslash.
_STRING: Final = rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
# RFC 9651, 3.1.2: parameters, of which the draft knows none; what is not known is passed over.
_VALUE: Final = rb'(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z0-9*:?+\-./=!#$%&\'^_`|~@]+)'
_PARAMETERS: Final = rb"(?:; *[a-z*][a-z0-9_\-.*]*(?:=%b)?)*" % _VALUE
_ITEM: Final = re.compile(_STRING + _PARAMETERS)
# What could be the beginning of anything but a key is none: a list, a parameter, an unfinished string.
_BARE: Final = re.compile(rb"[!#-+\--:<-\[\]-~]+")
_ESCAPED: Final = re.compile(rb"\\(.)")


def read_key(value: bytes) -> bytes:
    """Return the key that the header's value carries, without quotes. Raises ClientFault."""
    text = value.strip(b" \t")
    item = _ITEM.fullmatch(text)
    if item is not None:
        key = _ESCAPED.sub(rb"\1", item[1])
    elif _BARE.fullmatch(text):
        key = text
    else:
        raise _fault('a string in quotes, as in "8e03978e-40d5-43e8-bc93-6894a57f9324", or one word')
    if not 0 < len(key) <= MOST_CHARACTERS:
        raise _fault(f"1 to {MOST_CHARACTERS} characters long")
    return key


def _fault(wanted: str) -> ClientFault:
    # What came is not repeated: it may be somebody's secret in the wrong header.
    return ClientFault(
        f"The header Idempotency-Key must be {wanted}.",
        code="invalid_idempotency_key",
        param="Idempotency-Key",
    )
