"""Cassette files: one recorded exchange as JSON that a person can read and git can compare.

Everything stands on a line of its own, each frame too: `[microseconds, "its text"]`, or with
`{"base64": …}` in place of the text where the bytes are not UTF-8. Request headers are never part of it; what
looks like a key in the rest is redacted on writing.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from antiphon.recording.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.difference import ABSENT
from antiphon.wire.json import Members, canonical

FORMAT = 1
REDACTED = "[redacted]"

# What the gateway itself may change on the way, or what does not change the answer.
_NOT_COMPARED = frozenset(
    {
        "model",
        "include",
        "stream",
        "stream_options",
        "store",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "service_tier",
        "background",
    }
)
_SECRET_MEMBERS = frozenset(
    {"authorization", "api_key", "apikey", "api-key", "x-api-key", "access_token", "cookie", "password"}
)
_SECRET_HEADER = re.compile(rb"authorization|api-?key|cookie|token$|secret", re.IGNORECASE)
# Not in the middle of a blob: chance puts `sk-` into encrypted reasoning too.
_SECRET_TEXT = re.compile(
    r"(?<![\w+/=-])(?:sk|rk)-[\w-]{20,}"
    r"|(?<![\w+/=-])AIza[\w-]{35}"
    r"|(?<=Bearer )[\w.~+/=-]{16,}",
    re.ASCII,
)
_SECRET_MARKS = ("sk-", "rk-", "AIza", "Bearer ")


class UnreadableCassetteError(ValueError):
    """This is not an exchange in a form that is understood."""


@dataclass(slots=True)
class Exchange:
    """A request and the recording of its answer; the recording knows dialect, mode and model."""

    path: str
    body: Any
    """The request as parsed JSON; of a form its fields, and files as `{"format", "sha256", "size"}`."""
    recording: Recording
    method: str = "POST"
    provider_type: str = ""
    """The type of the provider that was asked, so that it can be asked in the same way without a configuration."""
    provider_host: str = ""
    """Its host, where that is a public one that makes a difference."""
    names: tuple[str, ...] = ()
    """Other names under which clients asked for the model."""
    cache: dict[str, Any] | None = None
    """What makes it an entry of the cache, as JSON."""


class _Request(msgspec.Struct):
    path: str
    body: Any = None
    method: str | msgspec.UnsetType = msgspec.UNSET


class _Head(msgspec.Struct):
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class _Outcome(msgspec.Struct, omit_defaults=True):
    state: State
    reason: str | None = None
    response_id: str | None = None
    model: str | None = None
    usage: Usage = NO_USAGE


class _Bytes(msgspec.Struct, forbid_unknown_fields=True):
    base64: bytes


class _File(msgspec.Struct, kw_only=True):
    antiphon_cassette: int
    id: str
    dialect: str
    mode: Mode
    provider: str
    provider_type: str | msgspec.UnsetType = msgspec.UNSET
    provider_host: str | msgspec.UnsetType = msgspec.UNSET
    model: str
    names: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    started_at: datetime
    ended_at: datetime | None = None
    request: _Request
    head: _Head
    outcome: _Outcome
    cache: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    frames: list[tuple[int, str | _Bytes]] = msgspec.field(default_factory=list)


_decoder = msgspec.json.Decoder(_File)
_members = msgspec.json.Decoder(Members)


def to_json(exchange: Exchange) -> bytes:
    """Write an exchange, secrets redacted; ends with a line feed."""
    recording = exchange.recording
    head, outcome = recording.head, recording.outcome
    frames = [_frame(*timed) for timed in zip(recording.times, recording.frames, strict=True)]
    file = _File(
        antiphon_cassette=FORMAT,
        id=recording.id,
        dialect=recording.dialect,
        mode=recording.mode,
        provider=recording.provider,
        provider_type=exchange.provider_type or msgspec.UNSET,
        provider_host=exchange.provider_host or msgspec.UNSET,
        model=recording.model,
        names=exchange.names or msgspec.UNSET,
        started_at=datetime.fromtimestamp(recording.started_at, UTC),
        ended_at=datetime.fromtimestamp(recording.ended_at, UTC) if recording.ended_at else None,
        request=_Request(
            exchange.path,
            redacted(exchange.body),
            msgspec.UNSET if exchange.method == "POST" else exchange.method,
        ),
        head=_Head(head.status, head.content_type.decode("latin-1"), _shown(head.headers)),
        outcome=_Outcome(outcome.state, outcome.reason, outcome.response_id, outcome.model, outcome.usage),
        cache=exchange.cache or msgspec.UNSET,
    )
    pretty = msgspec.json.format(msgspec.json.encode(file), indent=2)
    assert pretty.endswith(b'"frames": []\n}')
    if not frames:
        return pretty + b"\n"
    return pretty[:-3] + b"\n    " + b",\n    ".join(frames) + b"\n  ]\n}\n"


def from_json(data: bytes) -> Exchange:
    """Read an exchange. Raises UnreadableCassetteError."""
    try:
        file = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableCassetteError(str(error)) from error
    if file.antiphon_cassette != FORMAT:
        raise UnreadableCassetteError(f"version {file.antiphon_cassette}; only {FORMAT} is understood")
    frames = [_bytes(content) for _, content in file.frames]
    outcome = file.outcome
    recording = Recording(
        id=file.id,
        dialect=file.dialect,
        mode=file.mode,
        provider=file.provider,
        model=file.model,
        started_at=file.started_at.timestamp(),
        head=Head(
            file.head.status,
            file.head.content_type.encode("latin-1", "replace"),
            tuple((_latin(name), _latin(value)) for name, value in file.head.headers),
        ),
        frames=frames,
        times=[at for at, _ in file.frames],
        size=sum(map(len, frames)),
        outcome=Outcome(outcome.state, outcome.reason, outcome.usage, outcome.response_id, outcome.model),
        ended_at=file.ended_at.timestamp() if file.ended_at else 0.0,
    )
    return Exchange(
        file.request.path,
        file.request.body,
        recording,
        file.request.method or "POST",
        file.provider_type or "",
        file.provider_host or "",
        file.names or (),
        file.cache or None,
    )


def same_but_for_times(exchange: Exchange, written: bytes) -> bool:
    """Whether a file holds just this exchange, recorded at another time or at another pace."""
    try:
        earlier = from_json(written).recording
    except UnreadableCassetteError:
        return False
    again = from_json(to_json(exchange))
    if len(again.recording.times) != len(earlier.times):
        return False
    again.recording.times = earlier.times
    again.recording.started_at, again.recording.ended_at = earlier.started_at, earlier.ended_at
    return to_json(again) == written


def is_agreed(recorded: Any, asked: Any) -> bool:
    """Whether what was redacted in a recorded value lets it stand for another, as `differences` wants to know."""
    if not isinstance(recorded, str) or REDACTED not in recorded:
        return False
    if recorded == REDACTED:
        return asked is not ABSENT
    pattern = ".*".join(map(re.escape, recorded.split(REDACTED)))
    return isinstance(asked, str) and re.fullmatch(pattern, asked, re.DOTALL) is not None


def comparable(body: Any) -> dict[str, bytes]:
    """Return the members that count when requests are compared, each in its canonical form."""
    raw = msgspec.json.encode(redacted(body) if isinstance(body, dict) else {"": redacted(body)})
    members = _members.decode(raw)
    return {name: canonical({name: value}) for name, value in members.items() if name not in _NOT_COMPARED}


def redacted(value: Any) -> Any:
    """Return JSON with everything replaced that looks like a secret."""
    if isinstance(value, str):
        return _without_secrets(value)
    if isinstance(value, list):
        return [redacted(entry) for entry in value]
    if isinstance(value, dict):
        return {
            name: REDACTED if name.lower() in _SECRET_MEMBERS and entry else redacted(entry)
            for name, entry in value.items()
        }
    return value


def _frame(at: int, frame: bytes) -> bytes:
    try:
        content: object = _without_secrets(frame.decode())
    except UnicodeDecodeError:
        return msgspec.json.format(msgspec.json.encode((at, _Bytes(frame))), indent=0)
    return b"[%d, %b]" % (at, msgspec.json.encode(content))


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Return where something stands in a text that looks like a secret."""
    if not any(mark in text for mark in _SECRET_MARKS):
        return []
    return [found.span() for found in _SECRET_TEXT.finditer(text)]


def _without_secrets(text: str) -> str:
    # The pattern has to look behind at each place: most texts have none of what it looks for.
    return _SECRET_TEXT.sub(REDACTED, text) if any(mark in text for mark in _SECRET_MARKS) else text


def _bytes(content: str | _Bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content.base64


def _shown(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not _SECRET_HEADER.search(name)
    )


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")
