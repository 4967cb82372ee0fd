"""What an answer has brought: the items of its output, as the bytes that stand in its recording."""

from collections.abc import Sequence

import msgspec

from antiphon.dialects.responses.dialect import items_done
from antiphon.dialects.responses.frames import RESPONSE_KEY, events_with
from antiphon.recording.recording import Mode, Recording
from antiphon.turn.chain import Items
from antiphon.turn.events import TERMINAL

_UNREADABLE = (ValueError, RecursionError)


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


def output_of_recording(recording: Recording) -> Items:
    """Return the items of a recording of the Responses API; none where it cannot be read."""
    if recording.mode is Mode.STREAM:
        return output_of_frames(recording.frames)
    return _output_of(recording.body())


def output_of_frames(frames: Sequence[bytes]) -> Items:
    """Return the items of a stream that has ended; none where it cannot be read."""
    for frame in reversed(frames):  # the terminal event is among the last
        for data in events_with([frame], RESPONSE_KEY):
            if data.type in TERMINAL:
                # Some upstreams leave the output of the last event empty although items were streamed.
                return _output_of(bytes(data.response)) or tuple(items_done(frames))
    return ()


def _output_of(body: bytes) -> Items:
    try:
        return tuple(map(bytes, msgspec.json.decode(body, type=_Output).output))
    except _UNREADABLE:
        return ()
