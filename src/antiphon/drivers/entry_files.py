"""Entries of the cache as files of a cassette: what they answered, and the key under which they are found.

The key is made of the request, so an entry is written only as it is: one in which something looks like a secret is left
out, since redacted it would be found by nobody.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from antiphon.cache.entry import Entry, Origin
from antiphon.recording.cassette import Exchange, UnreadableCassetteError, from_json, redacted, to_json

_ROUTE_AT: Final = 2
"""The place of the route in what stands before the body in an identity."""


class _Kept(msgspec.Struct, omit_defaults=True):
    """What an exchange has not."""

    key: str
    """The identity of the key: circumstances and body, one after the other."""
    stored_at: datetime
    expires_at: datetime
    public_id: str = ""
    echo: dict[str, str] = {}
    """Members as JSON."""
    tags: tuple[str, ...] = ()
    scope: str = ""
    target: str = ""
    model: str = ""
    prompt: str = ""
    keep_until: datetime | None = None
    is_pinned: bool = False
    usage_requested: bool = False


def entry_name(entry: Entry) -> str:
    """Return the name of the file of an entry, which is the same whenever and wherever it is exported."""
    return f"cache-{entry.recording.dialect}-{entry.digest.hex()[:16]}.json"


def write_entry(entry: Entry) -> bytes | None:
    """Return the file of an entry; None if it cannot be one without a secret in it."""
    recording, origin = entry.recording, entry.origin
    try:
        key = entry.identity.decode()
        echo = {name: value.decode() for name, value in entry.echo.items()}
    except UnicodeDecodeError:
        return None
    around, body = _parts(key)
    kept = _Kept(
        key=key,
        stored_at=datetime.fromtimestamp(entry.stored_at, UTC),
        expires_at=datetime.fromtimestamp(entry.expires_at, UTC),
        public_id=entry.public_id,
        echo=echo,
        tags=entry.tags,
        scope=origin.scope,
        target=origin.target,
        model=origin.model,
        prompt=origin.prompt,
        keep_until=datetime.fromtimestamp(entry.keep_until, UTC) if entry.keep_until else None,
        is_pinned=entry.is_pinned,
        usage_requested=recording.usage_requested,
    )
    told = msgspec.to_builtins(kept, str_keys=True)
    written = to_json(Exchange(around, body, recording, cache=told))
    again = from_json(written)
    is_whole = (again.body, again.recording.frames) == (body, recording.frames)
    return written if is_whole and redacted(told) == told else None


def read_entry_file(data: bytes) -> Entry | None:
    """Read the file of an entry; None for an exchange that is none. Raises UnreadableCassetteError."""
    exchange = from_json(data)
    if exchange.cache is None:
        return None
    try:
        kept = msgspec.convert(exchange.cache, _Kept)
    except msgspec.ValidationError as error:
        raise UnreadableCassetteError(str(error)) from error
    identity = kept.key.encode()
    recording = exchange.recording
    recording.usage_requested = kept.usage_requested
    return Entry(
        digest=hashlib.sha256(identity).digest()[:16],
        identity=identity,
        recording=recording,
        public_id=kept.public_id,
        echo={name: value.encode() for name, value in kept.echo.items()},
        stored_at=kept.stored_at.timestamp(),
        expires_at=kept.expires_at.timestamp(),
        tags=kept.tags,
        origin=Origin(kept.scope, kept.target, kept.model, kept.prompt),
        keep_until=kept.keep_until.timestamp() if kept.keep_until else 0.0,
        is_pinned=kept.is_pinned,
    )


def _parts(key: str) -> tuple[str, Any]:
    """Return the route and the body that an identity was made of."""
    try:
        around, end = json.JSONDecoder().raw_decode(key)
        return str(around[_ROUTE_AT]), msgspec.json.decode(key[end:])
    except (ValueError, IndexError, TypeError, msgspec.DecodeError):
        return "", None
