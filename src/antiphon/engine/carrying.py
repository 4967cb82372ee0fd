"""Answers that their upstream carries in its own background mode: they go on whoever listens, and can be listened to again.

asking --stream begins--> attached --terminal event--> over
  |                         |   ^
  | refused, broken      cut off  again, from the event after the last one
  v                         v   |
 over                     waiting --refused, or in vain too often--> polling --it has ended--> over
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.responses.frames import number_of, read_event
from antiphon.engine.asking import ask
from antiphon.engine.carriage import Carriage
from antiphon.engine.live import LiveRecording, mode_of
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.ports.runs import Carried
from antiphon.ports.upstream import Call, UpstreamRequest
from antiphon.recording import Mode
from antiphon.turn.events import LIFECYCLE, TERMINAL
from antiphon.turn.rest import rest_of
from antiphon.wire.errors import UpstreamFault
from antiphon.wire.json import read_members, write_members
from antiphon.wire.objects import read_object, write_object
from antiphon.wire.sse import FrameReader, FrameTooLargeError, parse_frame, write_frame

_OK: Final = 200
_GONE: Final = 400
_BUSY: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_ATTEMPTS: Final = 3
"""To listen again, without hearing anything new, before the upstream is polled."""
_PAUSE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 30.0
_CANCEL_SECONDS: Final = 5.0
_POLLED: Final = 2**53 - 1
"""The number of events that are made of a polled answer: with it nothing is heard twice of one that is listened to."""


def in_background(body: bytes) -> bytes:
    """Return the body of a request, changed so that the upstream carries its answer."""
    members = {**read_members(body), "background": b"true", "store": b"true", "stream": b"true"}
    return write_members(members)


class Carrier:
    """Hears one answer for a recording, over as many connections as it takes; a `Call`, and the sink of each."""

    def __init__(self, live: LiveRecording, source: Source, carriage: Carriage, tasks: Tasks) -> None:
        """Let `live` have what `source` tells."""
        self._live = live
        self._source = source
        self._carriage = carriage
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._reader: FrameReader | None = None
        self._is_attached = carriage.at is not None
        """Whether it was asked for, so that it goes on if nobody hears it."""
        self._last = -1 if carriage.at is None else carriage.at.last_seq
        self._failures = 0
        self._has_head = False
        self._is_paused = False
        self._is_over = False

    def begin(self, request: UpstreamRequest) -> None:
        """Ask with `request`, or listen to what was asked for already."""
        self._live.started(self)
        if self._is_attached:
            self._go_on()
        else:
            self._call = self._source.upstream.send(request, self)

    # The call.

    def cancel(self) -> None:
        """Listen no more; the upstream goes on."""
        self._is_over = True
        self._hang_up()
        if self._task is not None:
            self._task.cancel()

    def pause(self) -> None:
        """Read no more for now."""
        self._is_paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._call is not None:
            self._call.resume()

    # The sink.

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See whether there is something to listen to."""
        is_stream = status == _OK and mode_of(dict(headers).get(b"content-type", b"")) is Mode.STREAM
        if is_stream:
            self._reader = FrameReader(self._source.settings.max_frame_bytes)
            if not self._has_head:
                self._has_head = True
                self._live.head(status, headers)
        elif not self._is_attached:
            self._live.head(status, headers)
        else:
            self._hang_up()
            if _GONE <= status < _SERVER_ERROR and status not in _BUSY:
                self._failures = _ATTEMPTS  # it cannot be listened to, now or later
            self._go_on()

    def data(self, data: bytes) -> None:
        """Hear more."""
        if self._reader is None:
            if not self._is_attached:
                self._live.data(data)
            return
        try:
            frames = self._reader.feed(data)
        except FrameTooLargeError as error:
            self._hang_up()
            self._break(UpstreamFault(f"The upstream sent {error}.", code="upstream_frame_too_large"))
            return
        if frames:
            self._hear(frames)

    def end(self) -> None:
        """The connection is over; with the answer, or without."""
        self._call = None
        if self._is_attached:
            self._go_on()
        else:
            self._is_over = True
            self._live.end()

    def broken(self, fault: UpstreamFault) -> None:
        """The connection has broken."""
        self._call = None
        if self._is_attached:
            self._go_on()
        else:
            self._break(fault)

    # Hearing.

    def _hear(self, frames: list[bytes]) -> None:
        last, has_ended = self._last, False
        for frame in frames:
            number = number_of(frame)
            last = last if number is None else max(last, number)
            event = parse_frame(frame)
            if event is None or not event.data.startswith(b"{"):
                continue
            if not self._is_attached:
                self._attach(read_event(event).response)
            has_ended = has_ended or event.type in TERMINAL or read_event(event).type in TERMINAL
        if last > self._last:
            self._last, self._failures = last, 0
        self._live.frames(frames)
        if has_ended and not self._is_over:
            self._is_over = True
            self._hang_up()
            self._live.end()

    def _attach(self, response: msgspec.Raw) -> None:
        """Know from now on under which id the answer goes on."""
        told = read_object(bytes(response) or b"{}").get("id")
        if isinstance(told, str) and told:
            self._carriage.at = Carried(self._source.name, told, -1)
            self._is_attached = True

    def _listen(self) -> None:
        self._reader = None
        after = "" if self._last < 0 else f"&starting_after={self._last}"
        self._call = self._source.upstream.send(self._request(f"?stream=true{after}", stream=True), self)
        if self._is_paused:
            self._call.pause()

    def _go_on(self) -> None:
        """Listen again, or ask from time to time, if the answer has not come to its end."""
        self._call = None
        if not self._is_over and (self._task is None or self._task.done()):
            self._task = self._tasks.start(self._wait(), "listen to an upstream again")

    async def _wait(self) -> None:
        if self._failures >= _ATTEMPTS or (self._last < 0 and self._has_told):
            await self._poll()
            return
        await asyncio.sleep(_PAUSE_SECONDS * self._failures)
        self._failures += 1
        self._task = None
        self._listen()

    @property
    def _has_told(self) -> bool:
        """Whether something of the answer was told: then, without a number, it would be heard twice."""
        return any(_read_frame(frame).get("type") not in LIFECYCLE for frame in self._told)

    @property
    def _told(self) -> Sequence[bytes]:
        return (*self._carriage.told, *self._live.recording.frames)

    async def _poll(self) -> None:
        """Ask from time to time whether the answer has ended, and then tell the rest of it."""
        while True:
            try:
                body = await ask(self._source.upstream, self._request(""), within=_ANSWER_SECONDS)
            except (UpstreamFault, TimeoutError):
                body = None
            if body is not None and body.status == _OK:
                response = _read(body.data)
                if response.get("status") not in {"queued", "in_progress"}:
                    self._tell_rest(response)
                    return
            elif body is not None and _GONE <= body.status < _SERVER_ERROR and body.status not in _BUSY:
                self._break(UpstreamFault("The upstream no longer has the answer.", code="upstream_error"))
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _tell_rest(self, response: dict[str, Any]) -> None:
        told = map(_read_frame, self._told)
        try:
            events = rest_of(response, told)
        except ValueError as error:
            self._break(UpstreamFault(f"The answer cannot be continued: {error}.", code="upstream_error"))
            return
        if not self._has_head:
            self._has_head = True
            self._live.head(_OK, ((b"content-type", b"text/event-stream"),))
        frames = [
            write_frame(write_object(event | {"sequence_number": _POLLED}), event["type"]) for event in events
        ]
        self._is_over = True
        self._live.frames(frames)
        self._live.end()

    def _break(self, fault: UpstreamFault) -> None:
        self._is_over = True
        self._live.broken(fault)

    def _hang_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _request(self, query: str, *, stream: bool = False) -> UpstreamRequest:
        assert self._carriage.at is not None
        path = _path(self._source, self._carriage.at)
        return UpstreamRequest("responses", path + query, stream=stream, method="GET")


async def cancel_carried(source: Source, carried: Carried) -> bool:
    """Let the upstream stop; False if it has not heard it."""
    request = UpstreamRequest("responses", _path(source, carried) + "/cancel", body=b"{}")
    try:
        body = await ask(source.upstream, request, within=_CANCEL_SECONDS)
    except (UpstreamFault, TimeoutError):
        return False
    return body.status < _SERVER_ERROR and body.status not in _BUSY


def _path(source: Source, carried: Carried) -> str:
    return f"{source.profile.native_prefix}/responses/{carried.response_id}"


def _read(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except ValueError:
        return {"status": "in_progress"}


def _read_frame(frame: bytes) -> dict[str, Any]:
    event = parse_frame(frame)
    return {} if event is None or not event.data.startswith(b"{") else read_object(event.data)
