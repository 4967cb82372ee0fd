"""The events of an Anthropic Messages stream: read one by one, and written as Anthropic writes them."""

from collections.abc import Iterator, Sequence
from typing import Any

from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import JsonObject, read_object, write_object
from antiphon.wire.sse import parse_frame, write_frame

MESSAGE_START = "message_start"
BLOCK_START = "content_block_start"
BLOCK_DELTA = "content_block_delta"
BLOCK_STOP = "content_block_stop"
MESSAGE_DELTA = "message_delta"
MESSAGE_STOP = "message_stop"
ERROR = "error"


def read_events(frames: Sequence[bytes]) -> Iterator[JsonObject]:
    """Parse the events of a stream up to its `message_stop`, without pings. Raises UpstreamFault."""
    for frame in frames:
        event = parse_frame(frame)
        data = event.data.strip() if event else b""
        if not data:
            continue
        try:
            told = read_object(data)
        except ValueError as fault:
            raise UpstreamFault(
                "The upstream's stream holds an event that is not JSON.", code="invalid_json"
            ) from fault
        if told.get("type") != "ping":
            yield told
        if told.get("type") == MESSAGE_STOP:
            return


def write_event(kind: str, **members: Any) -> bytes:
    """Write one event; its `event:` line is its type, without which Anthropic's clients skip it."""
    return write_frame(write_object({"type": kind, **members}), kind)
