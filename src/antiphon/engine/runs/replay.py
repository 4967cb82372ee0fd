"""A kept response streamed again: the events from some number on, a slice at a time and as fast as the client reads."""

import asyncio
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.frames import is_event, number_of
from antiphon.engine.rendition import STREAM_HEADERS, render
from antiphon.engine.turn import Asked
from antiphon.ports.reply import Reply
from antiphon.ports.stores import KeptResponse
from antiphon.recording import Mode
from antiphon.wire.sse import DONE, FrameReader

_SLICE_FRAMES: Final = 256
_SLICE_BYTES: Final = 64 * 1024


class KeptReplay:
    """Writes the events of a kept response to a reply; the watcher of that reply."""

    def __init__(
        self,
        kept: KeptResponse,
        after: int,
        reply: Reply,
        request_id: bytes,
        change: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Tell the events after number `after`; `change` is made to each."""
        rendition = render(kept.recording, RESPONSES, Asked(Mode.STREAM))
        whole = rendition.fill(kept.id.encode(), kept.created_at, kept.echoed)
        self._frames = _events(whole, after)
        self._reply = reply
        self._change = change
        self._is_over = False
        self._turn: asyncio.Handle | None = None
        reply.watch(self)
        reply.start(200, (*STREAM_HEADERS, (b"x-request-id", request_id)))
        self._go_on()

    def on_writable(self) -> None:
        """Go on where the client's slowness had stopped us."""
        if self._turn is None:
            self._go_on()

    def on_sent(self) -> None:
        """The client has it all."""

    def on_gone(self) -> None:
        """The client has left."""
        self._is_over = True
        if self._turn is not None:
            self._turn.cancel()

    def _go_on(self) -> None:
        """Write a slice; others have their turn before the next one."""
        self._turn = None
        if self._is_over or self._reply.congested:
            return
        frames = list(islice(self._frames, _SLICE_FRAMES))
        self._reply.write(b"".join(frames if self._change is None else map(self._change, frames)))
        if len(frames) < _SLICE_FRAMES:
            self._is_over = True
            self._reply.write(DONE)
            self._reply.end()
        elif not self._reply.congested:
            self._turn = asyncio.get_running_loop().call_soon(self._go_on)


def _events(whole: bytes, after: int) -> Iterator[bytes]:
    """Yield the events after the number `after`; where an upstream has not numbered them, they are counted."""
    start = _place_of(whole, after + 1)
    events = filter(is_event, _frames(whole, start))
    if after >= 0 and not start:
        for place, frame in enumerate(events):
            number = number_of(frame)
            if (place if number is None else number) > after:
                yield frame
                break
    yield from events


def _place_of(whole: bytes, number: int) -> int:
    """Return where the frame of the event `number` begins; 0 if that has to be looked for frame by frame."""
    found = re.search(rb'"sequence_number": ?%d[,}]' % number, whole)
    start = 0 if found is None else whole.rfind(b"\n\n", 0, found.start()) + 2
    end = whole.find(b"\n\n", start) + 2
    if found is None or start < 2 or end < 2 or b"\r" in whole[start:end]:
        return 0
    return start if number_of(whole[start:end]) == number else 0


def _frames(whole: bytes, first: int) -> Iterator[bytes]:
    reader = FrameReader(len(whole) + 1)
    for start in range(first, len(whole), _SLICE_BYTES):
        yield from reader.feed(whole[start : start + _SLICE_BYTES])
    yield reader.close()
