"""A cache entry as it stands in Redis: one string, with what it is selected by at its beginning.

    AC | version | length of the attributes (4) | attributes | identity | echo | recording

So a purge reads the beginning of each entry, not the answers. There are no sets of the entries of a tag or a model:
a server that is full throws out what it likes, and a purge that believed in such a set would pass over entries whose
place in it was lost.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.cache.entry import STALE_SECONDS, Entry, Origin
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.rows import entry_row, read_entry
from antiphon.recording import Mode, Recording
from antiphon.recording.codec import encode

_MAGIC: Final = b"AC\1"
_START: Final = 7

BEGINNING: Final = 1024
"""Bytes in which the attributes are nearly always found."""


class Unreadable(ValueError):
    """These bytes are not the attributes of an entry."""


class TooShort(Unreadable):
    """There are more attributes than these bytes hold."""


class Attributes(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Everything but what was asked and what was answered."""

    digest: bytes
    identity_length: int
    recording_id: str
    public_id: str
    echo_length: int
    tags: str
    stored_at: float
    expires_at: float
    size: int
    scope: str
    target: str
    model: str
    prompt: str
    keep_until: float
    is_pinned: bool

    def stub(self) -> Entry:
        """Return an entry to be matched by a selector: without identity, echo, and recording but for its id."""
        return Entry(
            digest=self.digest,
            identity=b"",
            recording=Recording(self.recording_id, "", Mode.JSON, "", "", 0.0),
            public_id=self.public_id,
            echo={},
            stored_at=self.stored_at,
            expires_at=self.expires_at,
            tags=tuple(self.tags.split("\n")) if self.tags else (),
            origin=Origin(self.scope, self.target, self.model, self.prompt),
        )


_decoder: Final = msgspec.msgpack.Decoder(Attributes)


def write_value(entry: Entry) -> bytes:
    """Return what is kept of an entry."""
    digest, identity, recording_id, public_id, echo, *rest = entry_row(entry)
    told = [digest, len(identity), recording_id, public_id, len(echo), *rest]
    attributes = msgspec.msgpack.encode(told)
    length = len(attributes).to_bytes(4, "big")
    return b"".join((_MAGIC, length, attributes, identity, echo, encode(entry.recording)))


def read_attributes(value: bytes) -> Attributes:
    """Read the attributes at the beginning of a value, of which this is a part. Raises Unreadable."""
    end = _end_of_attributes(value)
    if len(value) < end:
        raise TooShort(f"{end} bytes are needed")
    try:
        return _decoder.decode(memoryview(value)[_START:end])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def may_match(value: bytes, needles: Sequence[bytes]) -> bool:
    """Whether attributes at the beginning of a value can have all of these texts; far cheaper than to read them."""
    if all(needle in value for needle in needles):
        return True
    try:
        return _end_of_attributes(value) > len(value)
    except Unreadable:
        return False


def needles_of(selector: Selector) -> list[bytes]:
    """Return texts that are in the attributes of all that is meant."""
    prompt = selector.prompt and selector.prompt[:PROMPT_LENGTH]
    texts = (selector.recording_id, selector.scope, selector.model, selector.tag, prompt)
    try:
        return [text.encode() for text in texts if text]
    except UnicodeEncodeError:
        return []


def read_value(value: bytes) -> Entry:
    """Read an entry. Raises Unreadable."""
    told = read_attributes(value)
    start = _end_of_attributes(value)
    middle = start + told.identity_length
    end = middle + told.echo_length
    identity, echo, data = value[start:middle], value[middle:end], value[end:]
    row = (told.digest, identity, data, told.public_id, echo, told.tags, told.stored_at, told.expires_at)
    entry = read_entry(
        (*row, told.scope, told.target, told.model, told.prompt, told.keep_until, told.is_pinned)
    )
    if entry is None:
        raise Unreadable("not an entry")
    return entry


def stays(entry: Entry, now: float) -> float | None:
    """Return the seconds for which an entry is kept; None if it stays until it is removed."""
    if entry.is_pinned:
        return None
    return max(entry.expires_at + STALE_SECONDS, entry.keep_until) - now


def _end_of_attributes(value: bytes) -> int:
    if not value.startswith(_MAGIC) or len(value) < _START:
        raise Unreadable("not an entry of a version that is understood")
    return _START + int.from_bytes(value[len(_MAGIC) : _START], "big")
