"""JSON objects of unknown shape: fast where msgspec takes them, patient where upstreams write what it refuses.

What it refuses and some send is half of a surrogate pair: an emoji that was cut between two chunks. The
standard library reads the halves, and writes them so that they join again.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.wire.errors import UpstreamFault
from antiphon.wire.sse import DONE, parse_frame

JsonObject = dict[str, Any]

DONE_DATA = DONE[6:-2]
DECODE_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a msgspec decoder raises for input that it does not take."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_object(data: bytes) -> JsonObject:
    """Parse a JSON object. Raises ValueError for anything else."""
    try:
        value = _decode(data)
    except DECODE_FAULTS:
        try:
            value = json.loads(data)
        except RecursionError as fault:
            raise ValueError("nested too deeply") from fault
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a fault of the data, not of a caller
    return value


def write_object(value: JsonObject) -> bytes:
    """Write a JSON object that `read_object` or a merge of such has given."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value, separators=(",", ":")).encode()


def write_text(value: Any) -> str:
    """Write JSON of any shape as text."""
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(value, separators=(",", ":"))


def read_chunks(frames: Sequence[bytes]) -> list[JsonObject]:
    """Parse the chunks of a stream up to its `[DONE]`. Raises UpstreamFault."""
    chunks = []
    for frame in frames:
        event = parse_frame(frame)
        data = event.data.strip() if event else b""
        if data == DONE_DATA:
            break
        if data:
            chunks.append(_chunk(data))
    return chunks


def _chunk(data: bytes) -> JsonObject:
    try:
        return read_object(data)
    except ValueError as fault:
        raise UpstreamFault(
            "The upstream's stream holds an event that is not JSON.", code="invalid_json"
        ) from fault


def read_answer(body: bytes) -> JsonObject:
    """Parse a whole JSON answer. Raises UpstreamFault."""
    try:
        return read_object(body)
    except ValueError as fault:
        raise UpstreamFault("The upstream's answer is not a JSON object.", code="invalid_json") from fault
