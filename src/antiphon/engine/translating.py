"""Turns whose upstream speaks another dialect: the request is written anew, the answer translated as it comes.

The translation stands between the upstream and the live recording. What is recorded is the answer in the
client's dialect, so that everything behind (listeners, cache, replay, kept responses) is as for native turns.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from antiphon.dialects.chat_json import read_object, write_object
from antiphon.dialects.registry import CLIENTS, UPSTREAMS, ClientForm, UpstreamForm
from antiphon.dialects.translation import Asking, Structured, Telling, Translation, feed
from antiphon.engine.live import LiveRecording, passed_on
from antiphon.engine.source import Source
from antiphon.engine.turn import Turn
from antiphon.ports.upstream import UpstreamRequest
from antiphon.turn.events import Event
from antiphon.turn.request import HubRequest
from antiphon.turn.response import begun
from antiphon.turn.tools import read_tools
from antiphon.wire.errors import GatewayError, UpstreamFault

_EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
_JSON: Final = b"application/json"
_STREAM_STARTS: Final = (b"data:", b"event:")
_ERROR: Final = 400
_NOT_OK: Final = 300
_ANSWER_TOOL: Final = "answer"


class Seals(Protocol):
    """Envelopes for what a client carries from turn to turn."""

    def seal(self, kind: str, backend: str, model: str, payload: Any, owner: str) -> str:
        """Close `payload` into a text that only this gateway opens."""

    def open(self, text: str, owner: str) -> Any:
        """Open such a text; it knows its kind, backend and model. Raises ClientFault."""

    def is_ours(self, text: str) -> bool:
        """Whether a text is such an envelope."""


@dataclass(frozen=True, slots=True)
class Translating:
    """Sends translated turns."""

    seals: Seals
    now: Callable[[], float]
    count_tokens: Callable[[Sequence[str]], int]
    count_input: Callable[[HubRequest], int]

    def send(self, turn: Turn, live: LiveRecording, source: Source) -> None:
        """Ask the upstream; a request that it cannot be asked ends the recording with the fault."""
        try:
            job = self._job(turn, live, source)
        except GatewayError as fault:
            live.fail(fault)
            return
        live.started(source.upstream.send(job.request, job.answer))

    def _job(self, turn: Turn, live: LiveRecording, source: Source) -> "_Job":
        ask = turn.ask
        assert ask.upstream_dialect is not None
        client, upstream = CLIENTS[ask.dialect.name], UPSTREAMS[ask.upstream_dialect]
        request = client.read(read_object(ask.request.body))
        asking = self._asking(turn, source, request)
        telling = self._telling(turn, source, request, asking, client)
        body = write_object(upstream.write(request, asking))
        path = upstream.path(asking.model, asking.stream)
        sent = UpstreamRequest(ask.upstream_dialect, path, body, asking.stream)
        return _Job(
            sent, TranslatedAnswer(turn, live, telling, upstream, client, source.settings.max_frame_bytes)
        )

    def _asking(self, turn: Turn, source: Source, request: HubRequest) -> Asking:
        model, owner = turn.ask.target.model, turn.ask.owner.name
        profile = source.profile
        toolset = read_tools(request, hosted=profile.hosted_tools, upstream=profile.label)
        structured = _structured(request, source, model, has_tools=bool(toolset.tools))

        def unseal(text: str) -> Any | None:
            if not self.seals.is_ours(text):
                return None
            sealed = self.seals.open(text, owner)
            fits = sealed.kind == "compaction" or (sealed.backend, sealed.model) == (
                source.settings.type,
                model,
            )
            return sealed.payload if fits else None

        return Asking(
            model=model,
            stream=turn.ask.request.stream,
            profile=profile,
            toolset=toolset,
            structured=structured,
            answer_tool=_ANSWER_TOOL if structured is Structured.TOOL else None,
            unseal=unseal,
            is_sealed=self.seals.is_ours,
        )

    def _telling(
        self, turn: Turn, source: Source, request: HubRequest, asking: Asking, client: ClientForm
    ) -> Telling:
        response_id = turn.response_id.decode() or make_id(client.id_prefix)

        def seal(payload: Any) -> str:
            return self.seals.seal(
                "reasoning", source.settings.type, asking.model, payload, turn.ask.owner.name
            )

        return Telling(
            request=request,
            asking=asking,
            response=begun(request, response_id=response_id, created_at=int(self.now()), model=asking.model),
            make_id=make_id,
            now=self.now,
            seal=seal,
            count_tokens=self.count_tokens,
            count_input=self.count_input,
        )


@dataclass(frozen=True, slots=True)
class _Job:
    request: UpstreamRequest
    answer: "TranslatedAnswer"


def make_id(prefix: str) -> str:
    """Return an id that nobody can guess."""
    return prefix + secrets.token_hex(24)


def _structured(request: HubRequest, source: Source, model: str, *, has_tools: bool) -> Structured | None:
    """Choose how the upstream is brought to answer with JSON of a schema, if that is asked."""
    form = request.get("text", {}).get("format") or {}
    if form.get("type") != "json_schema":
        return None
    if source.profile.takes_schema(model):
        return Structured.NATIVE
    # A tool that must be called leaves no choice between it and the request's own tools.
    return Structured.JSON if has_tools or source.profile.schema == "json" else Structured.TOOL


class TranslatedAnswer:
    """Implements `ports.upstream.AnswerSink` in front of a live recording."""

    def __init__(
        self,
        turn: Turn,
        live: LiveRecording,
        telling: Telling,
        upstream: UpstreamForm,
        client: ClientForm,
        max_frame_bytes: int,
    ) -> None:
        """Translate the answer to `turn` from the upstream's form into the client's."""
        self._dialect = turn.ask.dialect
        self._live = live
        self._form = upstream
        self._client = client
        self._telling = telling
        self._limit = max_frame_bytes
        self._status = 0
        self._passed_on: tuple[tuple[bytes, bytes], ...] = ()
        self._translation: Translation | None = None
        self._parts: list[bytes] = []

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        self._status = status
        self._passed_on = passed_on(headers)
        if status >= _NOT_OK and status < _ERROR:
            self._live.head(status, headers)
            return
        kind = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if status < _ERROR and _is_stream(kind):
            self._read_as_stream()

    def _read_as_stream(self) -> Translation:
        telling = self._telling
        self._translation = translation = Translation(
            self._form.reader(telling),
            self._client.writer(telling),
            self._form.framing,
            self._limit,
            self._client.keep_alive,
        )
        self._live.head(200, ((b"content-type", _EVENT_STREAM), *self._passed_on))
        return translation

    def data(self, data: bytes) -> None:
        """See more of the upstream's body."""
        translation = self._translation
        if translation is None:
            is_first = not self._parts and self._status < _ERROR
            if not is_first or not data.lstrip()[:6].startswith(_STREAM_STARTS):
                self._parts.append(data)
                return
            translation = self._read_as_stream()  # events under the content type of JSON
        self._pass(translation.feed(data))

    def end(self) -> None:
        """The upstream's body is over."""
        if self._translation is not None:
            self._pass(self._translation.close(clean=True))
            self._live.end()
        elif self._status >= _ERROR:
            self._end_error()
        else:
            self._end_whole()

    def broken(self, fault: UpstreamFault) -> None:
        """The upstream's answer broke off, or never came."""
        if self._translation is not None:
            self._pass(self._translation.close(clean=False))
        if self._status >= _ERROR:
            self._end_error()  # the status says more than that its body is not whole
        else:
            self._live.broken(fault)

    def _pass(self, frames: list[bytes]) -> None:
        if frames:
            self._live.data(b"".join(frames))

    def _end_whole(self) -> None:
        telling = self._telling
        reader = self._form.reader(telling)
        feed(reader, b"".join(self._parts), "")
        reader.close(clean=True)
        events = reader.drain()
        fault = _failure(events)
        if fault is not None:
            self._live.fail(fault)
            return
        body = self._dialect.fold(self._client.writer(telling).feed(events))
        self._live.head(200, ((b"content-type", _JSON), *self._passed_on))
        self._live.data(body)
        self._live.end()

    def _end_error(self) -> None:
        self._live.head(self._status, ((b"content-type", _JSON), *self._passed_on))
        self._live.data(b"".join(self._parts))
        self._live.end()


def _is_stream(kind: bytes) -> bool:
    return kind == b"text/event-stream" or kind.endswith((b"ndjson", b"stream+json"))


def _failure(events: Sequence[Event]) -> UpstreamFault | None:
    """Return why a whole answer is none."""
    last = events[-1] if events else None
    if last is not None and last["type"] in {"response.completed", "response.incomplete"}:
        return None
    error = (last or {}).get("response", {}).get("error") or {}
    return UpstreamFault(
        error.get("message") or "The upstream's answer cannot be read.",
        code=error.get("code") or "upstream_invalid_json",
    )
