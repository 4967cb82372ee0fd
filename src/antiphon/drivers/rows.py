"""What stands in the rows of responses and cache entries, whatever database they are in."""

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from antiphon.cache.entry import Entry, Origin
from antiphon.ports.stores import KeptResponse, Share, Totals
from antiphon.recording.codec import decode
from antiphon.turn.history import Head
from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

ENTRY_COLUMNS: Final = (
    "digest, identity, recording_id, public_id, echo, tags, stored_at, expires_at, size, "
    "scope, target, model, prompt, keep_until, is_pinned, as_of"
)
READ_COLUMNS: Final = (
    "digest, identity, data, public_id, echo, tags, stored_at, expires_at, "
    "scope, target, model, prompt, keep_until, is_pinned, as_of"
)
"""With the recording itself, of a join with `recordings`."""
TOTALS: Final = """
SELECT target, count(*), coalesce(sum(size), 0), coalesce(sum(CASE WHEN is_pinned THEN 1 ELSE 0 END), 0)
FROM cache_entries GROUP BY target ORDER BY target
"""
_ECHO: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_UNREADABLE: Final = (ValueError, TypeError, AttributeError)
"""Also of another type than it was written with: a row may have been changed by anything."""


def plain_text(text: str) -> str:
    """Return a text without what is no character, and without what PostgreSQL takes in no text."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


def write_echo(echo: dict[str, bytes]) -> bytes:
    """Write echoed members."""
    return msgspec.msgpack.encode(echo)


def read_echo(data: bytes) -> dict[str, bytes]:
    """Read what `write_echo` wrote. Raises msgspec.DecodeError."""
    return _ECHO.decode(data)


def read_response(response_id: str, owner: str, row: Sequence[Any], head: Head | None) -> KeptResponse:
    """Read a row of recording, time to show, echo and expiry, whose history is `head`. Raises StoreFault."""
    data, created_at, echo, expires_at = row
    try:
        return KeptResponse(
            id=response_id,
            owner=owner,
            recording=decode(data),
            created_at=created_at,
            echoed=read_echo(echo),
            expires_at=expires_at,
            head=head,
        )
    except _UNREADABLE as error:
        _log.error("a kept response cannot be read: %s", error)
        raise StoreFault(
            "The stored response cannot be read.", code="storage_unreadable", status=500
        ) from error


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """Return the values of `ENTRY_COLUMNS` of a cache entry."""
    origin = entry.origin
    return (
        entry.digest,
        entry.identity,
        entry.recording.id,
        entry.public_id,
        write_echo(entry.echo),
        "\n".join(entry.tags),
        entry.stored_at,
        entry.expires_at,
        entry.size,
        origin.scope,
        origin.target,
        origin.model,
        plain_text(origin.prompt),
        entry.keep_until,
        entry.is_pinned,
        entry.as_of,
    )


def read_entry(row: Sequence[Any]) -> Entry | None:
    """Read a row of `READ_COLUMNS`; None if it cannot be read."""
    digest, identity, data, public_id, echo, tags, stored_at, expires_at, *rest = row
    scope, target, model, prompt, keep_until, is_pinned, as_of = rest
    try:
        return Entry(
            digest=digest,
            identity=identity,
            recording=decode(data),
            public_id=str(public_id),
            echo=read_echo(echo),
            stored_at=float(stored_at),
            expires_at=float(expires_at),
            tags=tuple(tags.split("\n")) if tags else (),
            origin=Origin(scope, target, model, prompt),
            keep_until=float(keep_until),
            is_pinned=bool(is_pinned),
            as_of=int(as_of),
        )
    except _UNREADABLE as error:
        _log.warning("a cache entry cannot be read and counts as a miss: %s", error)
        return None


def read_totals(rows: Sequence[Sequence[Any]]) -> Totals:
    """Read the rows of `TOTALS`."""
    by_target = {
        str(target): Share(int(entries), int(size), int(pinned)) for target, entries, size, pinned in rows
    }
    return Totals(by_target)
