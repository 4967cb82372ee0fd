"""Writes the hub's events as a stream of text completions.

What a text completion carries of an answer:

    text                  `choices[0].text`, all messages one after the other
    a refusal             text too: it is what the model said, and nothing else would tell of it
    log probabilities     the four lists; `text_offset` counts from the beginning of the answer's text
    how it ended          `finish_reason`: stop, length or content_filter
    usage                 a chunk of its own, which only clients that asked for it are shown
    a failure             a frame with `error`, and no `[DONE]`
    reasoning             nothing: there is no member for it
    calls, annotations    nothing: a request for a completion cannot ask for them
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.dialects.logprobs import to_lists
from antiphon.dialects.translation import Telling
from antiphon.turn.events import Event, Item
from antiphon.wire.objects import write_object
from antiphon.wire.sse import DONE, write_frame

_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


class CompletionsAnswerWriter:
    """Writes one answer."""

    def __init__(self, telling: Telling) -> None:
        """Name the answer as the response of `telling` is named."""
        response = telling.response
        self._head = {
            "id": response["id"],
            "object": "text_completion",
            "created": response["created_at"],
            "model": response["model"],
        }
        self._alternatives = bool(telling.request.get("top_logprobs"))
        self._written = 0
        """Characters of text so far."""

    def feed(self, events: Sequence[Event]) -> list[bytes]:
        """Return the frames that tell of `events`."""
        frames: list[bytes] = []
        for event in events:
            write = _WRITERS.get(event["type"])
            if write is not None:
                frames += write(self, event)
        return frames

    def _begin(self, event: Event) -> list[bytes]:
        self._head["model"] = event["response"]["model"]
        return []

    def _text(self, event: Event) -> list[bytes]:
        entries = event.get("logprobs")
        lists = to_lists(entries, self._written, alternatives=self._alternatives) if entries else None
        self._written += len(event["delta"])
        return [self._choice(event["delta"], lists, None)]

    def _finish(self, event: Event) -> list[bytes]:
        response = event["response"]
        self._head["model"] = response["model"]
        details = response["incomplete_details"] or {}
        reason = _REASONS.get(details.get("reason", ""), "stop")
        frames = [self._choice("", None, reason)]
        if response.get("usage") is not None:
            frames.append(self._frame({"choices": [], "usage": _usage(response["usage"])}))
        return [*frames, DONE]

    def _fail(self, event: Event) -> list[bytes]:
        error = event["response"]["error"]
        told = {"message": error["message"], "type": "server_error", "param": None, "code": error["code"]}
        return [write_frame(write_object({"error": told}))]

    def _choice(self, text: str, logprobs: Item | None, reason: str | None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return self._frame({"choices": [choice]})

    def _frame(self, members: dict[str, Any]) -> bytes:
        return write_frame(write_object(self._head | members))


_Write = Callable[[CompletionsAnswerWriter, Event], list[bytes]]

_WRITERS: Final[dict[str, _Write]] = {
    "response.created": CompletionsAnswerWriter._begin,
    "response.output_text.delta": CompletionsAnswerWriter._text,
    "response.refusal.delta": CompletionsAnswerWriter._text,
    "response.completed": CompletionsAnswerWriter._finish,
    "response.incomplete": CompletionsAnswerWriter._finish,
    "response.failed": CompletionsAnswerWriter._fail,
}


def _usage(usage: Item) -> Item:
    """Write usage; of the details those that count something."""
    told: Item = {
        "prompt_tokens": usage.get("input_tokens", 0),
        "completion_tokens": usage.get("output_tokens", 0),
        "total_tokens": usage.get("total_tokens", 0),
    }
    for name, source in (("prompt", "input"), ("completion", "output")):
        # Those who imitate the Responses API leave them out.
        counts = usage.get(f"{source}_tokens_details") or {}
        details = {kind: count for kind, count in counts.items() if count}
        if details:
            told[f"{name}_tokens_details"] = details
    return told
