"""Looking up what a cassette answers to a request."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from antiphon.dialects.forms import described
from antiphon.ports.upstream import UpstreamRequest
from antiphon.recording import Mode, Recording
from antiphon.recording.cassette import REDACTED, Exchange, comparable, is_agreed
from antiphon.wire.difference import ABSENT, Difference, common_length, differences
from antiphon.wire.errors import ClientFault
from antiphon.wire.multipart import is_form, read_form

_NEAREST_OF = 200
_NEAREST_LENGTH = 4000
_NAMED_DIFFERENCES = 3
_DEEPEST = 100
_SHOWN = 60
"""Characters of a value that are shown, …"""
_SHOWN_BEFORE = 16
"""… of these so many before the first that differs."""
_REDACTED = REDACTED.encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is looked up."""

    dialect: str
    mode: Mode
    model: str | None
    members: Mapping[str, bytes]

    @classmethod
    def of(cls, request: UpstreamRequest) -> "Asked":
        """Read a request; a form is compared by its fields and the digests of its files, other bodies as text."""
        parsed = body_of(request)
        mode = Mode.STREAM if request.stream else Mode.JSON
        return cls(request.dialect, mode, model_of(parsed, request.path), _members(parsed, request.path))

    @property
    def text(self) -> str:
        """What the members say, for a rough comparison."""
        whole = b"".join(value for _, value in sorted(self.members.items()))
        return whole[:_NEAREST_LENGTH].decode("utf-8", "replace")

    @property
    def value(self) -> dict[str, Any]:
        """The members, parsed."""
        return {
            name: found
            for value in self.members.values()
            for name, found in msgspec.json.decode(value).items()
        }


@dataclass(slots=True, eq=False)
class Taped:
    """A recorded exchange."""

    name: str
    """The name of its file."""
    asked: Asked
    recording: Recording
    is_redacted: bool
    """Whether something is missing in the request, which may be anything then."""
    was_played: bool = False

    def answers(self, asked: Asked) -> bool:
        """Whether the same was asked, whatever the model."""
        if not self.is_redacted:
            return self.asked.members == asked.members
        return self.asked.members.keys() == asked.members.keys() and not any(self.differences(asked))

    def differences(self, asked: Asked) -> Iterator[Difference]:
        """Yield where the recorded request and another differ."""
        return differences(self.asked.value, asked.value, same=is_agreed)


class Tape:
    """The exchanges of a cassette."""

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        """Look up in `exchanges`, which go by the names of their files."""
        self._taped: list[Taped] = []
        for name, exchange in exchanges.items():
            self.add(name, exchange)

    def __len__(self) -> int:
        """How many exchanges there are."""
        return len(self._taped)

    def add(self, name: str, exchange: Exchange) -> Taped:
        """Take in one more."""
        recording = exchange.recording
        members = _members(exchange.body, exchange.path)
        asked = Asked(recording.dialect, recording.mode, recording.model, members)
        is_redacted = any(_REDACTED in value for value in members.values())
        taped = Taped(name, asked, recording, is_redacted)
        self._taped.append(taped)
        return taped

    def models(self) -> tuple[str, ...]:
        """The models that there are answers of."""
        return tuple(dict.fromkeys(taped.recording.model for taped in self._taped))

    def dialects(self) -> tuple[str, ...]:
        """The dialects that there are answers in."""
        return tuple(dict.fromkeys(taped.asked.dialect for taped in self._taped))

    def unplayed(self) -> list[str]:
        """The names of what nobody has asked for."""
        return [taped.name for taped in self._taped if not taped.was_played]

    def find(self, asked: Asked, *, strict: bool) -> Recording | None:
        """Return the answer to the same request, or else, unless `strict`, the first of the dialect.

        Among several the asked model comes before the asked mode: an answer in the other mode says so in its
        content type.
        """
        of_dialect = self._of_dialect(asked)
        exact = [taped for taped in of_dialect if taped.answers(asked)]
        best = min(
            exact or ([] if strict else of_dialect),
            key=lambda taped: (taped.recording.model != asked.model, taped.recording.mode is not asked.mode),
            default=None,
        )
        return best.recording if best else None

    def answers(self, asked: Asked) -> list[Taped]:
        """Return what was recorded for this very request of this model, in its order.

        If it was recorded in the asked mode at all, answers in the other mode do not count.
        """
        same = [
            taped
            for taped in self._of_dialect(asked)
            if (taped.asked.model or "") == (asked.model or "") and taped.answers(asked)
        ]
        return [taped for taped in same if taped.recording.mode is asked.mode] or same

    def explain_miss(self, asked: Asked, *, by_model: bool = False) -> str:
        """Say that nothing was found, and what came nearest; `by_model` is whether the model counts."""
        message = f"The cassette has no recording that answers this {asked.dialect} request."
        matcher = difflib.SequenceMatcher(b=asked.text, autojunk=False)
        nearest, best = None, -1.0
        for taped in self._of_dialect(asked)[:_NEAREST_OF]:
            matcher.set_seq1(taped.asked.text)
            # An upper bound in linear time: the exact ratio would hold up everybody else.
            likeness = matcher.quick_ratio()
            if likeness > best:
                nearest, best = taped, likeness
        if nearest is None:
            if not self._taped:
                return f"{message} It is empty."
            return f"{message} There are only recordings of {', '.join(self.dialects())} in it."
        found = list(islice(nearest.differences(asked), _NAMED_DIFFERENCES + 1))
        if by_model and (nearest.asked.model or "") != (asked.model or ""):
            found.insert(0, Difference(("model",), nearest.asked.model, asked.model or ABSENT))
        told = "; ".join(map(_told, found[:_NAMED_DIFFERENCES]))
        more = "; and more" if len(found) > _NAMED_DIFFERENCES else ""
        return f"{message} The nearest is {nearest.name}, which differs in {told}{more}."

    def _of_dialect(self, asked: Asked) -> list[Taped]:
        return [taped for taped in self._taped if taped.asked.dialect == asked.dialect]


