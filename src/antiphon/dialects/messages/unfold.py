"""Unfolds a JSON message into the events that Anthropic would have streamed.

What streams in pieces there (text, citations, thinking, signatures, tool input) comes as one delta each; all other
blocks stand whole in their `content_block_start`, as they do there. Nothing is lost on the way, so that folding the
events gives the same message again.
"""

from collections.abc import Iterator
from typing import Any

from antiphon.dialects.messages.events import (
    BLOCK_DELTA,
    BLOCK_START,
    BLOCK_STOP,
    MESSAGE_DELTA,
    MESSAGE_START,
    MESSAGE_STOP,
    write_event,
)
from antiphon.wire.objects import JsonObject, read_answer, write_object

_LATER = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Members that `message_delta` tells in its delta."""
_NULL_AT_START = ("stop_reason", "stop_sequence", "stop_details")
_BESIDE_DELTA = ("context_management",)
"""Members that `message_delta` tells beside its delta."""
_COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
)
"""What `message_delta` tells of usage, as far as it is there."""
_PIECES = (
    ("text", "citations", "citations_delta", "citation"),
    ("text", "text", "text_delta", "text"),
    ("thinking", "thinking", "thinking_delta", "thinking"),
    ("thinking", "signature", "signature_delta", "signature"),
    ("compaction", "content", "compaction_delta", "content"),
)
"""(type of the block, its member, type of the delta, the delta's member)"""


def unfold_message(body: bytes) -> list[bytes]:
    """Unfold a message. Raises UpstreamFault."""
    message = read_answer(body)
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return [
        write_event(MESSAGE_START, message=_start(message)),
        *(frame for index, block in enumerate(blocks) for frame in _block_frames(index, block)),
        _message_delta(message),
        write_event(MESSAGE_STOP),
    ]


def _start(message: JsonObject) -> JsonObject:
    start = {
        name: None if name in _NULL_AT_START else value
        for name, value in message.items()
        if name in _NULL_AT_START or name not in (*_LATER, *_BESIDE_DELTA)
    }
    return start | {"content": []} if isinstance(message.get("content"), list) else start


def _message_delta(message: JsonObject) -> bytes:
    members: JsonObject = {"delta": {name: message[name] for name in _LATER if name in message}}
    usage = message.get("usage")
    if isinstance(usage, dict):
        members["usage"] = {name: usage[name] for name in _COUNTS if name in usage}
    members |= {name: message[name] for name in _BESIDE_DELTA if name in message}
    return write_event(MESSAGE_DELTA, **members)


def _block_frames(index: int, block: Any) -> Iterator[bytes]:
    start, deltas = _taken_apart(block) if isinstance(block, dict) else (block, [])
    yield write_event(BLOCK_START, index=index, content_block=start)
    for delta in deltas:
        yield write_event(BLOCK_DELTA, index=index, delta=delta)
    yield write_event(BLOCK_STOP, index=index)


def _taken_apart(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    """Return a block as it begins, and the deltas that make it whole."""
    start, deltas = dict(block), []
    for kind, name, delta, member in _PIECES:
        value = block.get(name)
        if block.get("type") != kind or not value:
            continue
        if isinstance(value, str) and kind == "compaction":
            told = {each: block[each] for each in (name, "encrypted_content") if each in block}
            start |= dict.fromkeys(told)
            deltas.append({"type": delta, **told})
        elif isinstance(value, str):
            start[name] = ""
            deltas.append({"type": delta, member: value})
        elif isinstance(value, list) and name == "citations":
            start[name] = []
            deltas += [{"type": delta, member: each} for each in value]
    arguments = block.get("input")
    if isinstance(arguments, dict) and arguments:
        start["input"] = {}
        deltas.append({"type": "input_json_delta", "partial_json": write_object(arguments).decode()})
    return start, deltas
