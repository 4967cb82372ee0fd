"""What anthropic-sdk-python assembles from a stream, made comparable, and where it is known to leave something out."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import httpx2
from anthropic._models import construct_type_unchecked
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types.beta import BetaRawMessageStreamEvent

from antiphon.wire.sse import parse_frame
from official_library import frames_of


def messages_in(body: bytes) -> list[bytes]:
    """Cut a recording into its answers: some recorders have put several into one file."""
    answers: list[list[bytes]] = [[]]
    for frame in frames_of(body):
        answers[-1].append(frame)
        if frame.startswith(b"event: message_stop"):
            answers.append([])
    return [b"".join(answer) for answer in answers if answer]


def events_of(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """Read the events that the library hands to its users."""
    parsed = [parse_frame(frame) for frame in frames]
    return [json.loads(event.data) for event in parsed if event and event.type not in {"", "ping"}]


def assembled(frames: Sequence[bytes]) -> Any:
    """Assemble a message as the library does."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for event in events_of(frames):
            snapshot = accumulate_event(
                event=construct_type_unchecked(type_=BetaRawMessageStreamEvent, value=event),
                current_snapshot=snapshot,
                json_bufs=buffers,
                request_headers=httpx2.Headers(),
            )
        return json.loads(snapshot.to_json())


def comparable(value: Any) -> Any:
    """Leave out what is null: the library says so of members that an upstream has not mentioned."""
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items() if each is not None}
    return [comparable(each) for each in value] if isinstance(value, list) else value