def body_of(request: UpstreamRequest) -> Any:
    """Read the body of a request, as `read_body` does."""
    return read_body(request.body, dict(request.headers).get(b"content-type", b""))


def read_body(body: bytes, content_type: bytes) -> Any:
    """Read a request body as a cassette has it: JSON, what a form says, or a text."""
    return _parsed_form(content_type, body) if is_form(content_type) else _parsed(body)


def model_of(body: Any, path: str) -> str | None:
    """Return the upstream model that a request names, in its body or in its path as Gemini has it."""
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return str(body["model"])
    _, is_named, rest = path.partition("/models/")
    return rest.partition(":")[0] if is_named else None


def _members(body: Any, path: str) -> dict[str, bytes]:
    members = comparable(body)
    if body is None or body == {}:
        members["path"] = msgspec.json.encode({"path": path})
    return members


def _told(difference: Difference) -> str:
    """Say what differs, both values cut so that the difference is seen."""
    recorded, asked = difference.mine, difference.theirs
    start = 0
    if isinstance(recorded, str) and isinstance(asked, str) and max(len(recorded), len(asked)) > _SHOWN:
        start = max(0, common_length(recorded, asked) - _SHOWN_BEFORE)
    return f"`{difference.path}` (recorded {_shown(recorded, start)}, asked {_shown(asked, start)})"


def _shown(value: Any, start: int) -> str:
    if value is ABSENT:
        return "nothing"
    if isinstance(value, str):
        end = start + _SHOWN
        return f'"{"…" if start else ""}{value[start:end]}{"…" if end < len(value) else ""}"'
    if isinstance(value, list):
        return f"a list of {len(value)}"
    told = f"{{{', '.join(value)}}}" if isinstance(value, dict) else msgspec.json.encode(value).decode()
    return told if len(told) <= _SHOWN else told[:_SHOWN] + "…"


def _parsed_form(content_type: bytes, body: bytes) -> Any:
    try:
        return described(read_form(content_type, body).parts)
    except ClientFault:
        return _parsed(body)


def _parsed(body: bytes) -> Any:
    try:
        parsed = msgspec.json.decode(body) if body else None
        return body.decode() if _is_deep(parsed) else parsed
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def _is_deep(value: Any) -> bool:
    """Whether a value is nested so deeply that it is better compared as a text."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            entry
            for each in level
            if isinstance(each, list | dict)
            for entry in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
