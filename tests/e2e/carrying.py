"""Recorded answers of one dialect, carried to clients of the others: what is asked, and what must come of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.settings.values import ProviderType
from client_grammar import complaints
from e2e.plain_client import Answer
from e2e.stage import Stage, played
from official_anthropic import assembled
from official_library import chat_snapshot, events_of, final_response, frames_of
from recorded import Exchange
from said import Said, said_chat, said_completion, said_message, said_response
from said_recorded import body_of

UPSTREAMS: dict[str, tuple[ProviderType, str]] = {
    "openai.chat": ("openai-chat", "chat"),
    "openai.responses": ("openai", "responses"),
    "openai.completions": ("openai-completions", "completions"),
    "anthropic.messages": ("anthropic", "messages"),
    "gemini.generateContent": ("gemini", "gemini"),
    "ollama.chat": ("ollama", "ollama"),
}
"""Who answers as each API was recorded: the type of provider, and its dialect."""

PATHS = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
}
PAIRS = [(api, client) for api, (_, dialect) in UPSTREAMS.items() for client in PATHS if client != dialect]

LIMIT = 100_000
"""The clients set a limit: only then is an answer that reached one kept."""


def expected(client: str, said: Said) -> Said:
    """Return what a client of the dialect is told of what was said.

    Not every upstream says that it stopped for calls; clients wait for that to be said.
    """
    has_stopped = said.finish == "stop" and said.calls
    return _FORMS[client](replace(said, finish="calls") if has_stopped else said)


def _for_responses(said: Said) -> Said:
    return said


def _for_chat(said: Said) -> Said:
    return replace(said, searches=())


def _for_completions(said: Said) -> Said:
    """Texts and refusals alone: no member is there for more."""
    return Said(
        text=said.text + said.refusal,
        logprobs=said.logprobs,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cached_tokens=said.cached_tokens,
        reasoning_tokens=said.reasoning_tokens,
        finish="stop" if said.finish == "calls" else said.finish,
    )


def _for_messages(said: Said) -> Said:
    """A refusal is text and a reason to stop; what cites is a block, not a passage; cached tokens stand beside others."""
    calls = [(name, {"input": given} if isinstance(given, str) else given) for name, given in said.calls]
    given = said.input_tokens
    return replace(
        said,
        text=said.text + said.refusal,
        calls=tuple(calls),
        citations=tuple((source, "") for source, _ in said.citations),
        logprobs=(),
        searches=(),
        input_tokens=None if given is None else max(given, said.cached_tokens),
        finish="filter" if said.refusal else said.finish,
    )


_FORMS: dict[str, Callable[[Said], Said]] = {
    "responses": _for_responses,
    "chat": _for_chat,
    "completions": _for_completions,
    "messages": _for_messages,
}
"""What each client dialect has a form for."""


def is_kept(said: Said) -> bool:
    """Whether the second of two equal requests is to be a hit."""
    return said.finish not in {"error", "filter"}


def differences(client: str, wanted: Said, answer: Answer) -> list[str]:
    """Say in what an answer does not say what is wanted, or not in its dialect's form."""
    is_stream = answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame for frame in frames_of(answer.body) if not frame.startswith(b":")] if is_stream else []
    found = complaints(client, frames) if is_stream else []
    got = _STREAMED[client](frames) if is_stream else _told(client, answer)
    if (answer.status == 200) != (is_stream or wanted.finish != "error"):
        found.append(f"status {answer.status}")
    if wanted.finish == "error":
        # What was said before the end is shown in streams alone, and what it cost is nowhere sure.
        wanted = replace(wanted if is_stream else Said(finish="error"), **_usage_of(got))
    elif wanted.input_tokens is None or wanted.output_tokens is None:
        found += [] if got.input_tokens and got.output_tokens else ["no usage was counted"]
        wanted = replace(wanted, **_usage_of(got))
    return found + [
        f"{name}: {getattr(wanted, name)!r:.300} is {getattr(got, name)!r:.300}"
        for name in (each.name for each in fields(Said))
        if getattr(wanted, name) != getattr(got, name)
    ]


def _usage_of(said: Said) -> dict[str, Any]:
    return {name: getattr(said, name) for name in _USAGE}


_USAGE = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


# What is asked.


