"""The stored form of a recording: compact, versioned, and sure to be whole when it can be read.

    AR | version | compression | checksum (8) | payload

The checksum covers everything else. The payload is a msgpack array with the frames joined, their lengths, and
the differences between their times; it is deflated where that makes it smaller.
"""

import hashlib
from dataclasses import fields
from operator import attrgetter

import msgspec

from antiphon.recording.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.usage import Usage
from antiphon.wire.deflate import deflated, inflated

_MAGIC = b"AR"
_VERSION = 1
_PLAIN = 0
_DEFLATED = 1
_CHECKED = 4
_START = 12
_WORTH_DEFLATING = 2048

_USAGE_COUNTS = tuple(field.name for field in fields(Usage))
_usage_counts = attrgetter(*_USAGE_COUNTS)


class UnreadableRecordingError(ValueError):
    """These bytes are not a whole recording in a version that is understood."""


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: str
    dialect: str
    mode: Mode
    provider: str
    model: str
    started_at: float
    ended_at: float
    status: int
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    state: State
    reason: str | None
    usage: tuple[int, ...]
    response_id: str | None
    answered_by: str | None
    lengths: list[int]
    gaps: list[int]
    frames: bytes
    usage_requested: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode(recording: Recording) -> bytes:
    """Return the stored form."""
    head, outcome = recording.head, recording.outcome
    payload = _encoder.encode(
        _Stored(
            id=recording.id,
            dialect=recording.dialect,
            mode=recording.mode,
            provider=recording.provider,
            model=recording.model,
            started_at=recording.started_at,
            ended_at=recording.ended_at,
            status=head.status,
            content_type=head.content_type,
            headers=head.headers,
            state=outcome.state,
            reason=outcome.reason,
            usage=_usage_counts(outcome.usage),
            response_id=outcome.response_id,
            answered_by=outcome.model,
            lengths=list(map(len, recording.frames)),
            gaps=_gaps(recording.times),
            frames=recording.body(),
            usage_requested=recording.usage_requested,
        )
    )
    smaller = deflated(payload, least=_WORTH_DEFLATING)
    start = _MAGIC + bytes((_VERSION, _PLAIN if smaller is None else _DEFLATED))
    payload = payload if smaller is None else smaller
    return start + _checksum(start, payload) + payload


def decode(data: bytes) -> Recording:
    """Return what was encoded. Raises UnreadableRecordingError, whatever is wrong."""
    start, checksum, payload = data[:_CHECKED], data[_CHECKED:_START], data[_START:]
    if not start.startswith(_MAGIC) or len(start) < _CHECKED:
        raise UnreadableRecordingError("not a recording")
    version, compression = start[2:]
    if version != _VERSION:
        raise UnreadableRecordingError(f"a recording of version {version}; only {_VERSION} is understood")
    if checksum != _checksum(start, payload):
        raise UnreadableRecordingError("a damaged recording: its checksum is wrong")
    try:
        stored = _decoder.decode(inflated(payload) if compression == _DEFLATED else payload)
    except ValueError as error:
        raise UnreadableRecordingError(f"a malformed recording: {error}") from error
    return _restore(stored)


def _restore(stored: _Stored) -> Recording:
    if len(stored.lengths) != len(stored.gaps) or len(stored.usage) != len(_USAGE_COUNTS):
        raise UnreadableRecordingError("a malformed recording: its lists do not fit together")
    return Recording(
        id=stored.id,
        dialect=stored.dialect,
        mode=stored.mode,
        provider=stored.provider,
        model=stored.model,
        started_at=stored.started_at,
        usage_requested=stored.usage_requested,
        head=Head(stored.status, stored.content_type, stored.headers),
        frames=_cut(stored.frames, stored.lengths),
        times=_times(stored.gaps),
        size=len(stored.frames),
        outcome=Outcome(
            state=stored.state,
            reason=stored.reason,
            usage=Usage(*stored.usage),
            response_id=stored.response_id,
            model=stored.answered_by,
        ),
        ended_at=stored.ended_at,
    )


def _checksum(start: bytes, payload: bytes) -> bytes:
    digest = hashlib.blake2b(start, digest_size=8)
    digest.update(payload)
    return digest.digest()


def _gaps(times: list[int]) -> list[int]:
    gaps: list[int] = []
    before = 0
    for time in times:
        gaps.append(time - before)
        before = time
    return gaps


def _times(gaps: list[int]) -> list[int]:
    times: list[int] = []
    time = 0
    for gap in gaps:
        time += gap
        times.append(time)
    return times


def _cut(frames: bytes, lengths: list[int]) -> list[bytes]:
    cut: list[bytes] = []
    start = 0
    for length in lengths:
        cut.append(frames[start : start + length])
        start += length
    if start != len(frames) or min(lengths, default=0) < 0:
        raise UnreadableRecordingError("a malformed recording: its frames do not fit their lengths")
    return cut
