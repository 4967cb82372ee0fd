"""Writes the hub's events as chunks of Chat Completions (specification, section 15.5).

Reasoning goes out as `reasoning_content`, the member that most providers and clients know; what a later turn
must give back stands in `reasoning_details`. Hosted tools that ran have no form in chat. The chunk with usage is
always written: whoever passes the chunks on leaves it out for clients that did not ask.

Pictures, annotations and details wait for the end, where each list comes in one delta: of a list that comes in several
openai-node keeps the last delta, and openai-python raises unless the entries are numbered (autumn 2026).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.dialects.chat.images import shown_image
from antiphon.dialects.translation import Telling
from antiphon.turn.events import Event, Item
from antiphon.wire.objects import write_object
from antiphon.wire.sse import DONE, write_frame

_CALLS: Final = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
_PLACES: Final = ("start_index", "end_index", "index")
"""Members of an annotation that count characters from the beginning of its part."""
_FINISH: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ChatAnswerWriter:
    """Writes one answer."""

    def __init__(self, telling: Telling) -> None:
        """Write under the id and time of `telling`'s response."""
        response = telling.response
        self._head: Item = {
            "id": response["id"],
            "object": "chat.completion.chunk",
            "created": response["created_at"],
            "model": response["model"],
        }
        self._calls: dict[object, int] = {}
        """The places of calls in the message, by their places in the output."""
        self._starts: dict[tuple[int, int], int] = {}
        """Where the parts of messages begin in the content, by their places in the output."""
        self._length = 0
        """Characters of content so far."""
        self._annotations: list[Item] = []
        self._details: list[Item] = []
        self._images: list[Item] = []

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return the chunks that tell of `events`."""
        frames: list[bytes] = []
        for event in events:
            write = _WRITERS.get(event["type"])
            if write is not None:
                frames += write(self, event)
        return frames

    def _delta(self, delta: Item, **members: Any) -> list[bytes]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **members}
        return [write_frame(write_object(self._head | {"choices": [choice]}))]

    def created(self, event: Event) -> list[bytes]:
        """Begin the message."""
        self._head["model"] = event["response"]["model"]
        return self._delta({"role": "assistant", "content": ""})

    def text(self, event: Event) -> list[bytes]:
        """Tell text, with what is known of its tokens."""
        self._start_of(event)
        self._length += len(event["delta"])
        if not event["logprobs"]:
            return self._delta({"content": event["delta"]})
        return self._delta(
            {"content": event["delta"]}, logprobs={"content": list(event["logprobs"]), "refusal": None}
        )

    def refusal(self, event: Event) -> list[bytes]:
        """Tell a refusal."""
        return self._delta({"refusal": event["delta"]})

    def reasoning(self, event: Event) -> list[bytes]:
        """Tell reasoning, raw or summarised."""
        return self._delta({"reasoning_content": event["delta"]})

    def summary_part(self, event: Event) -> list[bytes]:
        """Set one summary off from the one before."""
        return self._delta({"reasoning_content": "\n\n"}) if event["summary_index"] else []

    def annotation(self, event: Event) -> list[bytes]:
        """Keep an annotation, in the nested form of chat, its places counted in the whole content."""
        annotation = dict(event["annotation"])
        start = self._start_of(event)
        for name in _PLACES:
            if isinstance(annotation.get(name), int):
                annotation[name] += start
        kind = annotation.pop("type", None)
        self._annotations.append({"type": kind, str(kind): annotation})
        return []

    def _start_of(self, event: Event) -> int:
        return self._starts.setdefault((event["output_index"], event["content_index"]), self._length)

    def added(self, event: Event) -> list[bytes]:
        """Begin a call."""
        item = event["item"]
        if item["type"] not in _CALLS:
            return []
        holder, member = _CALLS[item["type"]]
        index = self._calls[event["output_index"]] = len(self._calls)
        call = {"index": index, "id": item["call_id"], "type": holder}
        return self._delta({"tool_calls": [{**call, holder: {"name": item["name"], member: ""}}]})

    def arguments(self, event: Event) -> list[bytes]:
        """Tell more of a call's arguments, or input."""
        holder, member = _CALLS[
            "custom_tool_call" if event["type"].startswith("response.custom") else "function_call"
        ]
        index = self._calls[event["output_index"]]
        return self._delta({"tool_calls": [{"index": index, holder: {member: event["delta"]}}]})

    def done(self, event: Event) -> list[bytes]:
        """Keep pictures that were made, and what a later turn has to give back of reasoning."""
        item = event["item"]
        if item["type"] == "image_generation_call" and item.get("result"):
            self._images.append(shown_image(item))
        if item["type"] == "reasoning" and item.get("encrypted_content"):
            detail = {"type": "reasoning.encrypted", "id": item["id"], "data": item["encrypted_content"]}
            self._details.append(detail)
        return []

    def completed(self, event: Event) -> list[bytes]:
        """End the message, and tell the usage."""
        response = event["response"]
        details = response.get("incomplete_details")
        if details:
            reason = _FINISH.get(details["reason"], "stop")
        else:
            reason = "tool_calls" if self._calls else "stop"
        self._head["model"] = response["model"]
        if response.get("service_tier") not in (None, "default"):
            self._head["service_tier"] = response["service_tier"]
        kept = {
            "images": self._images,
            "annotations": self._annotations,
            "reasoning_details": self._details,
        }
        end = [frame for name, told in kept.items() if told for frame in self._delta({name: told})]
        end += self._delta({}, finish_reason=reason)
        usage = self._head | {"choices": [], "usage": chat_usage(response.get("usage"))}
        return [*end, write_frame(write_object(usage)), DONE]

    def failed(self, event: Event) -> list[bytes]:
        """Tell the error that stands where the end should be."""
        error = event["response"]["error"]
        told = {"message": error["message"], "type": "server_error", "param": None, "code": error["code"]}
        return [write_frame(write_object({"error": told}))]


_WRITERS: Final[dict[str, Callable[[ChatAnswerWriter, Event], list[bytes]]]] = {
    "response.created": ChatAnswerWriter.created,
    "response.output_text.delta": ChatAnswerWriter.text,
    "response.refusal.delta": ChatAnswerWriter.refusal,
    "response.reasoning_text.delta": ChatAnswerWriter.reasoning,
    "response.reasoning_summary_text.delta": ChatAnswerWriter.reasoning,
    "response.reasoning_summary_part.added": ChatAnswerWriter.summary_part,
    "response.output_text.annotation.added": ChatAnswerWriter.annotation,
    "response.output_item.added": ChatAnswerWriter.added,
    "response.function_call_arguments.delta": ChatAnswerWriter.arguments,
    "response.custom_tool_call_input.delta": ChatAnswerWriter.arguments,
    "response.output_item.done": ChatAnswerWriter.done,
    "response.completed": ChatAnswerWriter.completed,
    "response.incomplete": ChatAnswerWriter.completed,
    "response.failed": ChatAnswerWriter.failed,
}
"""What is told, by event. The hub's other events have no form in chat."""


def chat_usage(usage: Item | None) -> Item:
    """Write the hub's usage under the names of chat."""
    usage = usage or {}
    into, out = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    return {
        "prompt_tokens": usage.get("input_tokens", 0),
        "completion_tokens": usage.get("output_tokens", 0),
        "total_tokens": usage.get("total_tokens", 0),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0, **into},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, **out},
    }