def request(client: str, exchange: Exchange, said: Said, *, stream: bool) -> dict[str, Any]:
    """Ask for what was recorded; a namespace keeps the recordings apart."""
    model = f"{UPSTREAMS[exchange.api][0]}/m"
    asked = {"model": model, "stream": stream, "cache": {"namespace": f"{client} {exchange.id}"}}
    return (
        asked | _ASKING[client](said) | ({} if client in {"responses", "messages"} else _usage(stream=stream))
    )


def _usage(*, stream: bool) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}} if stream else {}


def _tools(said: Said) -> dict[str, bool]:
    """Return the tools that are called, and whether each is a function."""
    return {name: not isinstance(arguments, str) for name, arguments in said.calls}


def _ask_responses(said: Said) -> dict[str, Any]:
    tools = [
        {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False}
        if is_function
        else {"type": "custom", "name": name}
        for name, is_function in _tools(said).items()
    ]
    return {"input": "Hi", "max_output_tokens": LIMIT, **({"tools": tools} if tools else {})}


def _ask_chat(said: Said) -> dict[str, Any]:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        if is_function
        else {"type": "custom", "custom": {"name": name}}
        for name, is_function in _tools(said).items()
    ]
    hi = {"role": "user", "content": "Hi"}
    return {"messages": [hi], "max_tokens": LIMIT, **({"tools": tools} if tools else {})}


def _ask_completions(said: Said) -> dict[str, Any]:
    return {"prompt": "Hi", "max_tokens": LIMIT}


def _ask_messages(said: Said) -> dict[str, Any]:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in _tools(said)]
    hi = {"role": "user", "content": "Hi"}
    return {"messages": [hi], "max_tokens": LIMIT, **({"tools": tools} if tools else {})}


_ASKING: dict[str, Callable[[Said], dict[str, Any]]] = {
    "responses": _ask_responses,
    "chat": _ask_chat,
    "completions": _ask_completions,
    "messages": _ask_messages,
}


# What comes of it.


@dataclass(frozen=True)
class Performance:
    """A recording, asked for in its own mode and then in the other."""

    first: Answer
    second: Answer
    calls: int
    """How often the upstream was asked."""


async def performed(scene: Stage, client: str, exchange: Exchange, said: Said) -> Performance:
    recorded = (value for name, value in exchange.headers if name.lower() == "content-type")
    scene.simulator.answer(played(exchange, body_of(exchange), next(recorded, "application/json")))
    before = len(scene.simulator.calls)
    is_stream = exchange.mode == "stream"
    first, second = [
        await scene.client.post(PATHS[client], request(client, exchange, said, stream=stream))
        for stream in (is_stream, not is_stream)
    ]
    return Performance(first, second, len(scene.simulator.calls) - before)


def _told(client: str, answer: Answer) -> Said:
    body = answer.json()
    return Said(finish="error") if body.get("error") else _TOLD[client](body)


def _streamed_chat(frames: list[bytes]) -> Said:
    is_broken = frames[-1].startswith(b'data: {"error":')
    said = said_chat(chat_snapshot(frames[:-1] if is_broken else frames))
    return replace(said, finish="error") if is_broken else said


def _told_message(message: Any) -> Said:
    said = said_message(message)
    return replace(said, citations=tuple((source, "") for source, _ in said.citations), searches=())


def _streamed_completion(frames: list[bytes]) -> Said:
    is_broken = frames[-1].startswith(b'data: {"error":')
    if is_broken and len(frames) == 1:
        return Said(finish="error")
    said = said_completion(json.loads(COMPLETIONS.fold(frames[:-1] if is_broken else frames)))
    return replace(said, finish="error") if is_broken else said


def _streamed_message(frames: list[bytes]) -> Said:
    is_broken = frames[-1].startswith(b"event: error")
    said = _told_message(assembled(frames[:-1] if is_broken else frames))
    return replace(said, finish="error") if is_broken else said


def _streamed_response(frames: list[bytes]) -> Said:
    events = events_of(frames)
    if events[-1]["type"] == "response.failed":
        return said_response(events[-1]["response"])
    return said_response(final_response(events))


_TOLD: dict[str, Callable[[Any], Said]] = {
    "responses": said_response,
    "chat": said_chat,
    "completions": said_completion,
    "messages": _told_message,
}
_STREAMED: dict[str, Callable[[list[bytes]], Said]] = {
    "responses": _streamed_response,
    "chat": _streamed_chat,
    "completions": _streamed_completion,
    "messages": _streamed_message,
}
