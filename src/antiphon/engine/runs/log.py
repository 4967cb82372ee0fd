"""The log of a run as far as this process knows it: only events that are committed, and in their order."""

from collections.abc import Sequence
from typing import Protocol

from antiphon.ports.runs import ENDED, Page
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.objects import read_object
from antiphon.wire.sse import parse_frame


class LogListener(Protocol):
    """Who wants to know of more."""

    def on_grown(self) -> None:
        """There are more events, or the run has ended."""

    def on_silence(self) -> None:
        """Some time has passed."""

    def on_cut(self) -> None:
        """Nothing more comes from this process, though the run goes on."""


class RunLog:
    """Events from number 0 on. Whoever learns of more, the worker here or a look into storage, lets it grow."""

    def __init__(self, run_id: str, status: str) -> None:
        """Know nothing of the run yet but its status."""
        self.run_id = run_id
        self.status = status
        self.epoch = -1
        """In which the events were read; what was not promised may be taken back in a later one."""
        self.frames: list[bytes] = []
        self.times: list[int] = []
        self.listeners: list[LogListener] = []
        self._snapshot = Snapshot()
        self._folded = 0

    @property
    def has_ended(self) -> bool:
        """Whether no more will come."""
        return self.status in ENDED

    def grow(self, first: int, frames: Sequence[bytes], times: Sequence[int], status: str) -> None:
        """Take the committed events from number `first` on, of which some may be known."""
        known = len(self.frames) - first
        if known < 0:
            return  # something is missing in between: whoever looks next finds it
        self.frames.extend(frames[known:])
        self.times.extend(times[known:])
        if not self.has_ended:
            self.status = status
        for listener in tuple(self.listeners):
            listener.on_grown()

    def take(self, page: Page) -> None:
        """Take what was read of the run; one of an earlier epoch than was known is of no use."""
        state = page.state
        assert state is not None
        first = state.last_seq + 1 - len(page.frames)
        if state.epoch < self.epoch or (state.epoch > self.epoch and first > 0 and self.frames):
            return
        if state.epoch > self.epoch:
            self.epoch = state.epoch
            self._forget()
        self.grow(first, page.frames, page.times, state.status)

    def replace(self, frames: Sequence[bytes], times: Sequence[int], status: str) -> None:
        """Take the whole log of a run that has ended."""
        self._forget()
        self.grow(0, frames, times, status)

    def _forget(self) -> None:
        """Forget what may have been taken back; whatever somebody was shown comes again as it was."""
        del self.frames[:], self.times[:]
        self._snapshot, self._folded = Snapshot(), 0

    def snapshot(self) -> Snapshot:
        """Return the response as the events tell it."""
        feed(self._snapshot, self.frames[self._folded :])
        self._folded = len(self.frames)
        return self._snapshot


def feed(snapshot: Snapshot, frames: Sequence[bytes | str]) -> None:
    """Let a snapshot see frames; `[DONE]` says nothing."""
    for frame in frames:
        event = parse_frame(frame.encode() if isinstance(frame, str) else frame)
        if event is not None and event.data.startswith(b"{"):
            snapshot.feed(read_object(event.data))
