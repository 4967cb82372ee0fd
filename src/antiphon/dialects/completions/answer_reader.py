"""Reads text completions into the hub's events: one message, and how it ended.

A chunk's choice and that of a whole answer have the same members. As in chat, the answer is over with `[DONE]`, or
with the body once there was a finish reason. Choices but the first are nothing that a client could be told.
"""

from antiphon.dialects.chat.usage import read_usage
from antiphon.dialects.chat.watcher import judge_reasons
from antiphon.dialects.logprobs import from_lists
from antiphon.dialects.stream_errors import UNEXPLAINED, told_error
from antiphon.dialects.translation import Telling
from antiphon.dialects.usage import hub_usage
from antiphon.recording import State
from antiphon.turn.events import Event, Item
from antiphon.turn.making import EventMaker
from antiphon.turn.usage import Usage
from antiphon.wire.objects import DONE_DATA, JsonObject, read_object


class CompletionsAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self._telling = telling
        self._maker = EventMaker(telling.response, telling.make_id)
        self._begun = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._members: JsonObject = {}
        self._said: list[str] = []

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self._maker.drain()

    def feed(self, data: bytes, event_type: str) -> None:
        """Take one chunk, or a whole answer. Raises ValueError."""
        if self._maker.is_over:
            return
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
        if isinstance(model := chunk.get("model"), str) and model:
            self._members["model"] = model
        if usage := chunk.get("usage"):
            self._usage = read_usage(usage) or self._usage
        error = chunk.get("error")
        if error or event_type == "error" or chunk.get("object") == "error":
            self.fail(*told_error(error or chunk))
            return
        self._begin()
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                self._take_choice(choice)

    def _take_choice(self, choice: JsonObject) -> None:
        text = choice.get("text")
        if isinstance(text, str) and text:
            self._said.append(text)
            self._maker.text(text, from_lists(choice.get("logprobs")))
        if choice.get("finish_reason"):
            self._reason = str(choice["finish_reason"])

    def _finish(self) -> None:
        self._begin()
        if self._reason is None:
            self.fail("upstream_truncated", "The upstream's answer ended without a finish reason.")
            return
        state, reason = judge_reasons([self._reason])
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

    def _hub_usage(self) -> Item:
        return hub_usage(self._usage, self._telling, self._said)
