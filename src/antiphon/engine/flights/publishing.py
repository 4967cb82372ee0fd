"""Telling a live recording to followers in other processes: one more listener of it, which no client waits for."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.engine.live import LiveRecording
from antiphon.ports.flights import Claim, Flights
from antiphon.recording import Mode, State
from antiphon.recording.telling import Over, Part, opening_of, write_piece
from antiphon.wire.errors import StoreFault, UpstreamFault

LEASE_SECONDS: Final = 3.0
"""How long a leader that says nothing is waited for."""
_BATCH_BYTES: Final = 256 * 1024
_MOST_PIECES: Final = 8
_RETRY_SECONDS: Final = 0.1


def new_epoch() -> str:
    """Name an epoch that nobody else names so."""
    return secrets.token_hex(8)


def may_be_told(live: LiveRecording) -> bool:
    """Whether others may have what this answer has come to: not a reason that is only ours."""
    is_ours = live.fault is not None and not isinstance(live.fault, UpstreamFault)
    return live.recording.outcome.state is not State.CANCELLED and not is_ours


class Publisher:
    """Tells all of a recording, from the beginning to its end; a `Listener` for as long as it is live.

    It holds nothing but its position. The place that it tells it in may be slow: then frames gather to larger pieces.
    """

    def __init__(
        self,
        live: LiveRecording,
        claim: Claim,
        place: Flights,
        *,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        """Tell up to `max_bytes` in the epoch of `claim`."""
        self.claim = claim
        """Those who come after the end find the flight in an epoch of its own."""
        self.consumed = 0
        self._live = live
        self._place = place
        self._max_bytes = max_bytes
        self._clock = clock
        self._position = 0
        """Of the frames; in a body, of its bytes."""
        self._told = 0
        """Pieces."""
        self._wanted = asyncio.Event()
        self.attend()

    # The recording.

    def on_frames(self) -> bool:
        """There is more to tell."""
        self._wanted.set()
        return self._position == len(self._live.recording.frames)

    def on_silence(self) -> None:
        """The lease says that the answer goes on."""

    def on_end(self) -> None:
        """There is only the end to be told."""
        self._wanted.set()

    def attend(self) -> None:
        """Listen: somebody follows."""
        if self._live.recording.is_live and self not in self._live.listeners:
            self._live.attach(self)
        self._wanted.set()

    def leave(self) -> None:
        """Listen no more; if nobody else does, the upstream is closed."""
        if self in self._live.listeners:
            self._live.detach(self)

    # Telling.

    async def run(self) -> bool:
        """Tell everything; False if others must not hear the end, or cannot."""
        while True:
            ended = not self._live.recording.is_live
            if ended and not may_be_told(self._live):
                return False
            pieces, is_all = self._gather(ended=ended)
            if pieces and not await self._append(pieces, new_epoch() if is_all else None):
                return False
            if is_all:
                return True
            if self._live.recording.is_live:
                self._live.caught_up()
            if not pieces:
                await self._wanted.wait()
                self._wanted.clear()

    def _gather(self, *, ended: bool) -> tuple[list[bytes], bool]:
        """Return what is to be told next, and whether that is all."""
        live = self._live
        recording = live.recording
        if not ended and not recording.frames:
            return [], False  # the head may change until there is a frame
        pieces: list[bytes] = []
        if self._told == 0:
            elapsed = int(live.elapsed * 1e6)
            pieces.append(write_piece(opening_of(recording, live.echo, elapsed)))
        more = True
        while more and len(pieces) < _MOST_PIECES:
            # An error is a body, whatever was asked for.
            is_stream = recording.mode is Mode.STREAM and live.error_answer is None
            part = self._stream_part() if is_stream else self._body_part(ended=ended)
            more = part is not None
            if part is not None:
                pieces.append(write_piece(part))
        if more or not ended:
            return pieces, False
        fault = live.fault
        told = None if fault is None else (fault.message, fault.code, fault.status)
        if recording.mode is Mode.JSON and recording.frames:
            told = None  # the body itself tells it
        return [*pieces, write_piece(Over(told, live.stored))], True

    def _stream_part(self) -> Part | None:
        recording, start = self._live.recording, self._position
        size, end = 0, start
        frames = recording.frames
        while end < len(frames) and (end == start or size + len(frames[end]) <= _BATCH_BYTES):
            size += len(frames[end])
            end += 1
        if end == start:
            return None
        self._position = end
        self.consumed += size
        return Part(frames[start:end], recording.times[start:end])

    def _body_part(self, *, ended: bool) -> Part | None:
        if not ended:
            return None
        live, start = self._live, self._position
        body = live.recording.body() if live.error_answer is None else live.error_answer.body
        if start >= len(body):
            return None
        part = body[start : start + _BATCH_BYTES]
        self._position += len(part)
        self.consumed += len(part)
        return Part([part])

    async def _append(self, pieces: Sequence[bytes], next_epoch: str | None) -> bool:
        if self.consumed > self._max_bytes:
            return False
        give_up_at = self._clock() + LEASE_SECONDS
        while True:
            try:
                is_mine = await self._place.append(self.claim, self._told, pieces, LEASE_SECONDS, next_epoch)
                break
            except StoreFault:
                if self._clock() >= give_up_at:
                    return False
            await asyncio.sleep(_RETRY_SECONDS)
        self._told += len(pieces)
        if next_epoch is not None:
            self.claim = Claim(self.claim.flight, next_epoch)
        return is_mine
