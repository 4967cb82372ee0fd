"""What the streams of each client dialect must look like; what is wrong with one is said in words.

The Responses API has its own oracle, `antiphon.turn.grammar`. Here are the others:

    chat         role, deltas, one finish reason, usage alone, [DONE]; or an error as the last frame
    completions  texts, one finish reason, usage alone, [DONE]; or an error
    messages     message_start, blocks one after the other, message_delta, message_stop; or an error
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from antiphon.turn.grammar import violations
from antiphon.wire.sse import DONE, parse_frame
from official_library import events_of


def complaints(client: str, frames: Sequence[bytes]) -> list[str]:
    """Say in which ways a stream breaks the grammar of its dialect; nothing if it keeps it."""
    return _GRAMMARS[client](frames)


def _responses(frames: Sequence[bytes]) -> list[str]:
    found = violations(events_of(frames))
    return found if frames[-1] == DONE else [*found, "no [DONE] at the end"]


def _chat(frames: Sequence[bytes]) -> list[str]:
    chunks, found = _chunks(frames, "chat.completion.chunk")
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]
    if deltas and deltas[0].get("role") != "assistant":
        found.append("the first delta has no role")
    if any("role" in delta for delta in deltas[1:]):
        found.append("the role comes again")
    begun: list[int] = []
    for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
        if "id" in call:
            begun.append(call["index"])
        elif call["index"] not in begun:
            found.append(f"call {call['index']} goes on before it began")
    if begun != list(range(len(begun))):
        found.append(f"calls are numbered {begun}")
    return found


def _completions(frames: Sequence[bytes]) -> list[str]:
    chunks, found = _chunks(frames, "text_completion")
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return (
        found if all(isinstance(each["text"], str) for each in choices) else [*found, "no text in a choice"]
    )


def _chunks(frames: Sequence[bytes], kind: str) -> tuple[list[Any], list[str]]:
    """Return the chunks of a stream of OpenAI's older APIs, and what is wrong with their order."""
    found = []
    chunks = [json.loads(frame.removeprefix(b"data: ")) for frame in frames if frame != DONE]
    if chunks and "error" in chunks[-1]:
        if DONE in frames:
            found.append("[DONE] beside an error")
        return _alike(chunks[:-1], kind, found)
    if frames[-1] != DONE or frames.count(DONE) != 1:
        found.append("not one [DONE], at the end")
    if chunks[-1].get("choices") != [] or "usage" not in chunks[-1]:
        found.append("the last chunk is not that of usage")
    reasons = [choice.get("finish_reason") for chunk in chunks for choice in chunk["choices"]]
    if [place for place, reason in enumerate(reasons) if reason] != [len(reasons) - 1]:
        found.append(f"finish reasons {reasons}")
    return _alike(chunks, kind, found)


def _alike(chunks: list[Any], kind: str, found: list[str]) -> tuple[list[Any], list[str]]:
    if len({(chunk["id"], chunk["created"]) for chunk in chunks}) > 1:
        found.append("the id or time changes")
    if any(chunk["object"] != kind for chunk in chunks):
        found.append(f"a chunk that is no {kind}")
    return chunks, found


_MESSAGES = {
    "silent": {"message_start": "between", "error": "over"},
    "between": {"content_block_start": "block", "message_delta": "told", "error": "over"},
    "block": {"content_block_delta": "block", "content_block_stop": "between", "error": "over"},
    "told": {"message_stop": "over"},
    "over": {},
}
_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
}


def _messages(frames: Sequence[bytes]) -> list[str]:
    found: list[str] = []
    state, index, kind = "silent", -1, ""
    for frame in frames:
        event = parse_frame(frame)
        assert event is not None
        told = json.loads(event.data)
        if event.type != told["type"]:
            found.append(f"{told['type']} under the name {event.type}")
        if event.type == "ping":
            continue
        after = _MESSAGES[state].get(event.type)
        if after is None:
            found.append(f"{event.type} while {state}")
            continue
        state = after
        if event.type == "content_block_start":
            index, kind = index + 1, told["content_block"]["type"]
        if event.type == "content_block_delta" and told["delta"]["type"] not in _DELTAS.get(kind, ()):
            found.append(f"{told['delta']['type']} in a block of {kind}")
        if "index" in told and told["index"] != index:
            found.append(f"{event.type} at {told['index']}, not {index}")
    return found if state == "over" else [*found, f"it ends while {state}"]


_GRAMMARS: dict[str, Callable[[Sequence[bytes]], list[str]]] = {
    "responses": _responses,
    "chat": _chat,
    "completions": _completions,
    "messages": _messages,
}
