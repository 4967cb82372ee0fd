"""What holds of every answer that was accepted, whatever died meanwhile: the invariants of runs, checked on what was seen.

A test gathers what it can see of a response from outside, as `Witnessed`, and asks `violations` of it. What was not
looked at is left empty, and is not checked.

    I1  events are numbered 0, 1, 2, … without a gap, and one that was readable never changes
    I2  there is exactly one terminal event, it is the last one, and the status is the one that it tells
    I3  what a client saw is in the log
    I4  after `cancelled` was answered nothing is added
    I5  a worker that has lost its run changes nothing: seen as I1, I2 and I4
    I6  a reader is told N+1, N+2, … after N, and nothing twice
    I7  the epoch never decreases
    I8  the upstream is asked no more often than there are attempts
    I9  a state is never left backwards (that a lost hint costs at most a second is measured elsewhere)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from antiphon.turn.events import TERMINAL
from antiphon.wire.sse import parse_frame

_RANK: Final = {"queued": 0, "in_progress": 1}
_ENDED: Final = 2
_ENDS: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})


@dataclass
class Reading:
    """One connection that followed the response."""

    after: int = -1
    """The number that it was asked with as `starting_after`."""
    frames: list[bytes] = field(default_factory=list)
    """The events as they came, each with its empty line at the end; no comments, no `[DONE]`, nothing cut short."""
    is_whole: bool = False
    """Whether it was ended by `[DONE]`; otherwise the connection broke off."""


@dataclass
class Witnessed:
    """Everything that was seen of one response."""

    response_id: str
    stored: list[bytes]
    """All events in the end: of the log, the recording or a replay from the beginning; without `[DONE]`."""
    final: dict[str, Any] | None
    """The object that GET answers in the end; None if it was deleted."""
    readings: list[Reading] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    """What polls and cancels said, in their order."""
    epochs: list[int] = field(default_factory=list)
    """As they were seen, in their order."""
    cancelled_at: int | None = None
    """The number of the last event that was readable when `cancelled` was answered."""
    upstream_calls: int | None = None
    max_attempts: int | None = None


def violations(seen: Witnessed) -> list[str]:
    """Return what does not hold, each with the invariant that it breaks and the response; empty if all is well."""
    try:
        events = [_read(frame) for frame in seen.stored]
    except ValueError as error:
        return [f"I1 {seen.response_id}: a stored event cannot be read: {error}"]
    found = (
        *_numbers(events),
        *_end(events, seen),
        *_readings(seen),
        *_statuses(seen.statuses, seen.final),
        *_texts(events, seen.final),
        *_counts(seen, len(events) - 1),
    )
    return [f"{problem[:2]} {seen.response_id}:{problem[2:]}" for problem in found]


def frames_of(body: bytes) -> tuple[list[bytes], bool]:
    """Return the events of a stream that was read so far, and whether `[DONE]` came; what is cut short is left out."""
    whole, _, _ = body.rpartition(b"\n\n")
    frames = [frame + b"\n\n" for frame in whole.split(b"\n\n") if frame and not frame.startswith(b":")]
    ended = [frame for frame in frames if b"data: [DONE]" in frame]
    return [frame for frame in frames if b"data: [DONE]" not in frame], bool(ended)


def _read(frame: bytes) -> dict[str, Any]:
    event = parse_frame(frame)
    if event is None:
        raise ValueError(f"no event: {frame[:80]!r}")
    read: dict[str, Any] = msgspec.json.decode(event.data, type=dict[str, Any])
    return read


def _numbers(events: Sequence[dict[str, Any]]) -> Iterator[str]:
    numbers = [event.get("sequence_number") for event in events]
    for place, number in enumerate(numbers):
        if number != place:
            yield f"I1 the event at place {place} has number {number}"
            return
    for kind in ("response.created", "response.in_progress"):
        if sum(event["type"] == kind for event in events) > 1:
            yield f"I1 {kind} is told more than once"


def _end(events: Sequence[dict[str, Any]], seen: Witnessed) -> Iterator[str]:
    places = [place for place, event in enumerate(events) if event["type"] in TERMINAL]
    status = None if seen.final is None else seen.final["status"]
    if len(places) > 1:
        yield f"I2 there are {len(places)} terminal events: {[events[place]['type'] for place in places]}"
    elif not places and status not in {"cancelled", None}:
        yield f"I2 there is no terminal event, and the response is {status}"
    elif places and places[0] != len(events) - 1:
        yield f"I2 the terminal event {places[0]} is followed by {len(events) - 1 - places[0]} more"
    if places and status is not None:
        told = (events[places[0]].get("response") or {}).get("status", TERMINAL[events[places[0]]["type"]])
        if told != status:
            yield f"I2 the terminal event says {told}, the response {status}"
    if status is not None and status not in _ENDS:
        yield f"I2 the response has not ended: {status}"
    if status == "failed" and seen.final is not None and not (seen.final.get("error") or {}).get("code"):
        yield "I2 it has failed, and does not say why"


def _readings(seen: Witnessed) -> Iterator[str]:
    for place, reading in enumerate(seen.readings):
        name = f"reader {place} (after {reading.after})"
        first = reading.after + 1
        expected = seen.stored[first : first + len(reading.frames)]
        if reading.frames != expected:
            at = next(
                (
                    number
                    for number, (got, stored) in enumerate(zip(reading.frames, expected, strict=False), first)
                    if got != stored
                ),
                first + len(expected),
            )
            yield f"{_which(reading, at)} {name} saw another event at {at} than is stored"
        elif reading.is_whole and len(reading.frames) < len(seen.stored) - first:
            yield f"I6 {name} was told the end after {len(reading.frames)} of {len(seen.stored) - first} events"


def _which(reading: Reading, at: int) -> str:
    """Tell whether the reader got an event in the wrong place, or one that is not stored."""
    try:
        number = _read(reading.frames[at - reading.after - 1]).get("sequence_number")
    except ValueError:
        return "I6"
    return "I6" if number != at else "I3"


def _statuses(statuses: Sequence[str], final: dict[str, Any] | None) -> Iterator[str]:
    told = [*statuses, *([final["status"]] if final is not None else [])]
    ends = {status for status in told if status in _ENDS}
    if len(ends) > 1:
        yield f"I2 it has ended in several ways: {sorted(ends)}"
    ranks = [_RANK.get(status, _ENDED) for status in told]
    for before, after, status in zip(ranks, ranks[1:], told[1:], strict=False):
        if after < before:
            yield f"I9 it went back to {status}"
            return


def _texts(events: Sequence[dict[str, Any]], final: dict[str, Any] | None) -> Iterator[str]:
    """What was shown of a text is in the final answer."""
    if final is None:
        return
    shown: dict[tuple[int, int], str] = {}
    for event in events:
        if event["type"] == "response.output_text.delta":
            part = event["output_index"], event["content_index"]
            shown[part] = shown.get(part, "") + event["delta"]
    for (item, part), text in shown.items():
        try:
            kept = final["output"][item]["content"][part]["text"]
        except (LookupError, TypeError):
            kept = None
        if kept != text:
            yield f"I3 {len(text)} characters were told, and {kept and len(kept)} are kept"


def _counts(seen: Witnessed, last: int) -> Iterator[str]:
    if seen.cancelled_at is not None and last > seen.cancelled_at:
        yield f"I4 {last - seen.cancelled_at} events came after it was cancelled"
    if any(after < before for before, after in zip(seen.epochs, seen.epochs[1:], strict=False)):
        yield f"I7 the epoch went down: {seen.epochs}"
    calls, most = seen.upstream_calls, seen.max_attempts
    if calls is not None and most is not None and calls > most:
        yield f"I8 the upstream was asked {calls} times in {most} attempts"
