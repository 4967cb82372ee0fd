"""What openai-python assembles from a stream, made comparable, and where it is known to be wrong."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from antiphon.wire.objects import read_chunks
from antiphon.wire.sse import FrameReader, parse_frame

TERMINALS = ("response.completed", "response.incomplete", "response.failed")
CHAT_STREAMS_IT_FAILS = {
    "azure-openai-chat-s-4c4624c373": "crashes on a choice without a delta",
    "mistral-openai-chat-s-f9827607b3": "crashes on a tool call without an index",
    "mistral-openai-chat-s-0a9d6dade5": "drops content parts that follow text",
    "mistral-openai-chat-s-440bc1f7a8": "drops content parts that follow text",
    "openai-openai-chat-s-fbc027cc1c": "forgets usage when another chunk follows it",
}
CHAT_ANSWERS_IT_MISREADS = {
    "openrouter-openai-chat-p-898bf9881b": "merges reasoning of different types at one index",
    "snowflake-openai-chat-p-6fc81d1ba2": "ignores an empty finish reason",
    "snowflake-openai-chat-p-d3afe96e23": "ignores an empty finish reason",
    "snowflake-openai-chat-p-d84ceb0a23": "ignores an empty finish reason",
}
# The library appends labels to each other (`analysisanalysis`) and adds up token ids.
_GARBLED = {"role", "channel", "token_id", "format", "id"}


def frames_of(body: bytes) -> list[bytes]:
    """Cut a stream into its frames; the last may lack its blank line."""
    reader = FrameReader(1 << 24)
    frames = reader.feed(body)
    rest = reader.close()
    return [*frames, rest] if rest else frames


def first_answer(body: bytes) -> list[bytes]:
    """Cut the first stream of responses out of a recording: some recorders have put several into one file."""
    frames = frames_of(body)
    for number, frame in enumerate(frames):
        if any(f'"type":"{kind}"'.encode() in frame.replace(b" ", b"") for kind in TERMINALS):
            return frames[: number + 1]
    return frames


def events_of(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """Read the events of the Responses API."""
    parsed = [parse_frame(frame) for frame in frames]
    return [json.loads(event.data) for event in parsed if event and event.data != b"[DONE]"]


def chat_snapshot(frames: Sequence[bytes]) -> Any:
    """Assemble a chat completion as the library does, which leaves out Azure's chunks of object ""."""
    state: Any = ChatCompletionStreamState()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in read_chunks(frames):
            if each.get("object") != "" and "choices" in each:
                state.handle_chunk(construct_type(type_=ChatCompletionChunk, value=each))
        return json.loads(state.current_completion_snapshot.to_json())


def comparable_chat(answer: Any) -> Any:
    """Leave out what the library garbles or adds."""
    choices = []
    for choice in answer["choices"]:
        message = {k: v for k, v in choice["message"].items() if k not in _GARBLED and v is not None}
        for call in message.get("tool_calls", []):
            call.pop("index", None)
            call.get("function", {}).pop("parsed_arguments", None)
        for detail in message.get("reasoning_details", []):
            for label in _GARBLED:
                detail.pop(label, None)
        message.pop("parsed", None)
        choices.append([choice.get("index"), message, choice.get("finish_reason"), choice.get("logprobs")])
    return {"choices": choices} | {key: answer.get(key) for key in ("id", "model", "object", "usage")}


def without_redundant_members(answer: Any) -> Any:
    """Leave out what chunks say by other means: a call's place, and Perplexity's empty delta beside a message."""
    for choice in answer["choices"]:
        choice.pop("delta", None)
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
    return answer


def accumulate(events: Sequence[dict[str, Any]]) -> ResponseStreamState[Any]:
    """Drive the accumulator of responses; it raises where a stream is not what it expects."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    return state


def final_response(events: Sequence[dict[str, Any]]) -> Any:
    """Return the response that the library ends with, less the parsed forms that it adds.

    It makes one of `response.completed` alone; of an incomplete answer it shows the terminal event.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        final = accumulate(events)._completed_response
        if final is None:
            return construct_type(type_=ResponseStreamEvent, value=events[-1]).response.to_dict(mode="json")
        return _without_parsed(final.to_dict(mode="json"))


def _without_parsed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_parsed(v) for k, v in value.items() if k not in {"parsed", "parsed_arguments"}}
    return [_without_parsed(each) for each in value] if isinstance(value, list) else value
