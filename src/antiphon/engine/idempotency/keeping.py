"""Which outcomes belong to their key from now on, and which leave it as it was.

An outcome is kept because asking again would do again what was done. Where nothing was done there is nothing to
protect, and keeping the refusal would only make it last.
"""

from typing import Any, Final

import msgspec

from antiphon.ports.idempotency import Outcome

NOT_DONE: Final = frozenset({401, 408, 409, 425, 429, 503, 529})
"""Statuses that say, whoever says it, that the request was not begun: come back with a key, later, or when there is room."""
_NOT_DONE_CODES: Final = frozenset({"conversation_locked", "not_cached"})
"""The same, under statuses that mean other things too."""
_MOST_ERROR_BYTES: Final = 64 * 1024


class _Error(msgspec.Struct):
    code: Any = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class _Told(msgspec.Struct):
    error: _Error


_told = msgspec.json.Decoder(_Told).decode


def was_done(outcome: Outcome) -> bool:
    """Whether a request that was answered like this has been done, well or badly."""
    if outcome.status < 400:
        return True
    if outcome.status in NOT_DONE or (b"x-should-retry", b"true") in outcome.headers:
        return False
    return _code(outcome.body) not in _NOT_DONE_CODES


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
