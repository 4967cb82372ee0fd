"""Watching an answer that comes whole: its body is judged when it has ended."""

from collections.abc import Callable, Sequence

from antiphon.recording import Outcome, State

Judge = Callable[[bytes], Outcome]


class WholeWatcher:
    """Collects one body and leaves the judgement to its dialect."""

    __slots__ = ("_judge", "_parts")

    failure: str | None = None
    """Not known before the end."""
    ended = False
    """Only the end of the body ends it."""
    response_id: str | None = None
    """Not known before the end."""

    def __init__(self, judge: Judge) -> None:
        """Begin before the body."""
        self._judge = judge
        self._parts: list[bytes] = []

    def feed(self, frames: Sequence[bytes]) -> None:
        """See the body."""
        self._parts.extend(frames)

    def close(self, *, clean: bool) -> Outcome:
        """Judge the body."""
        if not clean:
            return Outcome(State.FAILED, "truncated")
        return self._judge(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
