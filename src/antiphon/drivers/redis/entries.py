"""A cache entry as it stands in Redis: one string, with what it is selected by at its beginning.

    AC | version | flags (1) | expiry (8) | length of the attributes (4) | attributes | identity | echo | recording

So a purge reads the beginning of each entry, not the answers. There are no sets of the entries of a tag or a model:
a server that is full throws out what it likes, and a purge that believed in such a set would pass over entries whose
place in it was lost. What is changed later stands at places of its own, which are overwritten alone.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.cache.changes import UNKNOWN
from antiphon.cache.entry import STALE_SECONDS, Entry, Origin
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.rows import plain_text, read_echo, write_echo
from antiphon.recording import Mode, Recording
from antiphon.recording.codec import decode, encode

_HEAD: Final = struct.Struct(">3sBdI")
_MAGIC: Final = b"AC\1"
_START: Final = _HEAD.size

FLAGS_AT: Final = 3
"""Where the flags stand."""
EXPIRY_AT: Final = 4
"""Where the expiry stands."""
PINNED: Final = 1
"""The flag of what stays until it is purged."""
BEGINNING: Final = 1024
"""Bytes in which the attributes are nearly always found."""


class Unreadable(ValueError):
    """These bytes are not an entry."""


class TooShort(Unreadable):
    """There are more attributes than these bytes hold."""


class Attributes(msgspec.Struct, array_like=True):
    """What an entry is selected by, and where the rest of it stands."""

    digest: bytes
    identity_length: int
    echo_length: int
    recording_id: str
    public_id: str
    tags: tuple[str, ...]
    stored_at: float
    size: int
    scope: str
    target: str
    model: str
    prompt: str
    keep_until: float
    as_of: int = UNKNOWN

    def entry(self, head: "Head", identity: bytes, echo: bytes, recording: Recording) -> Entry:
        """Put an entry together. Raises ValueError."""
        return Entry(
            digest=self.digest,
            identity=identity,
            recording=recording,
            public_id=self.public_id,
            echo=read_echo(echo) if echo else {},
            stored_at=self.stored_at,
            expires_at=head.expires_at,
            tags=self.tags,
            origin=Origin(self.scope, self.target, self.model, self.prompt),
            keep_until=self.keep_until,
            is_pinned=head.is_pinned,
            as_of=self.as_of,
        )

    def stub(self, head: "Head") -> Entry:
        """Return what a selector looks at: an entry with the recording's id alone, and its size as that of renditions."""
        stub = self.entry(head, b"", b"", Recording(self.recording_id, "", Mode.JSON, "", "", 0.0))
        stub.rendition_bytes = self.size
        return stub


class Head(msgspec.Struct):
    """What stands before the attributes."""

    is_pinned: bool
    expires_at: float
    end: int
    """Where the attributes end."""


_decoder: Final = msgspec.msgpack.Decoder(Attributes)


def write_value(entry: Entry) -> bytes:
    """Return what is kept of an entry."""
    origin, echo = entry.origin, write_echo(entry.echo)
    attributes = msgspec.msgpack.encode(
        Attributes(
            digest=entry.digest,
            identity_length=len(entry.identity),
            echo_length=len(echo),
            recording_id=entry.recording.id,
            public_id=entry.public_id,
            tags=entry.tags,
            stored_at=entry.stored_at,
            size=entry.size,
            scope=origin.scope,
            target=origin.target,
            model=origin.model,
            # As in the other stores: a prompt may hold what is no character of any text.
            prompt=plain_text(origin.prompt),
            keep_until=entry.keep_until,
            as_of=entry.as_of,
        )
    )
    flags = PINNED if entry.is_pinned else 0
    head = _HEAD.pack(_MAGIC, flags, entry.expires_at, len(attributes))
    return b"".join((head, attributes, entry.identity, echo, encode(entry.recording)))


def write_expiry(at: float) -> bytes:
    """Return what stands at `EXPIRY_AT`."""
    return struct.pack(">d", at)


def read_head(value: bytes) -> Head:
    """Read the head of a value, of which this is a part. Raises Unreadable."""
    if not value.startswith(_MAGIC) or len(value) < _START:
        raise Unreadable("not an entry of a version that is understood")
    _, flags, expires_at, length = _HEAD.unpack_from(value)
    return Head(bool(flags & PINNED), expires_at, _START + length)


def read_attributes(value: bytes) -> tuple[Head, Attributes]:
    """Read what stands at the beginning of a value, of which this is a part. Raises Unreadable."""
    head = read_head(value)
    if len(value) < head.end:
        raise TooShort(f"{head.end} bytes are needed")
    try:
        return head, _decoder.decode(memoryview(value)[_START : head.end])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def read_value(value: bytes) -> Entry:
    """Read an entry. Raises Unreadable."""
    head, told = read_attributes(value)
    middle = head.end + told.identity_length
    end = middle + told.echo_length
    try:
        return told.entry(head, value[head.end : middle], value[middle:end], decode(value[end:]))
    except ValueError as error:
        raise Unreadable(str(error)) from error


def needles_of(selector: Selector) -> list[bytes]:
    """Return texts that are in the attributes of all that is meant."""
    prompt = selector.prompt and selector.prompt[:PROMPT_LENGTH]
    texts = (selector.recording_id, selector.scope, selector.model, selector.tag, prompt)
    try:
        return [text.encode() for text in texts if text]
    except UnicodeEncodeError:
        return []


def may_match(value: bytes, needles: Sequence[bytes]) -> bool:
    """Whether the attributes at the beginning of a value can have all these texts; far cheaper than to read them."""
    if all(needle in value for needle in needles):
        return True
    try:
        return read_head(value).end > len(value)
    except Unreadable:
        return False


def stays(entry: Entry, now: float) -> float | None:
    """Return the seconds for which an entry is kept; None if it stays until it is removed."""
    if entry.is_pinned:
        return None
    return max(entry.expires_at + STALE_SECONDS, entry.keep_until) - now
