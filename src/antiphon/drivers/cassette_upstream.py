"""An upstream whose exchanges are recorded, or played from a cassette.

It stands where bytes leave the gateway and come back, so that native and translated requests, answers, errors and
broken streams are all recorded as they were, and played to the same gateway again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from antiphon.dialects.providers import HOSTS
from antiphon.drivers.answer_frames import AnswerFrames
from antiphon.drivers.deck import Deck, NotRecordedError
from antiphon.drivers.outcomes import outcome_of
from antiphon.drivers.planned_faults import FaultySink
from antiphon.drivers.playback import Performance, made_up, models_list
from antiphon.drivers.tape import Asked, body_of, model_of
from antiphon.ports.upstream import AnswerSink, Call, Upstream, UpstreamRequest
from antiphon.recording import Head, Recording
from antiphon.recording.cassette import Exchange
from antiphon.recording.faults import Kind
from antiphon.recording.pace import INSTANT
from antiphon.settings import Provider
from antiphon.wire.errors import ClientFault, UpstreamFault, error_body

_FINISH_SECONDS: Final = 5.0
_KEPT_HEADERS: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})
"""Those that change what a client does; request ids and rate limits would only differ from run to run."""


class CassetteUpstream:
    """Implements `ports.upstream.Upstream` with a cassette and perhaps another upstream."""

    def __init__(self, name: str, provider: Provider, deck: Deck, make: Callable[[], Upstream]) -> None:
        """Play or record what is asked of a provider; `make` is not called where nobody is to be asked."""
        self._name = name
        self._type = provider.type
        host = urlsplit(provider.base_url or "").hostname or ""
        self._host = host if host in HOSTS else ""
        self._deck = deck
        self._upstream = None if deck.is_offline else make()
        self._loop = asyncio.get_running_loop()
        self._playing: set[Performance] = set()
        self._failing: set[_Recorder] = set()
        """Whose listeners hear of a planned fault, while the answer is recorded to its end."""

    def send(self, request: UpstreamRequest, sink: AnswerSink) -> Call:
        """Start to play the answer to `request`, or to ask for it."""
        if request.dialect == "models":
            # The gateway's own question, whose answer would only differ from run to run.
            if self._upstream is not None:
                return self._upstream.send(request, sink)
            return self._play(made_up(200, models_list(self._deck.models())), sink)
        fault = self._deck.fault()
        if fault is not None and fault.kind is Kind.STATUS:
            return self._play(made_up(fault.status, fault.body(), fault.headers()), sink, is_answer=False)
        faulty = None if fault is None else FaultySink(sink, fault)
        sink = faulty or sink
        asked = Asked.of(request)
        try:
            recorded = self._deck.take(asked, fails=faulty is not None)
        except NotRecordedError as miss:
            fault_told = ClientFault(
                str(miss), code="no_recording", param="model" if not asked.model else None
            )
            return self._play(made_up(404, error_body(fault_told)), sink, is_answer=False)
        if recorded is not None:
            return self._play(recorded, sink)
        assert self._upstream is not None
        order = self._deck.begin(asked, fails=faulty is not None)
        recorder = _Recorder(self, order, request, asked, body_of(request), sink)
        if faulty is not None:
            self._failing.add(recorder)
        call = self._upstream.send(request, recorder)
        return _RecordedCall(call, recorder, faulty)

    async def close(self) -> None:
        """Close all connections, and stop everything that plays."""
        for performance in list(self._playing):
            performance.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                for recorder in list(self._failing):
                    await recorder.over.wait()
        if self._upstream is not None:
            await self._upstream.close()

    def _play(self, recording: Recording, sink: AnswerSink, *, is_answer: bool = True) -> Performance:
        pace = self._deck.pace if is_answer else INSTANT
        return Performance(recording, sink, pace, self._loop, self._playing)


class _Recorder:
    """Implements `ports.upstream.AnswerSink`: what comes is passed on, and written when it is over."""

    def __init__(
        self,
        source: CassetteUpstream,
        order: int,
        request: UpstreamRequest,
        asked: Asked,
        body: object,
        sink: AnswerSink,
    ) -> None:
        self._deck = source._deck
        self._failing = source._failing
        self._sink = sink
        self._clock = source._loop.time
        self._sent_at = self._clock()
        self._order = order
        self._frames: AnswerFrames | None = None
        self.over = asyncio.Event()
        self._recording = Recording(
            id="",
            dialect=request.dialect,
            mode=asked.mode,
            provider=source._name,
            model=asked.model or model_of(body, request.path) or "",
            started_at=time.time(),
            head=Head(0),
        )
        self._exchange = Exchange(
            request.path, body, self._recording, request.method, source._type, source._host
        )

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        content_type = dict(headers).get(b"content-type", b"application/json")
        kept = tuple(header for header in headers if header[0] in _KEPT_HEADERS)
        self._recording.head = Head(status, content_type, kept)
        self._frames = AnswerFrames(content_type, status)
        self._recording.mode = self._frames.mode
        self._sink.head(status, headers)

    def data(self, data: bytes) -> None:
        assert self._frames is not None
        if frames := self._frames.feed(data):
            self._recording.extend(frames, self._elapsed())
        self._sink.data(data)

    def end(self) -> None:
        self._finish(None, clean=True)
        self._sink.end()

    def broken(self, fault: UpstreamFault) -> None:
        self._finish(fault, clean=False)
        self._sink.broken(fault)

    def cancelled(self) -> None:
        """The gateway wants no more, which is no fault where the last event had come."""
        self._failing.discard(self)
        if self._recording.head.status:
            self._finish(None, clean=False)

    def _elapsed(self) -> int:
        return int((self._clock() - self._sent_at) * 1e6)

    def _finish(self, fault: UpstreamFault | None, *, clean: bool) -> None:
        if self.over.is_set():
            return
        self.over.set()
        self._failing.discard(self)
        recording = self._recording
        rest = self._frames.close() if self._frames is not None else b""
        if rest:
            recording.extend([rest], self._elapsed())
        recording.ended_at = time.time()
        recording.outcome = outcome_of(recording, fault, clean=clean)
        self._deck.write(self._order, self._exchange)


class _RecordedCall:
    """Implements `ports.upstream.Call`."""

    def __init__(self, call: Call, recorder: _Recorder, faulty: FaultySink | None) -> None:
        self._call = call
        self._recorder = recorder
        self._faulty = faulty
        self.pause = call.pause
        self.resume = call.resume

    def cancel(self) -> None:
        if self._faulty is not None and self._faulty.has_failed:
            return  # the fault is not the upstream's: its answer is recorded to the end
        self._recorder.cancelled()
        self._call.cancel()
