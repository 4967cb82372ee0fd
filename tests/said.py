"""What an answer says, read from the JSON of each dialect without the hub: to compare answers across dialects."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Said:
    """One answer; what a dialect has no form for is empty."""

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Name and parsed arguments of the calls that the client is to answer."""
    citations: tuple[str, ...] = ()
    """URLs or file ids."""
    logprobs: tuple[tuple[str, float], ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    finish: str = ""
    """`stop`, `calls`, `length` or `filter`."""
    others: tuple[str, ...] = field(default=(), compare=False)


def said_chat(answer: dict[str, Any]) -> Said:
    choice = answer["choices"][0]
    message = choice.get("message") or {}
    content, thinking = _parts(message.get("content"))
    details = message.get("reasoning_details") or ()
    told = message.get("reasoning_content") or message.get("reasoning")
    calls = [call.get("function") or call.get("custom") for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        calls.append(message["function_call"])
    usage = answer.get("usage") or (answer.get("x_groq") or {}).get("usage") or choice.get("usage")
    return Said(
        text=content,
        refusal=message.get("refusal") or "",
        reasoning=told or thinking or _join(each.get("text") or each.get("summary") for each in details),
        calls=tuple((call["name"], _arguments(call.get("arguments", call.get("input")))) for call in calls),
        citations=tuple(map(_citation, message.get("annotations") or ())),
        logprobs=_logprobs((choice.get("logprobs") or {}).get("content")),
        finish=_FINISH.get(choice.get("finish_reason") or "stop", "stop"),
        **_chat_usage(usage),
    )


def said_completion(answer: dict[str, Any]) -> Said:
    choice = answer["choices"][0]
    logprobs = choice.get("logprobs") or {}
    pairs = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=True)
    return Said(
        text=choice["text"],
        logprobs=tuple((token, float(value or 0)) for token, value in pairs),
        finish=_FINISH.get(choice.get("finish_reason") or "stop", "stop"),
        **_chat_usage(answer.get("usage")),
    )


def said_response(response: dict[str, Any]) -> Said:
    output = response["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    texts = [part for part in parts if part["type"] in {"output_text", "text"}]
    reasoning = [item for item in output if item["type"] == "reasoning"]
    calls = [item for item in output if item["type"] in {"function_call", "custom_tool_call"}]
    usage = response.get("usage") or {}
    reason = (response.get("incomplete_details") or {}).get("reason")
    return Said(
        text=_join(part["text"] for part in texts),
        refusal=_join(part["refusal"] for part in parts if part["type"] == "refusal"),
        reasoning=_join(
            part["text"]
            for item in reasoning
            for part in [*(item.get("content") or ()), *(item.get("summary") or ())]
        ),
        calls=tuple((call["name"], _arguments(call.get("arguments", call.get("input")))) for call in calls),
        citations=tuple(_citation(each) for part in texts for each in part.get("annotations") or ()),
        logprobs=_logprobs(entry for part in texts for entry in part.get("logprobs") or ()),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cached_tokens=(usage.get("input_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("reasoning_tokens") or 0,
        finish=_FINISH.get(reason, "calls" if calls else "stop"),
    )


def said_message(message: dict[str, Any]) -> Said:
    blocks = message["content"]
    texts = [block for block in blocks if block["type"] == "text"]
    usage = message.get("usage") or {}
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    given = usage.get("input_tokens")
    return Said(
        text=_join(block["text"] for block in texts),
        reasoning=_join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"),
        citations=tuple(
            each.get("url") or each.get("document_title") or each.get("file_id") or ""
            for block in texts
            for each in block.get("citations") or ()
        ),
        input_tokens=None if given is None else given + read + written,
        output_tokens=usage.get("output_tokens"),
        cached_tokens=read,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
        finish=_FINISH.get(message.get("stop_reason") or "end_turn", "stop"),
    )


def said_gemini(chunks: list[dict[str, Any]]) -> Said:
    parts: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    finish: object = None
    logprobs: list[tuple[str, float]] = []
    for chunk in chunks:
        usage = chunk.get("usageMetadata") or usage
        for candidate in (chunk.get("candidates") or ())[:1]:
            parts += (candidate.get("content") or {}).get("parts") or ()
            finish = candidate.get("finishReason") or finish
            chosen = (candidate.get("logprobsResult") or {}).get("chosenCandidates") or ()
            logprobs += [(entry["token"], entry["logProbability"]) for entry in chosen]
    calls = tuple(
        (p["functionCall"]["name"], p["functionCall"].get("args") or {}) for p in parts if "functionCall" in p
    )
    reason = _GEMINI_FINISH.get(finish, "filter") if finish is not None else "stop"
    return Said(
        text=_join(p.get("text") for p in parts if not p.get("thought")),
        reasoning=_join(p.get("text") for p in parts if p.get("thought")),
        calls=calls,
        logprobs=tuple(logprobs),
        input_tokens=(usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        output_tokens=(usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0),
        cached_tokens=usage.get("cachedContentTokenCount") or 0,
        reasoning_tokens=usage.get("thoughtsTokenCount") or 0,
        finish="calls" if calls and reason == "stop" else reason,
    )


def said_ollama(lines: list[dict[str, Any]]) -> Said:
    messages = [line.get("message") or {} for line in lines]
    last = lines[-1]
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    return Said(
        text=_join(message.get("content") for message in messages),
        reasoning=_join(message.get("thinking") for message in messages),
        calls=tuple((call["name"], call["arguments"]) for call in calls),
        input_tokens=last.get("prompt_eval_count") or 0,
        output_tokens=last.get("eval_count") or 0,
        finish="calls" if calls else _FINISH.get(last.get("done_reason") or "stop", "stop"),
    )


_FINISH = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "calls",
    "function_call": "calls",
    "tool_use": "calls",
    "content_filter": "filter",
    "sensitive": "filter",
    "refusal": "filter",
}
_GEMINI_FINISH = {"STOP": "stop", 1: "stop", "MAX_TOKENS": "length", 2: "length"}


def _chat_usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    usage = usage or {}
    into = usage.get("prompt_tokens_details") or {}
    cached = (
        into.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    )
    return {
        "input_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "cached_tokens": cached,
        "reasoning_tokens": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    }


def _parts(content: Any) -> tuple[str, str]:
    """Return text and thinking of a chat message's content, which Mistral writes in parts."""
    if not isinstance(content, list):
        return content or "", ""
    thinking = [part["thinking"] for part in content if part.get("type") == "thinking"]
    pieces = (piece for each in thinking for piece in (each if isinstance(each, list) else [{"text": each}]))
    text = _join(part.get("text") for part in content if part.get("type") != "thinking")
    return text, _join(piece.get("text") for piece in pieces)


def _citation(annotation: dict[str, Any]) -> str:
    inner = annotation.get(annotation.get("type"), annotation)
    return inner.get("url") or inner.get("file_id") or inner.get("filename") or ""


def _logprobs(entries: Iterable[dict[str, Any]] | None) -> tuple[tuple[str, float], ...]:
    return tuple((entry["token"], entry["logprob"]) for entry in entries or ())


def _arguments(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments


def _join(texts: Iterable[str | None]) -> str:
    return "".join(text for text in texts if text)
