"""Text-only requests that real providers have counted, in the shape of a Responses request."""

import functools
import json
import re
from typing import Any, NamedTuple

from recorded import exchanges

APIS = (
    "openai.responses",
    "openai.chat",
    "anthropic.messages",
    "anthropic.count_tokens",
    "gemini.generateContent",
    "gemini.countTokens",
)


class Counted(NamedTuple):
    """A request and what the provider says of it."""

    vendor: str
    model: str
    request: dict[str, Any]
    input_tokens: int


@functools.cache
def counted():
    """All of the recordings that hold text and function tools alone, and were counted whole."""
    return tuple(
        made
        for api in APIS
        for mode in ("plain", "stream")
        for exchange in exchanges(api, mode)
        if (made := _counted(api, exchange)) is not None
    )


def _counted(api, exchange):
    body = exchange.request
    documents = list(_documents(exchange))
    if not isinstance(body, dict) or not documents or body.get("previous_response_id"):
        return None
    request = _READERS[api.partition(".")[0]](body)
    if request is None or None in [item["content"] for item in request["input"]] or not request["input"]:
        return None
    usage = _usage(documents)
    if not usage:
        return None
    model = str(body.get("model") or documents[-1].get("modelVersion") or exchange.id)
    return Counted(_vendor(model), model, request, usage)


def _vendor(model):
    known = next((name for name in ("claude", "gemini", "gpt-oss", "gpt") if name in model), "other")
    return "gpt" if re.fullmatch(r"(?:openai/)?o[134](?:-\w+)?", model) else known


def _documents(exchange):
    text = exchange.body.decode("utf-8", "replace")
    if exchange.mode == "plain":
        lines = [text]
    else:
        lines = [line[5:] for line in text.splitlines() if line.startswith("data:")]
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document.get("response") if isinstance(document.get("response"), dict) else document


def _usage(documents):
    found = 0
    for document in documents:
        usage = (
            document.get("usage")
            or document.get("usageMetadata")
            or (document.get("message") or {}).get("usage")
        )
        usage = usage if isinstance(usage, dict) else document
        given = usage.get("input_tokens") or usage.get("prompt_tokens") or usage.get("promptTokenCount")
        given = given or usage.get("totalTokens") or 0
        cached = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
        if isinstance(given, int):
            found = max(found, given + cached)
    return found


def _text(content):
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    return None


def _messages(messages):
    return [
        {
            "role": message.get("role"),
            "content": None if message.get("tool_calls") else _text(message.get("content")),
        }
        for message in messages
        if isinstance(message, dict)
    ]


def _openai(body):
    if body.get("response_format") or (body.get("text") or {}).get("format") or body.get("conversation"):
        return None
    tools = body.get("tools") or body.get("functions") or []
    if any(tool.get("type", "function") != "function" for tool in tools) or body.get("web_search_options"):
        return None
    given = body.get("messages") or body.get("input") or []
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else _messages(given)
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    return {"input": messages, "tools": [tool.get("function") or tool for tool in tools]}


def _anthropic(body):
    # Thinking is announced to the model in about 30 tokens.
    if (
        body.get("thinking")
        or body.get("output_format")
        or body.get("output_config")
        or body.get("container")
        or body.get("mcp_servers")
    ):
        return None
    tools = body.get("tools") or []
    if any(tool.get("type", "custom") != "custom" for tool in tools):
        return None
    messages = _messages(body.get("messages", []))
    if body.get("system"):
        messages.insert(0, {"role": "system", "content": _text(body["system"])})
    return {"input": messages, "tools": tools}


def _gemini(body):
    body = body.get("generateContentRequest", body)
    config = body.get("generationConfig") or {}
    tools = body.get("tools") or []
    if config.get("responseSchema") or config.get("responseJsonSchema") or body.get("cachedContent"):
        return None
    if any(set(tool) - {"functionDeclarations", "function_declarations"} for tool in tools):
        return None
    contents = [body.get("systemInstruction"), *(body.get("contents") or [])]
    messages = [
        {"role": content.get("role"), "content": _text(content.get("parts"))}
        for content in contents
        if isinstance(content, dict)
    ]
    declared = [each for tool in tools for each in next(iter(tool.values()), [])]
    return {"input": messages, "tools": declared}


_READERS = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
