"""Folds the chunks of chat and text completions into the JSON answer that holds the same.

Inside a delta everything adds up (chat_delta). Around it, members describe the answer so far: the last value
that says something stands, objects merge, and of a choice's own members lists (log probabilities, token ids)
go on and `text` does too. Of the top level, the id, time and model are the first that are not empty, since
Azure begins with an empty chunk.
"""

from collections.abc import Sequence
from typing import Any

from antiphon.dialects.chat.delta import DeltaMerger, without_index
from antiphon.wire.objects import JsonObject, read_chunks, write_object

# Random bytes against guessing the length of a token: OpenAI's name for it, and Mistral's.
PADDING = frozenset({"obfuscation", "p"})
_FIRST = frozenset({"id", "created", "model"})


def fold_chat(frames: Sequence[bytes]) -> bytes:
    """Fold a stream of `chat.completion.chunk` into a `chat.completion`. Raises UpstreamFault."""
    return write_object(_fold(read_chunks(frames), "chat.completion"))


def fold_completion(frames: Sequence[bytes]) -> bytes:
    """Fold a stream of `text_completion` into one. Raises UpstreamFault."""
    return write_object(_fold(read_chunks(frames), "text_completion"))


def _fold(chunks: list[JsonObject], kind: str) -> JsonObject:
    merger = DeltaMerger()
    answer: JsonObject = {"id": None, "object": kind, "created": None, "model": None, "choices": []}
    choices: dict[int, _Choice] = {}
    for chunk in chunks:
        for key, value in chunk.items():
            if key == "choices":
                _take_choices(choices, value, merger)
            elif key in _FIRST:
                answer[key] = answer[key] or value
            elif key == "usage":
                answer[key] = answer.get(key) if value is None else value
            elif key != "object" and key not in PADDING:
                _restate(answer, key, value)
    merger.finish()
    for key in _FIRST.difference(*chunks):
        del answer[key]
    answer["choices"] = [choices[index].finish(kind) for index in sorted(choices)]
    return answer


def _take_choices(choices: dict[int, "_Choice"], entries: Any, merger: DeltaMerger) -> None:
    for place, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict):
            continue
        index = entry.get("index")
        key = index if isinstance(index, int) else place
        if key not in choices:
            choices[key] = _Choice(merger)
        choices[key].take(entry)


class _Choice:
    """One choice as the chunks so far describe it."""

    __slots__ = ("_members", "_merger", "_message", "_whole")

    def __init__(self, merger: DeltaMerger) -> None:
        self._merger = merger
        self._members: JsonObject = {}
        self._message: JsonObject | None = None
        self._whole: JsonObject = {}

    def take(self, choice: JsonObject) -> None:
        for key, value in choice.items():
            if key == "delta":
                if isinstance(value, dict):
                    self._message = {} if self._message is None else self._message
                    self._merger.merge(self._message, value)
            elif key == "message":
                # Perplexity repeats the message so far beside each delta; the deltas say the same.
                self._whole["message"] = value
            elif key == "text" and isinstance(value, str) and self._members.get("text") is not None:
                self._merger.append(self._members, "text", value)
            else:
                _restate(self._members, key, value, lists_grow=True)

    def finish(self, kind: str) -> JsonObject:
        message = self._message
        if message is not None and isinstance(message.get("tool_calls"), list):
            message["tool_calls"] = without_index(message["tool_calls"])
        if message is None or (kind == "text_completion" and not message):
            return self._members | self._whole
        return self._members | {"message": message}


def _restate(into: JsonObject, key: str, value: Any, *, lists_grow: bool = False) -> None:
    before = into.get(key)
    if before is None:
        into[key] = value
    elif isinstance(before, dict) and isinstance(value, dict):
        for member, restated in value.items():
            _restate(before, member, restated, lists_grow=lists_grow)
    elif isinstance(before, list) and isinstance(value, list) and lists_grow:
        before.extend(value)
    elif value or isinstance(value, (int, float)):
        into[key] = value
