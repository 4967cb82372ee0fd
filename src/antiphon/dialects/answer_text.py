"""The text of a whole answer, where it is nothing but text."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

_DECODE: Final = msgspec.json.Decoder().decode
_BESIDE: Final = frozenset({"reasoning", "thinking", "redacted_thinking"})
"""Items and blocks that belong to no answer."""


class _NotText(Exception):
    pass


def answer_text(dialect: str, body: bytes) -> str | None:
    """Return the text of a JSON answer; None where it calls tools, refuses, or brings anything else."""
    read = _READERS.get(dialect)
    if read is None:
        return None
    try:
        texts = list(read(_DECODE(body)))
    except (_NotText, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    text = "\n".join(texts)
    return text if text.strip() else None


def _chat(answer: Any) -> Iterator[str]:
    for choice in answer["choices"]:
        message = choice["message"]
        if any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio")):
            raise _NotText
        yield _text(message["content"])


def _completions(answer: Any) -> Iterator[str]:
    return (_text(choice["text"]) for choice in answer["choices"])


def _messages(answer: Any) -> Iterator[str]:
    for block in answer["content"]:
        if block["type"] == "text":
            yield _text(block["text"])
        elif block["type"] not in _BESIDE:
            raise _NotText


def _responses(answer: Any) -> Iterator[str]:
    for item in answer["output"]:
        if item["type"] in _BESIDE:
            continue
        if item["type"] != "message":
            raise _NotText
        for part in item["content"]:
            if part["type"] != "output_text":
                raise _NotText
            yield _text(part["text"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _NotText
    return value


_READERS: Final[dict[str, Callable[[Any], Iterator[str]]]] = {
    "chat": _chat,
    "completions": _completions,
    "messages": _messages,
    "responses": _responses,
}
