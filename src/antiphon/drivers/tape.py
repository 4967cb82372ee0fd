"""Looking up what a cassette answers to a request."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from antiphon.dialects.forms import described
from antiphon.recording import Mode, Recording
from antiphon.recording.cassette import Exchange, comparable
from antiphon.wire.errors import ClientFault
from antiphon.wire.multipart import is_form, read_form

_NEAREST_OF = 200
_NEAREST_LENGTH = 4000
_NAMED_DIFFERENCES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is looked up."""

    dialect: str
    mode: Mode
    model: str | None
    members: Mapping[str, bytes]

    @classmethod
    def of(cls, dialect: str, body: bytes, *, stream: bool, content_type: bytes = b"") -> "Asked":
        """Read a request body; a form is compared by its fields and the digests of its files, others as text."""
        parsed = _parsed_form(content_type, body) if is_form(content_type) else _parsed(body)
        model = parsed.get("model") if isinstance(parsed, dict) else None
        return cls(dialect, Mode.STREAM if stream else Mode.JSON, model, comparable(parsed))

    @property
    def text(self) -> str:
        """What the members say, for a rough comparison."""
        whole = b"".join(value for _, value in sorted(self.members.items()))
        return whole[:_NEAREST_LENGTH].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Taped:
    name: str
    asked: Asked
    recording: Recording


class Tape:
    """The exchanges of a cassette."""

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        """Look up in `exchanges`, which go by the names of their files."""
        self._taped = [_taped(name, exchange) for name, exchange in exchanges.items()]

    def models(self) -> tuple[str, ...]:
        """The models that there are answers of."""
        return tuple(dict.fromkeys(taped.recording.model for taped in self._taped))

    def dialects(self) -> tuple[str, ...]:
        """The dialects that there are answers in."""
        return tuple(dict.fromkeys(taped.asked.dialect for taped in self._taped))

    def find(self, asked: Asked, *, strict: bool) -> Recording | None:
        """Return the answer to the same request, or else, unless `strict`, the first of the dialect.

        Among several the asked model comes before the asked mode: an answer in the other mode says so in its
        content type.
        """
        of_dialect = self._of_dialect(asked)
        exact = [taped for taped in of_dialect if taped.asked.members == asked.members]
        best = min(
            exact or ([] if strict else of_dialect),
            key=lambda taped: (taped.recording.model != asked.model, taped.recording.mode is not asked.mode),
            default=None,
        )
        return best.recording if best else None

    def explain_miss(self, asked: Asked) -> str:
        """Say that nothing was found, and what came nearest."""
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
            return message
        theirs = nearest.asked.members
        names = [
            name for name in sorted({*theirs, *asked.members}) if theirs.get(name) != asked.members.get(name)
        ]
        differing = ", ".join(f"`{name}`" for name in names[:_NAMED_DIFFERENCES])
        return f"{message} The nearest is {nearest.name}, which differs in {differing}."

    def _of_dialect(self, asked: Asked) -> list[_Taped]:
        return [taped for taped in self._taped if taped.asked.dialect == asked.dialect]


def _taped(name: str, exchange: Exchange) -> _Taped:
    recording = exchange.recording
    asked = Asked(recording.dialect, recording.mode, recording.model, comparable(exchange.body))
    return _Taped(name, asked, recording)


def _parsed_form(content_type: bytes, body: bytes) -> Any:
    try:
        return described(read_form(content_type, body).parts)
    except ClientFault:
        return _parsed(body)


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")
