"""What is taken out of an exchange before it is written, beside what looks like a secret wherever it stands.

A field is named by a path in the request's body: `user`, `metadata.email`, `messages[*].content`, `tools[0].*`.
What was removed there is removed from the answer too, as far as it is repeated in one piece.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from antiphon.recording.cassette import REDACTED, Exchange, secret_spans
from antiphon.recording.recording import Recording
from antiphon.recording.spoken import without_spans

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\*|\d+)\]")
_REDACTED: Final = REDACTED.encode()
_SHORTEST: Final = 4
"""What is shorter is a word that may stand in any answer."""


class Redaction:
    """Redacts exchanges."""

    def __init__(
        self, fields: Sequence[str] = (), texts: Sequence[str] = (), secrets: Sequence[bytes] = ()
    ) -> None:
        """Take out what stands in `fields`, what the patterns `texts` find anywhere, and `secrets`.

        Raises ValueError for what is no path, and re.error for what is no pattern.
        """
        self._paths = [_steps(field) for field in fields]
        self._patterns = [re.compile(text) for text in texts]
        self._secrets = secrets

    def apply(self, exchange: Exchange) -> Exchange:
        """Return an exchange without what is not to be written."""
        removed: set[str] = set()
        body = exchange.body
        for path in self._paths:
            body = _without(body, path, removed)
        body = self._in_texts(body)
        # The longest first: it may hold another.
        values = sorted((value for value in removed if len(value) >= _SHORTEST), key=len, reverse=True)
        needles = [form for value in values for form in _forms(value)]
        recording = exchange.recording
        frames = [self._frame(frame, needles) for frame in recording.frames]
        # Texts in JSON may be escaped, and those of streams are spread over many frames.
        frames = without_spans(frames, lambda text: self._spans(text, values), REDACTED)
        return replace(exchange, body=body, recording=_with_frames(recording, frames))

    def _in_texts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._in_texts(entry) for entry in value]
        if isinstance(value, dict):
            return {name: self._in_texts(entry) for name, entry in value.items()}
        return value

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        for secret in self._secrets:
            text = text.replace(secret.decode("latin-1"), REDACTED)
        return text

    def _spans(self, text: str, values: Sequence[str]) -> list[tuple[int, int]]:
        """Return where something stands in a text that is not to be written."""
        found = [*secret_spans(text)]
        found += [each.span() for pattern in self._patterns for each in pattern.finditer(text)]
        for value in (*values, *(secret.decode("latin-1") for secret in self._secrets)):
            at = text.find(value)
            while at >= 0:
                found.append((at, at + len(value)))
                at = text.find(value, at + 1)
        return _merged(found)

    def _frame(self, frame: bytes, needles: Sequence[bytes]) -> bytes:
        for needle in needles:
            frame = frame.replace(needle, _REDACTED)
        for secret in self._secrets:
            frame = frame.replace(secret, _REDACTED)
        if not self._patterns:
            return frame
        try:
            return self._text(frame.decode()).encode()
        except UnicodeDecodeError:
            return frame


def _steps(field: str) -> list[str | int]:
    """Read a path: names, numbers of entries, and `*` for any."""
    steps: list[str | int] = []
    at = 0
    while at < len(field):
        found = _STEP.match(field, at)
        if found is None or (found[1] is not None and (at == 0) is (found[0][0] == ".")):
            raise ValueError(f"{field!r} is no path such as metadata.email or messages[*].content")
        steps.append(int(found[2]) if found[2] and found[2] != "*" else found[1] or "*")
        at = found.end()
    if not steps:
        raise ValueError("a path is empty")
    return steps


def _without(value: Any, path: Sequence[str | int], removed: set[str]) -> Any:
    if not path:
        _collect(value, removed)
        return REDACTED
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {
            name: _without(entry, rest, removed) if step in ("*", name) else entry
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [
            _without(entry, rest, removed) if step in ("*", index) else entry
            for index, entry in enumerate(value)
        ]
    return value


def _collect(value: Any, into: set[str]) -> None:
    if isinstance(value, str):
        into.add(value)
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            _collect(entry, into)


def _forms(value: str) -> set[bytes]:
    """Return how a text may stand in JSON."""
    return {
        value.encode(),
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
    }


def _with_frames(recording: Recording, frames: list[bytes]) -> Recording:
    return replace(recording, frames=frames, size=sum(map(len, frames)))


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches of a text in their order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        elif first < last:
            merged.append((first, last))
    return merged
