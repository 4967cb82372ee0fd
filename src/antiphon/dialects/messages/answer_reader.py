"""Reads answers of Anthropic Messages into the hub's events (specification, section 15.6).

A message is a row of content blocks, each begun, told in deltas and ended; a whole answer is the same without
deltas. What each kind of block becomes:

    text                    a part of a message; blocks that follow one another are parts of one item
    thinking, redacted      a reasoning item, with what the model wants back sealed into it
    tool_use                a call
    hosted call and result  one item, as soon as the result is there

All else is nothing that was asked for in translation. Only `message_stop` ends a streamed answer.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.messages.events import (
    BLOCK_DELTA,
    BLOCK_START,
    BLOCK_STOP,
    ERROR,
    MESSAGE_DELTA,
    MESSAGE_START,
    MESSAGE_STOP,
)
from antiphon.dialects.messages.fold import model_after_fallback
from antiphon.dialects.messages.hosted import CALLS, RESULTS, read_hosted
from antiphon.dialects.messages.usage import merged_usage, read_usage
from antiphon.dialects.partial_json import read_partial
from antiphon.dialects.translation import Telling
from antiphon.dialects.usage import hub_usage
from antiphon.turn.calls import Calls
from antiphon.turn.events import Event, Item
from antiphon.turn.making import EventMaker
from antiphon.turn.usage import NO_USAGE
from antiphon.wire.objects import JsonObject, read_object, write_text

_INCOMPLETE: Final = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
"""Why an answer is not whole, by its stop reason; all other reasons end one that is."""
_SERVICE_TIERS: Final = {"standard": "default", "priority": "priority"}
_SAYS_NOTHING: Final = "The upstream reported an error in the middle of its answer."


class MessagesAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self.telling = telling
        self.maker = EventMaker(telling.response, telling.make_id)
        self.calls = Calls(self.maker, telling.asking.toolset, telling.make_id, telling.asking.answer_tool)
        self.said: list[str] = []
        self.hosted: dict[str, JsonObject] = {}
        """Hosted calls without a result, by their id."""
        self._blocks: dict[int, _Block] = {}
        self._is_begun = False
        self._reason: str | None = None
        self._explanation: str | None = None
        self._usage: Any = None
        self._members: JsonObject = {}

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self.maker.drain()

    def feed(self, data: bytes, event_type: str) -> None:
        """Take one event, or a whole answer. Raises ValueError or UpstreamFault."""
        if self.maker.is_over or not data.strip():
            return
        event = read_object(data)
        kind = event.get("type") or event_type
        if kind == ERROR or event.get("error"):
            self.fail(*_error(event.get("error")))
            return
        take = _TAKES.get(str(kind))
        if take is not None:
            take(self, event)

    def close(self, *, clean: bool) -> None:
        """The body is over: an answer that had not ended before never will."""

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken."""
        self._begin()
        self.maker.fail(code, message, usage=self._hub_usage())

    # Events.

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self.maker.begin(**self._members)

    def _take_start(self, event: JsonObject) -> None:
        message = event.get("message")
        if isinstance(message, dict) and not self._is_begun:
            self._describe(message)
            self._begin()

    def _take_whole(self, message: JsonObject) -> None:
        self._describe(message)
        self._begin()
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            self._take_block({"index": index, "content_block": block})
            self._take_stop({"index": index})
        self._finish()

    def _describe(self, message: JsonObject) -> None:
        """Note what is said of a message beside its content; it may come in pieces."""
        if isinstance(message.get("model"), str) and message["model"]:
            self._members["model"] = message["model"]
        usage = message.get("usage")
        if isinstance(usage, dict):
            self._usage = merged_usage(self._usage, usage)
            tier = _SERVICE_TIERS.get(str(usage.get("service_tier")))
            if tier is not None:
                self._members["service_tier"] = tier
        if message.get("stop_reason"):
            self._reason = str(message["stop_reason"])
        details = message.get("stop_details")
        if isinstance(details, dict) and isinstance(details.get("explanation"), str):
            self._explanation = details["explanation"]

    def _take_block(self, event: JsonObject) -> None:
        content = event.get("content_block")
        if isinstance(content, dict):
            self._begin()
            index = _index(event)
            self._blocks[index] = _block_type(content)(self, index, content)
            served_by = model_after_fallback(content)
            if served_by is not None:
                self._members["model"] = served_by

    def _take_delta(self, event: JsonObject) -> None:
        block, delta = self._blocks.get(_index(event)), event.get("delta")
        if block is not None and isinstance(delta, dict):
            block.take(delta)

    def _take_stop(self, event: JsonObject) -> None:
        block = self._blocks.pop(_index(event), None)
        if block is not None:
            block.stop()

    def _take_message_delta(self, event: JsonObject) -> None:
        delta = event.get("delta")
        self._describe({**(delta if isinstance(delta, dict) else {}), "usage": event.get("usage")})

    def _take_message_stop(self, event: JsonObject) -> None:
        del event
        self._finish()

    # The end.

    def _finish(self) -> None:
        self._begin()
        if self._reason is None:
            self.fail("upstream_truncated", "The upstream's answer ended without a stop reason.")
            return
        for index in list(self._blocks):
            self._take_stop({"index": index})
        for call in self.hosted.values():
            self.item(read_hosted(call, None, self.telling.make_id))
        if self._reason == "refusal" and self._explanation:
            self.calls.end_all()
            self.maker.refusal(self._explanation)
        reason = _INCOMPLETE.get(self._reason)
        if reason is None:
            self.calls.end_all()
        self.maker.finish(
            "incomplete" if reason else "completed",
            reason=reason,
            usage=self._hub_usage(),
            completed_at=int(self.telling.now()),
            **self._members,
        )

    def item(self, item: Item | None) -> None:
        """Tell what a hosted tool did."""
        if item is not None:
            self.calls.end_all()
            self.maker.item(item)

    def _hub_usage(self) -> Item:
        usage = read_usage(self._usage)
        return hub_usage(None if usage is NO_USAGE else usage, self.telling, self.said)


