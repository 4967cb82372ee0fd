"""Reads answers of Chat Completions into the hub's events (specification, sections 15.3 and 15.4).

A chunk's `delta` and an answer's `message` have the same members, so one reader takes both. Each member that
says something has its own method in the table below; members that nobody knows are nothing that a client of
another dialect could be told. The answer is over with `[DONE]`, or with the body once there was a finish reason:
usage may come after that.
"""

from typing import Any, Final

from antiphon.dialects.chat.images import made_image
from antiphon.dialects.chat.sources import cited, read_sources
from antiphon.dialects.chat.usage import read_usage
from antiphon.dialects.chat.watcher import judge_reasons
from antiphon.dialects.logprobs import hub_logprobs
from antiphon.dialects.reasoning_details import ReasoningDetails
from antiphon.dialects.stream_errors import UNEXPLAINED, told_error
from antiphon.dialects.translation import Telling
from antiphon.dialects.usage import hub_usage
from antiphon.recording import State
from antiphon.turn.calls import Calls
from antiphon.turn.events import Event, Item
from antiphon.turn.making import EventMaker
from antiphon.turn.usage import Usage
from antiphon.wire.objects import DONE_DATA, JsonObject, read_object, write_text

_REASONING: Final = ("reasoning_content", "reasoning")
_RARE: Final = frozenset({"error", "x_groq", "citations", "search_results"})
_BESIDE_DELTA: Final = frozenset({"message", "usage"})
_AROUND: Final = ("model", "service_tier")


class ChatAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self._telling = telling
        self._maker = EventMaker(telling.response, telling.make_id, telling.seal_raw())
        self._calls = Calls(self._maker, telling.asking.toolset, telling.make_id, telling.asking.answer_tool)
        self._details = ReasoningDetails()
        self._begun = False
        self._blank = ""
        """White space that may yet turn out to be the beginning of a text."""
        self._keys: list[tuple[object, object]] = []
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._members: JsonObject = {}
        self._sources: list[Item] = []
        self._said: list[str] = []

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self._maker.drain()

    def feed(self, data: bytes, event_type: str) -> None:
        """Take one chunk, or a whole answer. Raises ValueError or UpstreamFault."""
        if self._maker.is_over:
            return
        if data[:1] != b"{":
            data = data.strip()
        if data == DONE_DATA:
            self._finish()
        elif data:
            self._take(read_object(data), event_type)

    def close(self, *, clean: bool) -> None:
        """The body is over: an answer with a finish reason is whole, any other has not ended."""
        if clean and self._reason is not None:
            self._finish()

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken."""
        self._begin()
        self._maker.fail(code, message, usage=self._hub_usage())

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._maker.begin(**self._members)

    def _take(self, chunk: JsonObject, event_type: str) -> None:
        if not event_type and self._goes_on(chunk):
            return
        self._look_around(chunk)
        error = chunk.get("error")
        if error or event_type == "error" or chunk.get("object") == "error":
            self.fail(*told_error(error or chunk))
            return
        choices = chunk.get("choices")
        if not self._begun and (choices or self._members):
            self._begin()  # Azure's first chunk says neither who answers nor what
        for choice in choices or ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._take_choice(choice)

    def _goes_on(self, chunk: JsonObject) -> bool:
        """Tell more of the open text where a chunk says nothing else, as most do; the rest is for the long way."""
        choices = chunk.get("choices")
        if not choices or len(choices) != 1 or chunk.get("usage") is not None or not _RARE.isdisjoint(chunk):
            return False
        choice = choices[0]
        delta = choice.get("delta")
        if not delta or len(delta) != 1 or choice.get("finish_reason") or choice.get("logprobs"):
            return False
        text = delta.get("content")
        if not text or type(text) is not str or not self._maker.in_text:
            return False
        if choice.get("index") or not _BESIDE_DELTA.isdisjoint(choice):
            return False
        self._said.append(text)
        self._maker.text(text)
        return True

    def _look_around(self, chunk: JsonObject) -> None:
        """Note what a chunk says beside its choices."""
        for name in _AROUND:
            value = chunk.get(name)
            if value and isinstance(value, str):
                self._members[name] = value
        if "citations" in chunk or "search_results" in chunk:
            self._sources = read_sources(chunk) or self._sources
        usage = chunk.get("usage")
        if not usage and isinstance(groq := chunk.get("x_groq"), dict):
            usage = groq.get("usage")
        if usage:
            self._usage = read_usage(usage) or self._usage

    def _take_choice(self, choice: JsonObject) -> None:
        delta = choice.get("delta")
        if "message" in choice and (
            not delta or (choice.get("finish_reason") and not self._maker.has_output)
        ):
            # Perplexity has both: in a stream `message` repeats the text so far, a whole answer's `delta` is empty.
            delta = choice["message"]
        if isinstance(delta, dict):
            self._take_delta(delta, choice)
        if choice.get("finish_reason"):
            self._reason = str(choice["finish_reason"])
        elif "message" in choice and "delta" not in choice:
            self._reason = self._reason or "stop"  # a whole answer needs no reason to be whole
        if choice.get("usage"):
            self._usage = read_usage(choice["usage"]) or self._usage

    def _take_delta(self, delta: JsonObject, choice: JsonObject) -> None:
        content = delta.get("content")
        has_more = len(delta) > 1 or content is None
        if has_more:
            self._take_reasoning(delta)
        if isinstance(content, str):
            if content:
                self._text(content, _logprobs(choice))
        elif isinstance(content, list):
            self._take_parts(content, choice)
        if not has_more:
            return
        if delta.get("refusal"):
            self._leave_reasoning()
            self._maker.refusal(delta["refusal"])
        for annotation in delta.get("annotations") or ():
            self._annotate(annotation)
        for fragment in delta.get("tool_calls") or ():
            self._take_call(fragment)
        for image in delta.get("images") or ():
            self._take_image(image)
        if isinstance(delta.get("function_call"), dict):
            self._take_call({"index": "function_call", "function": delta["function_call"]})

    def _take_image(self, image: Any) -> None:
        item = made_image(image)
        if item is not None:
            self._leave_reasoning()
            self._maker.item({"id": self._telling.make_id("ig_"), **item})

    # Reasoning.

    def _take_reasoning(self, delta: JsonObject) -> None:
        details = delta.get("reasoning_details")
        if isinstance(details, list):
            self._details.add(details)
        text = next((delta[name] for name in _REASONING if isinstance(delta.get(name), str)), "")
        if not text and isinstance(details, list):
            text = "".join(str(each.get("text") or each.get("summary") or "") for each in details)
        if text:
            self._said.append(text)
            self._maker.reasoning(text)

    def _leave_reasoning(self) -> None:
        if kept := self._details.take_kept():
            self._maker.seal(self._telling.seal({"reasoning_details": kept}))

    # Text.

    def _text(self, text: str, logprobs: list[Item]) -> None:
        if not self._maker.in_text:
            text = self._blank + text
            if not text.strip() and not logprobs:
                self._blank = text
                return
            self._blank = ""
            self._leave_reasoning()
            self._calls.end_all()
        self._said.append(text)
        self._maker.text(text, logprobs)

    def _take_parts(self, parts: list[Any], choice: JsonObject) -> None:
        """Take content in parts, as Mistral writes it: thinking, text, and references to documents."""
        for part in parts:
            if not isinstance(part, dict):
                continue
            if part.get("type") == "thinking":
                thinking = part.get("thinking")
                pieces = thinking if isinstance(thinking, list) else [{"text": thinking}]
                text = "".join(str(each.get("text") or "") for each in pieces if isinstance(each, dict))
                if text:
                    self._said.append(text)
                    self._maker.reasoning(text)
            elif isinstance(part.get("text"), str) and part["text"]:
                self._text(part["text"], _logprobs(choice))

    def _annotate(self, annotation: Any) -> None:
        if isinstance(annotation, dict):
            kind = annotation.get("type")
            inner = annotation.get(kind) if isinstance(kind, str) else None
            self._maker.annotate({"type": kind, **inner} if isinstance(inner, dict) else annotation)

    # Calls.

    def _take_call(self, fragment: Any) -> None:
        if not isinstance(fragment, dict):
            return
        function = fragment.get("function") or fragment.get("custom") or {}
        name = function.get("name")
        key = self._call_key(fragment.get("index"), fragment.get("id"), is_named=bool(name))
        if key is None:
            if not name:
                return
            key = (fragment.get("index"), fragment.get("id") or len(self._keys))
            self._keys.append(key)
            self._leave_reasoning()
            self._calls.start(key, name, fragment.get("id"))
        arguments = function.get("arguments", function.get("input"))
        if arguments:
            text = arguments if isinstance(arguments, str) else write_text(arguments)
            self._said.append(text)
            self._calls.add(key, text)

    def _call_key(self, index: object, call_id: object, *, is_named: bool) -> tuple[object, object] | None:
        """Return the call that a fragment goes on with, None if it begins one.

        Some upstreams leave the index out or give every call index 0: then a new id with a name is a new call.
        """
        for key in reversed(self._keys):
            if index is not None and key[0] != index:
                continue
            if call_id and key[1] != call_id:
                if is_named:
                    continue
                return key
            return None if index is None and is_named and not call_id else key
        return None

    # The end.

    def _finish(self) -> None:
        self._begin()
        if self._reason is None:
            self.fail("upstream_truncated", "The upstream's answer ended without a finish reason.")
            return
        state, reason = judge_reasons([self._reason])
        if self._blank and not self._maker.has_output:
            self._maker.text(self._blank)
        self._leave_reasoning()
        if self._sources and self._maker.in_text and not self._maker.has_annotations:
            for citation in cited(self._maker.open_text, self._sources):
                self._maker.annotate(citation)
        if state is State.FAILED:
            self._maker.fail("upstream_error", UNEXPLAINED, usage=self._hub_usage())
            return
        if state is State.COMPLETED:
            self._calls.end_all()
        self._maker.finish(
            "completed" if state is State.COMPLETED else "incomplete",
            reason=reason,
            usage=self._hub_usage(),
            completed_at=int(self._telling.now()),
            **self._members,
        )

    def _hub_usage(self) -> Item:
        return hub_usage(self._usage, self._telling, self._said)


def _logprobs(choice: JsonObject) -> list[Item]:
    logprobs = choice.get("logprobs")
    return hub_logprobs(logprobs.get("content")) if isinstance(logprobs, dict) else []
