"""What an answer has brought: the items of its output, as the bytes that stand in its recording."""

from collections.abc import Sequence

import msgspec

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.recording.recording import Mode, Recording
from antiphon.turn.chain import Items

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
    try:
        return _output_of(RESPONSES.fold(frames))
    except _UNREADABLE:
        return ()


def _output_of(body: bytes) -> Items:
    try:
        return tuple(map(bytes, msgspec.json.decode(body, type=_Output).output))
    except _UNREADABLE:
        return ()
