"""Settling a run that has ended: its log becomes a recording among the kept responses."""

from collections.abc import Sequence

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.watch import StreamWatcher
from antiphon.engine.rendition import STREAM_HEADERS, render
from antiphon.engine.runs.log import feed
from antiphon.engine.turn import Asked
from antiphon.ports.stores import KeptResponse
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.events import Item
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.objects import write_object


def settled(
    run_id: str,
    owner: str,
    frames: Sequence[bytes],
    times: Sequence[int],
    *,
    status: str,
    created_at: float,
    ended_at: float,
    expires_at: float,
) -> KeptResponse:
    """Return the answer of an ended run as it is kept."""
    watcher = StreamWatcher()
    watcher.feed(frames)
    outcome = watcher.close(clean=True)
    if status == "cancelled":
        outcome = Outcome(State.CANCELLED, "cancelled", outcome.usage, run_id, outcome.model)
    recording = Recording(
        id=run_id,
        dialect=RESPONSES.name,
        mode=Mode.STREAM,
        provider="",
        model=outcome.model or "",
        started_at=created_at,
        head=Head(200, STREAM_HEADERS[0][1]),
        frames=[*frames],
        times=[*times],
        size=sum(map(len, frames)),
        outcome=outcome,
        ended_at=ended_at,
    )
    return KeptResponse(run_id, owner, recording, None, {}, expires_at)


def body_of(kept: KeptResponse) -> bytes:
    """Return a kept response as JSON."""
    if kept.recording.outcome.state is State.CANCELLED:
        snapshot = Snapshot()
        feed(snapshot, kept.recording.frames)
        return write_object(cancelled(snapshot))
    rendition = render(kept.recording, RESPONSES, Asked(Mode.JSON))
    return rendition.fill(kept.id.encode(), kept.created_at, kept.echoed)


def cancelled(snapshot: Snapshot) -> Item:
    """Return the response of a run that was cancelled, with what there is of its output (specification, 2.4)."""
    return (snapshot.response or {}) | {"status": "cancelled", "completed_at": None}
