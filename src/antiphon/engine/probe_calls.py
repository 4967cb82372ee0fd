"""One call of a probe: sent, collected within bounds, and timed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from antiphon.dialects.probe_reading import Reading
from antiphon.engine.error_answers import redact
from antiphon.ports.upstream import Upstream, UpstreamRequest
from antiphon.recording import Outcome
from antiphon.wire.errors import UpstreamFault

_LARGEST_BYTES = 8 * 1024 * 1024
_OK = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Times are seconds since the call was sent."""

    status: int
    """0: no answer began."""
    content_type: bytes
    location: str
    """Where a redirect leads."""
    body: bytes
    """Whole, with our keys blanked out; a streamed answer is in `outcome` instead."""
    seconds: float
    fault: UpstreamFault | None = None
    outcome: Outcome | None = None
    """How a streamed answer ended."""
    first_text_seconds: float | None = None
    frames: int = 0
    is_too_large: bool = False


class Calls:
    """Sends requests, and keeps what must not be shown out of the answers."""

    def __init__(self, secrets: Sequence[bytes], clock: Callable[[], float]) -> None:
        """Blank out `secrets`; `clock` gives seconds."""
        self._secrets = secrets
        self._clock = clock

    async def send(
        self, upstream: Upstream, request: UpstreamRequest, reading: Reading | None = None
    ) -> Reply:
        """Send a request and wait until its answer has ended; the driver's timeouts bound the wait."""
        heard = _Heard(self._clock, reading)
        under_way = upstream.send(request, heard)
        try:
            await heard.over.wait()
        finally:
            under_way.cancel()
        return heard.reply(self._secrets)


class _Heard:
    """A sink that keeps a bounded body, or feeds a reading."""

    def __init__(self, clock: Callable[[], float], reading: Reading | None) -> None:
        self.over = asyncio.Event()
        self._clock = clock
        self._reading = reading
        self._began_at = clock()
        self._ended_at = self._began_at
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = False
        self._fault: UpstreamFault | None = None

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._status = status
        self._headers = dict(headers)

    def data(self, data: bytes) -> None:
        if self.over.is_set():
            return
        self._size += len(data)
        if self._size > _LARGEST_BYTES:
            self._stop()
            return
        self._parts.append(data)
        reading = self._streamed
        if reading is not None:
            reading.feed(data, self._clock())
            if reading.is_over:
                self._is_whole = True
                self._stop()

    def end(self) -> None:
        self._is_whole = True
        self._stop()

    def broken(self, fault: UpstreamFault) -> None:
        self._fault = fault
        self._stop()

    @property
    def _streamed(self) -> Reading | None:
        return self._reading if self._status == _OK else None

    def _stop(self) -> None:
        if not self.over.is_set():
            self._ended_at = self._clock()
            self.over.set()

    def reply(self, secrets: Sequence[bytes]) -> Reply:
        reading = self._streamed
        outcome = reading.close(self._ended_at, clean=self._is_whole) if reading else None
        first = reading.first_text_at if reading else None
        return Reply(
            status=self._status,
            content_type=self._headers.get(b"content-type", b"").strip().lower(),
            location=redact(self._headers.get(b"location", b""), secrets).decode("latin-1"),
            body=redact(b"".join(self._parts), secrets),
            seconds=self._ended_at - self._began_at,
            fault=self._fault,
            outcome=outcome,
            first_text_seconds=None if first is None else first - self._began_at,
            frames=reading.frames if reading else 0,
            is_too_large=self._size > _LARGEST_BYTES,
        )
