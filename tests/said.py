"""What an answer says, read from the JSON of each dialect without the hub: to compare answers across dialects."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Said:
    """One answer; what a dialect has no form for is empty."""

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Name and parsed arguments of the calls that the client is to answer."""
    citations: tuple[tuple[str, str], ...] = ()
    """URLs or file ids, and the passages of the text that they stand for, where that is told."""
    logprobs: tuple[tuple[str, float], ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    finish: str = ""
    """`stop`, `calls`, `length`, `filter`, or `error` where the answer is none."""
    searches: tuple[str, ...] = ()
    """What the model had looked for in the web."""


def said_chat(answer: dict[str, Any]) -> Said:
    choice = answer["choices"][0]
    message = choice.get("message") or {}
    content, thinking = _parts(message.get("content"))
    details = message.get("reasoning_details") or ()
    told = message.get("reasoning_content") or message.get("reasoning")
    calls = [call.get("function") or call.get("custom") for call in message.get("tool_calls") or ()]
    calls = [call for call in (*calls, message.get("function_call")) if call and call.get("name")]
    usage = answer.get("usage") or (answer.get("x_groq") or {}).get("usage") or choice.get("usage")
    return Said(
        text=content,
        refusal=message.get("refusal") or "",
        reasoning=told or thinking or _join(each.get("text") or each.get("summary") for each in details),
        calls=tuple(map(_call, calls)),
        citations=_citations(message.get("annotations"), content),
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
        logprobs=tuple((token, round(value or 0, 6)) for token, value in pairs),
        finish=_FINISH.get(choice.get("finish_reason") or "stop", "stop"),
        **_chat_usage(answer.get("usage")),
    )


def said_response(response: dict[str, Any]) -> Said:
    output = response.get("output") or []
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    texts = [part for part in parts if part["type"] in {"output_text", "text"}]
    reasoning = [item for item in output if item["type"] == "reasoning"]
    calls = [item for item in output if item["type"] in {"function_call", "custom_tool_call"}]
    usage = response.get("usage") or {}
    reason = (response.get("incomplete_details") or {}).get("reason")
    return Said(
        text=_join(part["text"] for part in texts),
        refusal=_join(part["refusal"] for part in parts if part["type"] == "refusal"),
        reasoning=_join(map(_thought, reasoning)),
        calls=tuple(map(_call, calls)),
        citations=tuple(each for part in texts for each in _citations(part.get("annotations"), part["text"])),
        logprobs=_logprobs(entry for part in texts for entry in part.get("logprobs") or ()),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cached_tokens=(usage.get("input_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("reasoning_tokens") or 0,
        finish="error" if _has_failed(response) else _FINISH.get(reason, "calls" if calls else "stop"),
        searches=tuple(query for item in output for query in _queries(item)),
    )


def said_message(message: dict[str, Any]) -> Said:
    blocks = message["content"]
    texts = [block for block in blocks if block["type"] == "text"]
    usage = message.get("usage") or {}
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    given = usage.get("input_tokens")
    details = message.get("stop_details") or {}
    return Said(
        text=_join(block["text"] for block in texts),
        refusal=details.get("explanation") or "",
        reasoning=_join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"),
        citations=tuple(
            (_source(each), block["text"] if each.get("url") else "")
            for block in texts
            for each in block.get("citations") or ()
        ),
        input_tokens=None if given is None else given + read + written,
        output_tokens=usage.get("output_tokens"),
        cached_tokens=read,
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
        finish=_FINISH.get(message.get("stop_reason") or "end_turn", "stop"),
        searches=tuple(
            block["input"]["query"]
            for block in blocks
            if block["type"] == "server_tool_use" and block["name"] == "web_search"
        ),
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
            logprobs += [(entry["token"], round(entry["logProbability"], 6)) for entry in chosen]
    calls = tuple(
        (p["functionCall"]["name"], p["functionCall"].get("args") or {})
        for p in parts
        if "name" in p.get("functionCall", {})
    )
    reason = _GEMINI_FINISH.get(finish, "error")
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


def _has_failed(response: dict[str, Any]) -> bool:
    return bool(response.get("error")) or response.get("status") not in {"completed", "incomplete"}


def _thought(item: dict[str, Any]) -> str:
    """Return what a reasoning item says: its own words, else the summaries with a blank line between them."""
    parts = item.get("content") or item.get("summary") or ()
    return "\n\n".join(part["text"] for part in parts if part.get("text"))


def _queries(item: dict[str, Any]) -> list[str]:
    if item["type"] != "web_search_call":
        return []
    action = item.get("action") or {}
    return action.get("queries") or [query for query in (action.get("query"),) if query]


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
_GEMINI_FINISH = {
    "STOP": "stop",
    1: "stop",
    "MAX_TOKENS": "length",
    2: "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "PROHIBITED_CONTENT": "filter",
    "MODEL_ARMOR": "filter",
}
"""Everything else, and no reason at all, is how an answer breaks off."""


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


def _citations(annotations: Iterable[dict[str, Any]] | None, text: str) -> tuple[tuple[str, str], ...]:
    """Return whom a text cites, and where; annotations of other kinds are no citations."""
    inner = [each.get(each.get("type"), each) for each in annotations or ()]
    return tuple(
        (_source(each), text[each["start_index"] : each["end_index"]] if each.get("end_index") else "")
        for each in inner
        if _source(each)
    )


def _source(citation: dict[str, Any]) -> str:
    names = ("url", "file_id", "source", "filename", "document_title")
    return next((citation[name] for name in names if citation.get(name)), "")


def _logprobs(entries: Iterable[dict[str, Any]] | None) -> tuple[tuple[str, float], ...]:
    """Return tokens with their log probabilities; some upstreams round them at the end of a stream."""
    return tuple((entry["token"], round(entry["logprob"], 6)) for entry in entries or ())


def _call(call: dict[str, Any]) -> tuple[str, Any]:
    """Return name and arguments: JSON for a function, text for a custom tool."""
    if "arguments" not in call:
        return call["name"], call["input"]
    arguments = call["arguments"]
    if not isinstance(arguments, str):
        return call["name"], arguments
    try:
        return call["name"], json.loads(arguments) if arguments else {}
    except ValueError:
        return call["name"], arguments


def _join(texts: Iterable[str | None]) -> str:
    return "".join(text for text in texts if text)
