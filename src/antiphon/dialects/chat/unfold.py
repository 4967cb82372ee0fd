"""Unfolds JSON answers of chat and text completions into the chunks that OpenAI would have streamed.

The order within a choice: role, reasoning, content, refusal, calls, whatever else the message holds, and the
finish reason. Nothing is lost on the way, so that folding the chunks gives the same answer again; but a
tool call's own `index`, which some providers write and which only repeats its place, goes into the stream's.
"""

from collections.abc import Iterator
from typing import Any

from antiphon.wire.objects import JsonObject, read_answer, write_object
from antiphon.wire.sse import DONE, write_frame

_HEAD = ("created", "model", "service_tier", "system_fingerprint")
_REASONING = ("reasoning", "reasoning_content", "reasoning_details")
_CALL_TEXT = {"function": "arguments", "custom": "input"}
"""The text that streams in pieces, by the member of a tool call that holds it."""


def unfold_chat(body: bytes, *, include_usage: bool) -> list[bytes]:
    """Unfold a `chat.completion`. Raises UpstreamFault."""
    return _unfold(read_answer(body), "chat.completion.chunk", include_usage=include_usage)


def unfold_completion(body: bytes, *, include_usage: bool) -> list[bytes]:
    """Unfold a `text_completion`. Raises UpstreamFault."""
    return _unfold(read_answer(body), "text_completion", include_usage=include_usage)


def _unfold(answer: JsonObject, kind: str, *, include_usage: bool) -> list[bytes]:
    head: JsonObject = {"id": answer["id"]} if "id" in answer else {}
    head["object"] = kind
    head.update({key: answer[key] for key in _HEAD if key in answer})
    rest = {
        key: value for key, value in answer.items() if key not in head and key not in {"choices", "usage"}
    }
    usage = {"usage": None} if include_usage and "usage" in answer else {}
    steps = [[step] for choice in _choices(answer) for step in _steps(choice)]
    first, *others = steps or [[]]
    chunks = [head | {"choices": first} | usage | rest]
    chunks += [head | {"choices": step} | usage for step in others]
    if usage and answer["usage"] is not None:
        chunks.append(head | {"choices": [], "usage": answer["usage"]})
    return [*(write_frame(write_object(chunk)) for chunk in chunks), DONE]


def _choices(answer: JsonObject) -> list[JsonObject]:
    value = answer.get("choices")
    choices = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    indices = [each.get("index") for each in choices]
    # Chunks of several choices can only be told apart by an index; one choice may do without.
    if len(choices) > 1 and (None in indices or any(indices.count(index) > 1 for index in indices)):
        return [each | {"index": place} for place, each in enumerate(choices)]
    return choices


def _steps(choice: JsonObject) -> Iterator[JsonObject]:
    """Yield what the chunks of one choice hold."""
    frame: JsonObject = {"index": choice["index"]} if "index" in choice else {}
    blank = {key: None for key in ("logprobs", "finish_reason") if key in choice}
    logprobs = {key: choice[key] for key in ("logprobs",) if choice.get(key) is not None}
    message, text = choice.get("message"), choice.get("text")
    if isinstance(message, dict):
        for delta in _deltas(message):
            shown = logprobs if logprobs and (delta.get("content") or delta.get("refusal")) else {}
            logprobs = {} if shown else logprobs
            yield frame | {"delta": delta} | blank | shown
        last: JsonObject = {"delta": {}}
    elif isinstance(text, str) and text:
        yield frame | {"text": text} | blank | logprobs
        logprobs = {}
        last = {"text": ""}
    else:
        last = {key: choice[key] for key in ("message", "text") if key in choice}
    done = {*frame, *last, *blank, "message", "text", "delta"}
    others = {key: value for key, value in choice.items() if key not in done}
    if "text" in choice and isinstance(message, dict):
        others["text"] = text
    yield (
        frame
        | last
        | blank
        | logprobs
        | others
        | {key: choice[key] for key in ("finish_reason",) if key in choice}
    )


def _deltas(message: JsonObject) -> Iterator[JsonObject]:
    rest = dict(message)
    calls = rest.pop("tool_calls") if isinstance(message.get("tool_calls"), list) else []
    first: JsonObject = {"role": rest.pop("role")} if "role" in rest else {}
    if isinstance(message.get("content"), str):
        first["content"] = ""
    first |= {key: value for key, value in rest.items() if value is None}
    yield first
    rest = {key: value for key, value in rest.items() if value is not None}
    reasoning = {key: rest.pop(key) for key in _REASONING if key in rest}
    if reasoning:
        yield reasoning
    for key in ("content", "refusal"):
        value = rest.pop(key, None)
        if value is not None and (value or key not in first):
            yield {key: value}
    if isinstance(rest.get("function_call"), dict):
        yield from ({"function_call": piece} for piece in _pieces(rest.pop("function_call"), "arguments"))
    if isinstance(message.get("tool_calls"), list):
        yield from ({"tool_calls": pieces} for pieces in _call_fragments(calls))
    if rest:
        yield rest


def _call_fragments(calls: list[Any]) -> Iterator[list[Any]]:
    if not calls:
        yield []
    for index, call in enumerate(calls):
        if not isinstance(call, dict):
            yield [call]
            continue
        holder = next((name for name in _CALL_TEXT if isinstance(call.get(name), dict)), None)
        if holder is None:
            yield [{**call, "index": index}]
            continue
        head, *tail = _pieces(call[holder], _CALL_TEXT[holder])
        yield [
            {"index": index, **{key: value for key, value in call.items() if key != "index"}, holder: head}
        ]
        yield from ([{"index": index, holder: piece}] for piece in tail)


def _pieces(holder: JsonObject, member: str) -> list[JsonObject]:
    """Split an object into one without its text and one with nothing else."""
    text = holder.get(member)
    if not isinstance(text, str) or not text:
        return [holder]
    return [holder | {member: ""}, {member: text}]
