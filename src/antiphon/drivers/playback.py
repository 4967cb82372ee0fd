"""An upstream that answers from a cassette: no network, the recorded frames at the recorded pace."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from antiphon.drivers.cassette_files import read_cassette
from antiphon.drivers.tape import Asked, Tape
from antiphon.ports.upstream import AnswerSink, UpstreamRequest
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.recording.cassette import Exchange
from antiphon.recording.pace import RECORDED, Pace, parse_pace
from antiphon.settings import Provider
from antiphon.wire.errors import ClientFault, UpstreamFault, error_body

# Seconds. Timers are no more exact than this, and must not find that they woke too early.
_EARLY = 0.0005


class Playback:
    """Implements `ports.upstream.Upstream`."""

    def __init__(
        self,
        exchanges: Mapping[str, Exchange],
        *,
        pace: Pace = RECORDED,
        strict: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Answer from `exchanges`; a strict playback answers only the requests that are among them."""
        self._tape = Tape(exchanges)
        self._pace = pace
        self._strict = strict
        self._loop = loop or asyncio.get_running_loop()
        self._playing: set[Performance] = set()

    def models(self) -> tuple[str, ...]:
        """The models that the cassette has answers of."""
        return self._tape.models()

    def dialects(self) -> tuple[str, ...]:
        """The dialects that the cassette has answers in."""
        return self._tape.dialects()

    def send(self, request: UpstreamRequest, sink: AnswerSink) -> "Performance":
        """Start to play the answer to `request`."""
        return Performance(self._answer(request), sink, self._pace, self._loop, self._playing)

    async def close(self) -> None:
        """Stop everything that plays."""
        for performance in list(self._playing):
            performance.cancel()

    def _answer(self, request: UpstreamRequest) -> Recording:
        if request.method == "GET" and request.path == "/models":
            return made_up(200, models_list(self.models()))
        asked = Asked.of(request)
        recording = self._tape.find(asked, strict=self._strict)
        if recording is not None:
            return recording
        return made_up(404, error_body(ClientFault(self._tape.explain_miss(asked), code="no_recording")))


def playback(provider: Provider, *, loop: asyncio.AbstractEventLoop | None = None) -> Playback:
    """Make the upstream of a configured provider. Raises UnreadableCassetteError, or ClientFault for its pace."""
    return Playback(
        read_cassette(provider.cassette or ""),
        pace=parse_pace(provider.pace),
        strict=provider.strict,
        loop=loop,
    )


def made_up(status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Recording:
    """Return an answer that nobody has recorded."""
    recording = Recording("", "", Mode.JSON, "playback", "", 0.0, head=Head(status, headers=headers))
    recording.extend([body], 0)
    recording.outcome = Outcome(State.COMPLETED)
    return recording


def models_list(names: Iterable[str]) -> bytes:
    """Return the body of a list of models."""
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "playback"} for name in names]
    return msgspec.json.encode({"object": "list", "data": models})


class Performance:
    """One answer being played; implements `ports.upstream.Call`."""

    def __init__(
        self,
        recording: Recording,
        sink: AnswerSink,
        pace: Pace,
        loop: asyncio.AbstractEventLoop,
        playing: "set[Performance]",
    ) -> None:
        """Begin to play `recording` into `sink`, after the caller has returned to the loop."""
        self._recording = recording
        self._sink = sink
        self._pace = pace
        self._loop = loop
        self._playing = playing
        self._index = 0
        self._started_at = loop.time()
        self._head_sent = False
        self._paused = False
        self._handle: asyncio.Handle | None = None
        playing.add(self)
        self._schedule()

    def cancel(self) -> None:
        """Stop for good; the sink hears nothing more."""
        self._playing.discard(self)
        self._unschedule()

    def pause(self) -> None:
        """Stop for now; what falls due meanwhile is played at once afterwards."""
        self._paused = True
        self._unschedule()

    def resume(self) -> None:
        """Play on."""
        if self._paused and self in self._playing:
            self._paused = False
            self._schedule()

    @property
    def _goes_on(self) -> bool:
        return not self._paused and self in self._playing

    def _unschedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        if self._handle is not None:
            return
        due = 0.0
        if self._index < len(self._recording.frames):
            due = self._pace.due(self._recording.times, self._index)
        wait = self._started_at + due - self._loop.time()
        if wait > _EARLY:
            self._handle = self._loop.call_later(wait, self._play)
        else:
            self._handle = self._loop.call_soon(self._play)

    def _play(self) -> None:
        self._handle = None
        if not self._head_sent:
            self._head_sent = True
            head = self._recording.head
            if not head.status:
                self._end()  # it broke before there was an answer
                return
            self._sink.head(head.status, ((b"content-type", head.content_type), *head.headers))
        # The sink may pause or cancel from within each call.
        if self._goes_on and (data := self._due_now()):
            self._sink.data(data)
        if self._goes_on:
            if self._index < len(self._recording.frames):
                self._schedule()
            else:
                self._end()

    def _due_now(self) -> bytes:
        frames, times = self._recording.frames, self._recording.times
        if self._pace.is_instant:
            first, self._index = self._index, len(frames)
            return self._recording.body() if first == 0 else b"".join(frames[first:])
        first = self._index
        elapsed = self._loop.time() - self._started_at + _EARLY
        while self._index < len(frames) and self._pace.due(times, self._index) <= elapsed:
            self._index += 1
        return b"".join(frames[first : self._index])

    def _end(self) -> None:
        self._playing.discard(self)
        fault = _break(self._recording)
        if fault is None:
            self._sink.end()
        else:
            self._sink.broken(fault)


def _break(recording: Recording) -> UpstreamFault | None:
    """Return how the recorded answer broke off, if the break was one that HTTP can see."""
    outcome = recording.outcome
    if outcome.state is State.LIVE or outcome.state is State.CANCELLED:
        return UpstreamFault("The recording stops in the middle of the answer.", code="upstream_truncated")
    reason = outcome.reason or ""
    if outcome.state is State.FAILED and reason.startswith("upstream_") and reason != "upstream_error":
        status = 504 if reason.endswith("_timeout") else 503 if reason == "upstream_busy" else None
        return UpstreamFault(f"The recorded answer broke off: {reason}.", code=reason, status=status)
    return None
