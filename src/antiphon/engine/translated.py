"""The answer of an upstream of another dialect, on its way into a live recording."""

from collections.abc import Callable, Sequence
from typing import Final

from antiphon.dialects.dialect import Dialect
from antiphon.dialects.registry import CLIENTS, UpstreamForm
from antiphon.dialects.translation import Telling, Translation, feed
from antiphon.engine.live import LiveRecording, passed_on
from antiphon.turn.events import Event
from antiphon.turn.response import output_text
from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault

_EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
_JSON: Final = b"application/json"
_STREAM_STARTS: Final = (b"data:", b"event:")
_ERROR: Final = 400
_NOT_OK: Final = 300
_ASKED_WRONGLY: Final = frozenset({"invalid_prompt"})
"""Codes of answers that would be the same if the upstream were asked again."""


class TranslatedAnswer:
    """Implements `ports.upstream.AnswerSink` in front of a live recording."""

    def __init__(
        self,
        dialect: Dialect,
        live: LiveRecording,
        telling: Telling,
        form: UpstreamForm,
        max_frame_bytes: int,
    ) -> None:
        """Translate an answer of the upstream's `form` into the client's `dialect`."""
        self.live = live
        self.telling = telling
        self._dialect = dialect
        self._client = CLIENTS[dialect.name]
        self._form = form
        self._limit = max_frame_bytes
        self._status = 0
        self._content_type = _JSON
        self._passed_on: tuple[tuple[bytes, bytes], ...] = ()
        self._translation: Translation | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        self._status = status
        self._passed_on = passed_on(headers)
        if _NOT_OK <= status < _ERROR:
            self.live.head(status, headers)
            return
        self._content_type = dict(headers).get(b"content-type", _JSON)
        kind = self._content_type.partition(b";")[0].strip().lower()
        if status < _ERROR and _is_stream(kind):
            self._read_as_stream()

    def data(self, data: bytes) -> None:
        """See more of the upstream's body."""
        translation = self._translation
        if translation is None:
            is_first = not self._parts and self._status < _ERROR
            if not is_first or not data.lstrip()[:6].startswith(_STREAM_STARTS):
                self._collect(data)
                return
            translation = self._read_as_stream()  # events under the content type of JSON
        self.live.frames(translation.feed(data))

    def end(self) -> None:
        """The upstream's body is over."""
        if self._translation is not None:
            self.live.frames(self._translation.close(clean=True))
            self.live.end()
        elif self._status >= _ERROR:
            self._end_error()
        else:
            self.tell_whole(self.read_whole())

    def broken(self, fault: UpstreamFault) -> None:
        """The upstream's answer broke off, or never came."""
        if self._translation is not None:
            self.live.frames(self._translation.close(clean=False))
        if self._status >= _ERROR:
            self._end_error()  # the status says more than that its body is not whole
        else:
            self.live.broken(fault)

    @property
    def is_whole(self) -> bool:
        """Whether the answer, which is over, came as one JSON body that is no error."""
        return self._translation is None and self._status < _ERROR

    def read_whole(self) -> list[Event]:
        """Return the events of an answer that came as one JSON body."""
        reader = self._form.reader(self.telling)
        feed(reader, b"".join(self._parts), "")
        reader.close(clean=True)
        return reader.drain()

    def tell_whole(self, events: list[Event]) -> None:
        """Record the JSON answer that `events` make, or why there is none."""
        fault = failure(events)
        if fault is not None:
            self.live.fail(fault)
            return
        body = self._dialect.fold(self._client.writer(self.telling).feed(events))
        self.live.head(200, ((b"content-type", _JSON), *self._passed_on))
        self.live.data(body)
        self.live.end()

    def _read_as_stream(self) -> Translation:
        self._translation = translation = Translation(
            self._form.reader(self.telling),
            self._client.writer(self.telling),
            self._form.framing,
            self._limit,
            self._dialect.keep_alive,
        )
        self.live.head(200, ((b"content-type", _EVENT_STREAM), *self._passed_on))
        return translation

    def _collect(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self.live.max_answer_bytes:
            self._parts.append(data)
        else:
            self._parts.clear()
            self.live.fail(
                UpstreamFault(
                    f"The answer is longer than {self.live.max_answer_bytes} bytes.",
                    code="upstream_answer_too_large",
                )
            )

    def _end_error(self) -> None:
        self.live.head(self._status, ((b"content-type", self._content_type), *self._passed_on))
        self.live.data(b"".join(self._parts))
        self.live.end()


class CheckedAnswer:
    """An answer that is told only when it is JSON of the schema that the client wants; implements `AnswerSink`."""

    def __init__(
        self,
        answer: TranslatedAnswer,
        violation: Callable[[str], str | None],
        repair: Callable[[str, str], None] | None,
    ) -> None:
        """Hold `answer` until it is whole; `repair` (text, why) asks once more for one with a `violation`."""
        self._answer = answer
        self._violation = violation
        self._repair = repair
        self.head = answer.head
        self.data = answer.data
        self.broken = answer.broken

    def end(self) -> None:
        """Check what was said."""
        answer = self._answer
        if not answer.is_whole:
            answer.end()
            return
        events = answer.read_whole()
        text, why = self._judge(events)
        if why is None:
            answer.tell_whole(events)
        elif self._repair is not None:
            self._repair(text, why)
        else:
            answer.live.fail(
                UpstreamFault(
                    f"The model's answer does not match the schema, twice. {why}", code="schema_mismatch"
                )
            )

    def _judge(self, events: Sequence[Event]) -> tuple[str, str | None]:
        """Return the text and what is wrong with it; calls, refusals and cut answers are what they are."""
        if failure(events) is not None or events[-1]["type"] != "response.completed":
            return "", None
        text = output_text(events[-1]["response"]["output"])
        return text, self._violation(text) if text else None


def failure(events: Sequence[Event]) -> GatewayError | None:
    """Return why the events of a whole answer make none."""
    last = events[-1] if events else None
    if last is not None and last["type"] in {"response.completed", "response.incomplete"}:
        return None
    error = (last or {}).get("response", {}).get("error") or {}
    fault = ClientFault if error.get("code") in _ASKED_WRONGLY else UpstreamFault
    return fault(
        error.get("message") or "The upstream's answer cannot be read.",
        code=error.get("code") or "upstream_invalid_json",
    )


def _is_stream(kind: bytes) -> bool:
    return kind == b"text/event-stream" or kind.endswith((b"ndjson", b"stream+json"))
