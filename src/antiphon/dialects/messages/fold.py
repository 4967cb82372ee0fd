"""Folds the events of an Anthropic Messages stream into the JSON message that holds the same.

A block begins as `content_block_start` has it, and grows by its deltas. What we do not know grows too: of an unknown
delta strings are appended, lists go on, and other values are replaced. `message_delta` describes the message.
"""

from collections.abc import Sequence
from typing import Any

from antiphon.dialects.messages.events import (
    BLOCK_DELTA,
    BLOCK_START,
    MESSAGE_DELTA,
    MESSAGE_START,
    MESSAGE_STOP,
    read_events,
)
from antiphon.dialects.messages.usage import merged_usage
from antiphon.dialects.partial_json import read_partial
from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import JsonObject, write_object

_OF_EVENTS = frozenset({"type", "message", "delta", "usage"})


def fold_message(frames: Sequence[bytes]) -> bytes:
    """Fold a stream into a message. Raises UpstreamFault."""
    fold = _Fold()
    for event in read_events(frames):
        fold.take(event)
    return write_object(fold.finish())


class _Fold:
    """The message as the events so far describe it."""

    __slots__ = ("_blocks", "_message")

    def __init__(self) -> None:
        self._message: JsonObject | None = None
        self._blocks: dict[int, _Block] = {}

    def take(self, event: JsonObject) -> None:
        kind = event.get("type")
        if kind == MESSAGE_START:
            message = event.get("message")
            # One recorded stream begins twice, with the same message.
            if self._message is None and isinstance(message, dict):
                self._message = dict(message)
        elif kind == BLOCK_START:
            self._blocks[_index(event)] = _Block(event.get("content_block"))
        elif kind == BLOCK_DELTA:
            block, delta = self._blocks.get(_index(event)), event.get("delta")
            if block is not None and isinstance(delta, dict):
                block.take(delta)
        elif kind in {MESSAGE_DELTA, MESSAGE_STOP}:
            self._describe(event)

    def _describe(self, event: JsonObject) -> None:
        message = self._started()
        delta = event.get("delta")
        told = {name: value for name, value in event.items() if name not in _OF_EVENTS}
        for name, value in ((delta if isinstance(delta, dict) else {}) | told).items():
            if value is not None or name not in message:
                message[name] = value
        if "usage" in event:
            message["usage"] = merged_usage(message.get("usage"), event["usage"])

    def finish(self) -> JsonObject:
        message = self._started()
        blocks = [self._blocks[index].finish() for index in sorted(self._blocks)]
        for block in blocks:
            served_by = model_after_fallback(block)
            if served_by is not None:
                message["model"] = served_by
        if blocks:
            content = message.get("content")
            message["content"] = [*(content if isinstance(content, list) else ()), *blocks]
        return message

    def _started(self) -> JsonObject:
        if self._message is None:
            raise UpstreamFault("The upstream's stream has no message_start.", code="invalid_json")
        return self._message


def _index(event: JsonObject) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def model_after_fallback(block: Any) -> str | None:
    """Return the model that goes on after this block: the message bears the name of the last one."""
    if not isinstance(block, dict) or block.get("type") != "fallback":
        return None
    successor = block.get("to")
    model = successor.get("model") if isinstance(successor, dict) else None
    return model if isinstance(model, str) else None


class _Block:
    """One content block as the deltas so far have made it."""

    __slots__ = ("_content", "_input", "_texts")

    def __init__(self, content: Any) -> None:
        self._content = dict(content) if isinstance(content, dict) else content
        self._texts: dict[str, list[str]] = {}
        self._input: list[str] = []

    def take(self, delta: JsonObject) -> None:
        content = self._content
        if not isinstance(content, dict):
            return
        kind = delta.get("type")
        for name, value in delta.items():
            if name == "type":
                continue
            if kind == "input_json_delta" and name == "partial_json" and isinstance(value, str):
                self._input.append(value)
            elif kind == "citations_delta" and name == "citation":
                self._add("citations", [value])
            elif kind == "signature_delta" and name == "signature":
                content[name] = value
            else:
                self._add(name, value)

    def _add(self, name: str, value: Any) -> None:
        content = self._content
        before = content.get(name)
        if isinstance(value, str) and isinstance(before, str | None):
            content[name] = ""
            self._texts.setdefault(name, [before or ""]).append(value)
        elif isinstance(value, list) and isinstance(before, list):
            content[name] = before + value
        elif value is not None or name not in content:
            content[name] = value

    def finish(self) -> Any:
        for name, texts in self._texts.items():
            self._content[name] = "".join(texts)
        arguments = "".join(self._input)
        if arguments.strip():
            self._content["input"] = read_partial(arguments)
        return self._content
