"""Writes the hub's events as a stream of Anthropic Messages (specification, section 15.6).

What the hub tells of an item becomes blocks: a part of a message is a text block, a reasoning item is a thinking
block with the sealed content as its signature, a call is `tool_use`, and what a hosted tool did is two blocks.
How far each was told is kept: what the closing events, or the finished response, hold beyond that is told then,
since not every upstream says everything in deltas.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.dialects.messages.block_queue import BlockQueue
from antiphon.dialects.messages.events import ERROR, MESSAGE_DELTA, MESSAGE_START, MESSAGE_STOP, write_event
from antiphon.dialects.messages.hosted import write_hosted
from antiphon.dialects.translation import Telling
from antiphon.turn.events import TERMINAL, Event, Item
from antiphon.wire.objects import JsonObject, write_text

_STOP_REASONS: Final = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
_ERROR_TYPES: Final = {
    "rate_limit_exceeded": "rate_limit_error",
    "rate_limit_error": "rate_limit_error",
    "overloaded_error": "overloaded_error",
    "server_is_overloaded": "overloaded_error",
    "slow_down": "overloaded_error",
    "timeout_error": "timeout_error",
    "invalid_request_error": "invalid_request_error",
}
"""Anthropic's types of errors, by the hub's codes; all others are `api_error`."""
_PARAGRAPH: Final = "\n\n"

Key = tuple[Any, ...]
"""(place in the output, which block of it)"""


class MessagesAnswerWriter:
    """Writes one answer."""

    def __init__(self, telling: Telling) -> None:
        """Tell of the response under the id that it has here."""
        self._id = telling.response["id"]
        self._model = telling.response.get("model")
        self._blocks = BlockQueue()
        self._frames: list[bytes] = []
        self._is_begun = False
        self._is_over = False
        self._told: dict[Key, str] = {}
        """What was told of each block's text."""
        self._sources: dict[int, str] = {}
        """Which of its texts a reasoning item is told by: the first that spoke."""
        self._places: dict[Key, int] = {}
        """Which part of that text is being told."""
        self._annotations: dict[Key, list[Any]] = {}
        self._parts: set[Key] = set()
        """The parts of messages that are told to their end."""
        self._whole: set[int] = set()
        """The items that are told to their end."""
        self._refusal = ""

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return the frames that tell of `events`."""
        for event in events:
            if self._is_over:
                break
            take = _TAKES.get(event["type"])
            if take is not None:
                take(self, event)
                self._frames += self._blocks.drain()
        frames, self._frames = self._frames, []
        return frames

    def _begin(self, event: Event) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        message = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": event["response"].get("model") or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        self._frames.append(write_event(MESSAGE_START, message=message))

    # Texts.

    def _take_text(self, event: Event) -> None:
        key = event["output_index"], event["content_index"]
        self._grow(key, _TEXT, "text_delta", "text", event["delta"])

    def _take_refusal(self, event: Event) -> None:
        self._refusal += event["delta"]
        self._take_text(event)

    def _take_reasoning(self, event: Event) -> None:
        self._think(event["output_index"], "content", event["content_index"], event["delta"])

    def _take_summary(self, event: Event) -> None:
        self._think(event["output_index"], "summary", event["summary_index"], event["delta"])

    def _think(self, index: int, source: str, place: int, text: str) -> None:
        if not text or self._sources.setdefault(index, source) != source:
            return
        key = (index, "thinking")
        if self._places.setdefault(key, place) != place:
            self._places[key] = place
            text = _PARAGRAPH + text
        self._grow(key, _THINKING, "thinking_delta", "thinking", text)

    def _take_arguments(self, event: Event) -> None:
        key = (event["output_index"], "call")
        if self._blocks.has(key):
            self._grow(key, {}, "input_json_delta", "partial_json", event["delta"])

    def _take_input(self, event: Event) -> None:
        key = (event["output_index"], "call")
        if event["delta"] and self._blocks.has(key):
            # The free text of a custom tool is the string that the wrapping object holds.
            told = self._told.get(key, "")
            text = write_text(event["delta"])[1:-1]
            self._grow(key, {}, "input_json_delta", "partial_json", text if told else _WRAPPED + text)

    def _grow(self, key: Key, content: JsonObject, delta: str, member: str, text: str) -> None:
        if not text:
            return
        if not self._blocks.has(key):
            self._blocks.begin(key, dict(content))
        self._told[key] = self._told.get(key, "") + text
        self._blocks.grow(key, {"type": delta, member: text})

    def _catch_up(self, key: Key, content: JsonObject, delta: str, member: str, whole: str) -> None:
        """Tell what is still missing of a text."""
        told = self._told.get(key, "")
        if whole.startswith(told):
            self._grow(key, content, delta, member, whole[len(told) :])

    def _take_annotation(self, event: Event) -> None:
        """Keep an annotation until the text that it is about is there."""
        key = (event["output_index"], event["content_index"])
        self._annotations.setdefault(key, []).append(event["annotation"])

    def _take_part_done(self, event: Event) -> None:
        self._end_part((event["output_index"], event["content_index"]), event["part"])

    def _end_part(self, key: Key, part: Item) -> None:
        if key in self._parts:
            return
        self._parts.add(key)
        if part.get("type") == "refusal":
            whole = part.get("refusal") or ""
            if not self._blocks.has(key):
                self._refusal += whole
            self._catch_up(key, _TEXT, "text_delta", "text", whole)
        elif part.get("type") == "output_text":
            self._catch_up(key, _TEXT, "text_delta", "text", part.get("text") or "")
            annotations: list[Any] = part.get("annotations") or self._annotations.get(key, [])
            for annotation in annotations:
                self._cite(key, annotation)
        self._blocks.end(key)

    def _cite(self, key: Key, annotation: Any) -> None:
        citation = _citation(annotation, self._told.get(key, ""))
        if citation is not None and self._blocks.has(key):
            self._blocks.grow(key, {"type": "citations_delta", "citation": citation})

    # Items.

    def _take_added(self, event: Event) -> None:
        item = event["item"]
        if item.get("type") in _CALLS:
            self._begin_call(event["output_index"], item)

    def _begin_call(self, index: int, item: Item) -> None:
        key = (index, "call")
        if not self._blocks.has(key):
            call_id = item.get("call_id") or item.get("id") or ""
            call: JsonObject = {
                "type": "tool_use",
                "id": call_id,
                "name": item.get("name") or "",
                "input": {},
            }
            self._blocks.begin(key, call)

    def _take_done(self, event: Event) -> None:
        self._end_item(event["output_index"], event["item"])

    def _end_item(self, index: int, item: Item) -> None:
        if index in self._whole:
            return
        self._whole.add(index)
        match item.get("type"):
            case "message":
                for place, part in enumerate(item.get("content") or ()):
                    self._end_part((index, place), part)
            case "reasoning":
                self._end_reasoning(index, item)
            case "function_call" | "custom_tool_call":
                self._end_call(index, item)
            case _:
                for place, block in enumerate(write_hosted(item)):
                    self._tell_whole((index, place), block)

    def _end_reasoning(self, index: int, item: Item) -> None:
        key, sealed = (index, "thinking"), item.get("encrypted_content") or ""
        source = self._sources.get(index) or ("content" if item.get("content") else "summary")
        whole = _PARAGRAPH.join(
            part["text"] for part in item.get(source) or () if isinstance(part.get("text"), str)
        )
        self._catch_up(key, _THINKING, "thinking_delta", "thinking", whole)
        if self._blocks.has(key):
            if sealed:
                self._blocks.grow(key, {"type": "signature_delta", "signature": sealed})
            self._blocks.end(key)
        elif sealed:
            self._tell_whole(key, {"type": "redacted_thinking", "data": sealed})

    def _end_call(self, index: int, item: Item) -> None:
        self._begin_call(index, item)
        key = (index, "call")
        whole = item.get("arguments") or ""
        if item["type"] == "custom_tool_call":
            whole = write_text({"input": item.get("input") or ""})
        self._catch_up(key, {}, "input_json_delta", "partial_json", whole)
        self._blocks.end(key)

    def _tell_whole(self, key: Key, block: JsonObject) -> None:
        given = block.get("input")
        self._blocks.begin(key, block | {"input": {}} if given else block)
        if given:
            self._blocks.grow(key, {"type": "input_json_delta", "partial_json": write_text(given)})
        self._blocks.end(key)

    # The end.

    def _take_end(self, event: Event) -> None:
        self._begin(event)
        response = event["response"]
        for index, item in enumerate(response.get("output") or ()):
            self._end_item(index, item)
        self._blocks.end_all()
        self._frames += self._blocks.drain()
        reason = self._stop_reason(response)
        delta: JsonObject = {"stop_reason": reason, "stop_sequence": None}
        if reason == "refusal":
            explanation = self._refusal or None
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": explanation}
        usage = _usage(response.get("usage") or {})
        self._frames.append(write_event(MESSAGE_DELTA, delta=delta, usage=usage))
        self._frames.append(write_event(MESSAGE_STOP))
        self._is_over = True

    def _stop_reason(self, response: Event) -> str:
        if response.get("status") == "incomplete":
            details = response.get("incomplete_details") or {}
            return _STOP_REASONS.get(str(details.get("reason")), "max_tokens")
        if self._refusal:
            return "refusal"
        return "tool_use" if "tool_use" in self._blocks.kinds else "end_turn"

    def _take_error(self, event: Event) -> None:
        nested = event.get("error")
        self._fail(nested if isinstance(nested, dict) else event)

    def _take_failed(self, event: Event) -> None:
        self._fail(event["response"].get("error") or {})

    def _fail(self, error: JsonObject) -> None:
        code = error.get("code") or error.get("type")
        told = {
            "type": _ERROR_TYPES.get(str(code), "api_error"),
            "message": error.get("message") or "The answer broke off.",
        }
        if code:
            told["details"] = {"error_code": code}
        self._frames.append(write_event(ERROR, error=told))
        self._is_over = True


_TEXT: Final[JsonObject] = {"type": "text", "text": ""}
_THINKING: Final[JsonObject] = {"type": "thinking", "thinking": "", "signature": ""}
_WRAPPED: Final = '{"input":"'
_CALLS: Final = ("function_call", "custom_tool_call")
_FILES: Final = ("file_citation", "container_file_citation")

_TAKES: Final[dict[str, Callable[[MessagesAnswerWriter, Event], None]]] = {
    "response.created": MessagesAnswerWriter._begin,
    "response.in_progress": MessagesAnswerWriter._begin,
    "response.output_item.added": MessagesAnswerWriter._take_added,
    "response.output_item.done": MessagesAnswerWriter._take_done,
    "response.output_text.delta": MessagesAnswerWriter._take_text,
    "response.output_text.annotation.added": MessagesAnswerWriter._take_annotation,
    "response.refusal.delta": MessagesAnswerWriter._take_refusal,
    "response.content_part.done": MessagesAnswerWriter._take_part_done,
    "response.reasoning_text.delta": MessagesAnswerWriter._take_reasoning,
    "response.reasoning.delta": MessagesAnswerWriter._take_reasoning,
    "response.reasoning_summary_text.delta": MessagesAnswerWriter._take_summary,
    "response.function_call_arguments.delta": MessagesAnswerWriter._take_arguments,
    "response.custom_tool_call_input.delta": MessagesAnswerWriter._take_input,
    **dict.fromkeys(set(TERMINAL) - {"response.failed"}, MessagesAnswerWriter._take_end),
    "response.failed": MessagesAnswerWriter._take_failed,
    "error": MessagesAnswerWriter._take_error,
}


def _citation(annotation: Any, text: str) -> JsonObject | None:
    """Return an annotation of `text` as a citation; None for what Anthropic has no form for."""
    if not isinstance(annotation, dict):
        return None
    quoted = annotation.get("cited_text")
    if annotation.get("type") == "url_citation":
        return {
            "type": "web_search_result_location",
            "url": annotation.get("url") or "",
            "title": annotation.get("title") or None,
            "cited_text": quoted or text[annotation.get("start_index") or 0 : annotation.get("end_index")],
            "encrypted_index": "",
        }
    if annotation.get("type") in _FILES:
        # Where in the file is not known: an empty range says so.
        return {
            "type": "char_location",
            "document_index": 0,
            "document_title": annotation.get("filename") or None,
            "file_id": annotation.get("file_id") or None,
            "cited_text": quoted or "",
            "start_char_index": 0,
            "end_char_index": 0,
        }
    return None


def _usage(usage: Item) -> JsonObject:
    """Return token counts as Anthropic counts: what its cache read and wrote stands beside the input."""
    into, out = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    read, written = into.get("cached_tokens") or 0, into.get("cache_write_tokens") or 0
    told: JsonObject = {
        "input_tokens": max(0, (usage.get("input_tokens") or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.get("output_tokens") or 0,
    }
    if out.get("reasoning_tokens"):
        told["output_tokens_details"] = {"thinking_tokens": out["reasoning_tokens"]}
    return told