def _index(event: JsonObject) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _error(error: Any) -> tuple[str, str]:
    if not isinstance(error, dict):
        return "upstream_error", str(error) if error else _SAYS_NOTHING
    return str(error.get("type") or "upstream_error"), str(error.get("message") or _SAYS_NOTHING)


_TAKES: Final[dict[str, Callable[[MessagesAnswerReader, JsonObject], None]]] = {
    "message": MessagesAnswerReader._take_whole,
    MESSAGE_START: MessagesAnswerReader._take_start,
    BLOCK_START: MessagesAnswerReader._take_block,
    BLOCK_DELTA: MessagesAnswerReader._take_delta,
    BLOCK_STOP: MessagesAnswerReader._take_stop,
    MESSAGE_DELTA: MessagesAnswerReader._take_message_delta,
    MESSAGE_STOP: MessagesAnswerReader._take_message_stop,
}


# Blocks.


class _Block:
    """A block that clients of other dialects are not told of."""

    def __init__(self, reader: MessagesAnswerReader, index: int, content: JsonObject) -> None:
        self.reader = reader
        self.index = index
        self.content = content
        self.begin()

    def begin(self) -> None:
        """Take what the block begins with."""

    def take(self, delta: JsonObject) -> None:
        """Take what comes."""

    def stop(self) -> None:
        """Take no more."""


class _Text(_Block):
    """Text with the sources that it cites: they hold for the whole block."""

    def begin(self) -> None:
        self._length = 0
        citations = self.content.get("citations")
        self._citations = list(citations) if isinstance(citations, list) else []
        self._say(self.content.get("text"))

    def take(self, delta: JsonObject) -> None:
        if delta.get("type") == "citations_delta":
            self._citations.append(delta.get("citation"))
        else:
            self._say(delta.get("text"))

    def _say(self, text: Any) -> None:
        if isinstance(text, str) and text:
            if not self._length:
                self.reader.calls.end_all()
            self._length += len(text)
            self.reader.said.append(text)
            self.reader.maker.text(text)

    def stop(self) -> None:
        if not self._length:
            return
        for citation in self._citations:
            annotation = _annotation(citation, self._length)
            if annotation is not None:
                self.reader.maker.annotate(annotation)
        self.reader.maker.next_part()


