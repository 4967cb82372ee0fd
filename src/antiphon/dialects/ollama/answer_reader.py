"""Reads answers of Ollama's `/api/chat` into the hub's events (https://docs.ollama.com/api/chat, autumn 2026).

Each line of a stream is an object like the whole answer, with a piece of the message; calls come whole. The line
with `done: true` ends the answer, and counts its tokens; a body without it has not ended. An error in mid-stream is
a line with `error`, under status 200.
"""

from typing import Any, Final

from antiphon.dialects.chat.watcher import judge_reasons
from antiphon.dialects.logprobs import hub_logprobs
from antiphon.dialects.stream_errors import UNEXPLAINED, told_error
from antiphon.dialects.translation import Telling
from antiphon.dialects.usage import hub_usage
from antiphon.recording import State
from antiphon.turn.calls import Calls
from antiphon.turn.events import Event, Item
from antiphon.turn.making import EventMaker
from antiphon.turn.usage import Usage
from antiphon.wire.objects import JsonObject, read_object, write_text

_LARGEST_COUNT: Final = 2**53


class OllamaAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self._telling = telling
        self._maker = EventMaker(telling.response, telling.make_id, telling.seal_raw())
        self._calls = Calls(self._maker, telling.asking.toolset, telling.make_id, telling.asking.answer_tool)
        self._begun = False
        self._blank = ""
        """White space that may yet turn out to be the beginning of a text."""
        self._pending: list[Item] = []
        """Log probabilities of tokens whose text has not come yet, such as the first half of an emoji."""
        self._count = 0
        """How many calls there were."""
        self._members: JsonObject = {}
        self._usage: Usage | None = None
        self._said: list[str] = []

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self._maker.drain()

    def feed(self, data: bytes, event_type: str) -> None:
        """Take one line, or a whole answer. Raises ValueError or UpstreamFault."""
        del event_type  # lines have none
        if not self._maker.is_over:
            self._take(read_object(data))

    def close(self, *, clean: bool) -> None:
        """The body is over: only `done` ends an answer."""

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken."""
        self._begin()
        self._maker.fail(code, message, usage=self._hub_usage())

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._maker.begin(**self._members)

    def _take(self, line: JsonObject) -> None:
        if isinstance(model := line.get("model"), str) and model:
            self._members["model"] = model
        if error := line.get("error"):
            self.fail(*told_error(error))
            return
        self._begin()
        message = line.get("message")
        if isinstance(message, dict):
            self._take_message(message, hub_logprobs(line.get("logprobs")))
        if line.get("done") is True:
            self._finish(line)

    def _take_message(self, message: JsonObject, logprobs: list[Item]) -> None:
        thinking = message.get("thinking")
        if isinstance(thinking, str) and thinking:
            self._said.append(thinking)
            self._maker.reasoning(thinking)
            self._pending = []
        content = message.get("content")
        if isinstance(content, str) and content:
            self._text(content, [*self._pending, *logprobs])
            self._pending = []
        elif not thinking:
            self._pending += logprobs
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            self._take_call(call)

    def _text(self, text: str, logprobs: list[Item]) -> None:
        if not self._maker.in_text:
            text = self._blank + text
            if not text.strip() and not logprobs:
                self._blank = text
                return
            self._blank = ""
        self._said.append(text)
        self._maker.text(text, logprobs)

    def _take_call(self, call: Any) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            return
        key, self._count = self._count, self._count + 1
        self._blank = ""
        call_id = call.get("id")
        arguments = function.get("arguments")
        told = arguments if isinstance(arguments, str) else write_text(arguments or {})
        self._calls.start(key, str(function["name"]), call_id if isinstance(call_id, str) else None)
        self._calls.add(key, told)
        self._calls.end(key)
        self._said.append(told)

    # The end.

    def _finish(self, line: JsonObject) -> None:
        self._usage = self._counted(line)
        if self._blank and not self._maker.has_output:
            self._maker.text(self._blank)
        # `load` and `unload` answer a request without messages, and older versions tell no reason at all.
        state, reason = judge_reasons([str(line.get("done_reason") or "stop")])
        if state is State.FAILED:
            self._maker.fail("upstream_error", UNEXPLAINED, usage=self._hub_usage())
            return
        self._maker.finish(
            "completed" if state is State.COMPLETED else "incomplete",
            reason=reason,
            usage=self._hub_usage(),
            completed_at=int(self._telling.now()),
            **self._members,
        )

    def _counted(self, line: JsonObject) -> Usage | None:
        """Read usage. A prompt that was cached as a whole is counted here: some versions leave its count out."""
        output = _count(line.get("eval_count"))
        if output is None:
            return None
        prompt = _count(line.get("prompt_eval_count"))
        if prompt is None:
            prompt = self._telling.count_input(self._telling.request)
        return Usage(input_tokens=prompt, output_tokens=output, total_tokens=prompt + output)

    def _hub_usage(self) -> Item:
        return hub_usage(self._usage, self._telling, self._said)


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_COUNT
    return value if is_count else None
