"""What a row of a claim means, whatever database it is in."""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from antiphon.ports.idempotency import Ended, Found, Held, Outcome, Reused
from antiphon.wire.deflate import deflated, inflated

_log = logging.getLogger(__name__)

_WORTH_DEFLATING: Final = 2048
ROW_BYTES: Final = 256
"""What a row takes beside its outcome, about."""


class ClaimRow(NamedTuple):
    """A row, in the order of its columns."""

    fingerprint: bytes
    answer_id: str
    holder: str | None
    held_until: float
    expires_at: float
    has_ended: bool
    outcome: bytes | None


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    is_deflated: bool
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


def verdict(
    row: ClaimRow | None, fingerprint: bytes, now: float, is_over: Callable[[str], bool]
) -> Found | None:
    """Return what a row says to who wants to hold its claim; None: it may be held.

    `is_over` knows holders that are certainly not at it any more.
    """
    if row is None:
        return None
    is_held = row.holder is not None and row.held_until > now and not is_over(row.holder)
    if row.expires_at <= now and not is_held:
        return None
    if row.fingerprint != fingerprint:
        return Reused()
    if row.has_ended:
        return Ended(None if row.outcome is None else read_outcome(row.outcome))
    return Held(row.answer_id) if is_held else None


def answer_id_of(row: ClaimRow | None, new: str, now: float) -> tuple[str, bool]:
    """Return the answer's id for the next holder of a claim that may be held, and whether there was one before."""
    if row is None or row.expires_at <= now:
        return new, False
    return row.answer_id, True


def write_outcome(outcome: Outcome) -> bytes:
    """Return the stored form."""
    smaller = deflated(outcome.body, least=_WORTH_DEFLATING)
    body = outcome.body if smaller is None else smaller
    return _encode(_Stored(outcome.status, outcome.headers, smaller is not None, body))


def read_outcome(data: bytes) -> Outcome | None:
    """Read what `write_outcome` wrote; None if it cannot be read."""
    try:
        stored = _decode(data)
        body = inflated(stored.body) if stored.is_deflated else stored.body
    except (ValueError, TypeError) as error:
        _log.error("the outcome of a request cannot be read: %s", error)
        return None
    return Outcome(stored.status, stored.headers, body)
