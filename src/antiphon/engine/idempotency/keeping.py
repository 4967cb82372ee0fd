"""Which outcomes belong to their key from now on, and which leave it as it was.

An outcome is kept because asking again would do again what was done. Where nothing was done there is nothing to
protect, and keeping the refusal would only make it last.
"""

from enum import Enum
from typing import Any, Final

import msgspec

from antiphon.ports.idempotency import Outcome

UNKNOWN_OUTCOME: Final = "idempotency_outcome_unknown"
"""The code of an answer that says that nobody knows what became of an earlier attempt."""

_NOT_BEGUN: Final = frozenset({401, 408, 409, 425, 429, 529})
"""Statuses that say so, whoever says it: come with a key, later, or when there is room."""
_NOT_BEGUN_CODES: Final = frozenset({"conversation_locked", "not_cached"})
"""The same, under statuses that mean other things too."""
_UNAVAILABLE: Final = 503
_MOST_ERROR_BYTES: Final = 64 * 1024


class Deed(Enum):
    """What has become of a request."""

    DONE = "done"
    """It was answered, well or badly."""
    NOT_BEGUN = "not begun"
    PERHAPS = "perhaps"
    """Its answer does not say: storage was lost in the middle, or the process stopped."""


class _Error(msgspec.Struct):
    code: Any = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class _Told(msgspec.Struct):
    error: _Error


_told = msgspec.json.Decoder(_Told).decode


def deed_of(outcome: Outcome) -> Deed:
    """Return what an answer says of its request."""
    if outcome.status < 400:
        return Deed.DONE
    if outcome.status == _UNAVAILABLE:
        return Deed.PERHAPS
    code = _code(outcome.body)
    if code == UNKNOWN_OUTCOME:
        return Deed.DONE
    says_so = (b"x-should-retry", b"true") in outcome.headers
    if says_so or outcome.status in _NOT_BEGUN or code in _NOT_BEGUN_CODES:
        return Deed.NOT_BEGUN
    return Deed.DONE


def _code(body: bytes) -> object:
    """Return the code of an error of ours, in whichever form."""
    if len(body) > _MOST_ERROR_BYTES:
        return None
    try:
        error = _told(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    code = error.code or error.details.get("error_code")
    return code if isinstance(code, str) else None