class _Thinking(_Block):
    """What the model thought, with a signature that lets it go on from there."""

    def begin(self) -> None:
        self.reader.calls.end_all()
        self.reader.maker.close_item()
        self._texts: list[str] = []
        self._signature = ""
        self.take(self.content)

    def take(self, delta: JsonObject) -> None:
        text, signature = delta.get("thinking"), delta.get("signature")
        if isinstance(signature, str) and signature:
            self._signature = signature
        if isinstance(text, str) and text:
            self._texts.append(text)
            self.reader.said.append(text)
            self.reader.maker.summary(text)

    def stop(self) -> None:
        if self._signature:
            kept = {"thinking": "".join(self._texts), "signature": self._signature}
            self.reader.maker.seal(self.reader.telling.seal(kept))
        self.reader.maker.close_item()


class _RedactedThinking(_Block):
    """Thinking that only the model can read."""

    def stop(self) -> None:
        self.reader.calls.end_all()
        self.reader.maker.close_item()
        self.reader.maker.seal(self.reader.telling.seal({"redacted": self.content.get("data") or ""}))
        self.reader.maker.close_item()


class _Call(_Block):
    """A call of a tool that the client runs."""

    def begin(self) -> None:
        self._texts: list[str] = []
        call_id = self.content.get("id")
        name = self.content["name"]
        self.reader.calls.start(self.index, name, call_id if isinstance(call_id, str) else None)
        if self.content.get("input"):
            self._say(write_text(self.content["input"]))

    def take(self, delta: JsonObject) -> None:
        text = delta.get("partial_json")
        if isinstance(text, str) and text:
            self._say(text)

    def _say(self, text: str) -> None:
        self._texts.append(text)
        self.reader.said.append(text)
        self.reader.calls.add(self.index, text)

    def stop(self) -> None:
        """End the call, unless its arguments were cut off: then the answer ends there."""
        if not self._texts:
            self._say("{}")
        try:
            json.loads("".join(self._texts))
        except (ValueError, RecursionError):
            return
        self.reader.calls.end(self.index)


class _HostedCall(_Block):
    """A call of a tool that the upstream runs."""

    def begin(self) -> None:
        self._texts: list[str] = []

    def take(self, delta: JsonObject) -> None:
        text = delta.get("partial_json")
        if isinstance(text, str):
            self._texts.append(text)

    def stop(self) -> None:
        given = self.content.get("input")
        given = given if isinstance(given, dict) else {}
        text = "".join(self._texts)
        told = read_partial(text) if text.strip() else given
        self.reader.hosted[str(self.content.get("id"))] = self.content | {"input": told}


class _HostedResult(_Block):
    """What came of such a call."""

    def stop(self) -> None:
        call = self.reader.hosted.pop(str(self.content.get("tool_use_id")), None)
        if call is not None:
            self.reader.item(read_hosted(call, self.content, self.reader.telling.make_id))


_BLOCKS: Final[dict[str, type[_Block]]] = {
    "text": _Text,
    "thinking": _Thinking,
    "redacted_thinking": _RedactedThinking,
    "tool_use": _Call,
    **dict.fromkeys(CALLS, _HostedCall),
    **dict.fromkeys(RESULTS, _HostedResult),
}


def _block_type(content: JsonObject) -> type[_Block]:
    kind, name = str(content.get("type")), content.get("name")
    if kind == "tool_use" and not (isinstance(name, str) and name):
        return _Block  # nobody could answer a call without a name
    return _BLOCKS.get(kind, _Block)


def _annotation(citation: Any, length: int) -> Item | None:
    """Return a citation as an annotation of a text of `length` characters."""
    if not isinstance(citation, dict):
        return None
    quoted = {"cited_text": citation["cited_text"]} if citation.get("cited_text") else {}
    if citation.get("url"):
        place = {"start_index": 0, "end_index": length}
        title = citation.get("title") or ""
        return {"type": "url_citation", "url": citation["url"], "title": title, **place, **quoted}
    name = citation.get("document_title") or citation.get("title") or citation.get("source") or ""
    file_id = citation.get("file_id") or citation.get("source") or ""
    return {"type": "file_citation", "file_id": file_id, "filename": name, "index": length, **quoted}
