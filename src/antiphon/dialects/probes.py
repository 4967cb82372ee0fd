"""How each type of provider is probed: where its models are listed, and what it is asked for one short answer.

A new type is one more row of `PROBES`. `docs/check.md` says what comes of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.probe_models import Listed, read_gemini, read_ollama, read_openai
from antiphon.dialects.probe_reading import (
    LINES,
    SSE,
    Framing,
    Reading,
    Sketch,
    SketchWatcher,
    member,
    text_of,
)
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.signs import Speaker
from antiphon.recording import Mode
from antiphon.wire.objects import JsonObject

_PROMPT: Final = "Answer with the one word: ready"
_MOST_TOKENS: Final = 16
"""The least that OpenAI's Responses API takes."""
_NO_USAGE: Final = "it refuses to be asked for usage in streams: set `usage_in_streams: false`"
_DELTAS: Final = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal")
_ENDPOINT: Final = re.compile(
    r"(/(chat/completions|completions|responses|embeddings|models|messages|chat|generate|tags|api))+$"
)
_VERSION: Final = re.compile(r"(/v\d+((alpha|beta)\d*)?)+$")


@dataclass(frozen=True, slots=True)
class Question:
    """One way to ask for a short streamed answer."""

    dialect: str
    path: str
    """Below the base URL."""
    body: bytes
    reading: Callable[[], Reading]
    blames: str = ""
    """The step that has failed if this question is answered and those before it were refused, …"""
    mend: str = ""
    """… and what to do about it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A row of the table."""

    speaks: str
    """What the type is expected to speak, in words."""
    speaker: Speaker
    """Whose errors it is expected to give."""
    models_path: str
    read_models: Callable[[bytes], list[Listed]]
    """Reads the list; ValueError for anything else."""
    ask: Callable[[str, bool], tuple[Question, ...]]
    """(model, whether to ask for usage): the ways to ask, the next for where one was refused."""
    suffix: str = ""
    """How base URLs of this type usually end."""
    cousins: tuple[str, ...] = ()
    """Types that are often found where this one was configured."""


def stem_of(base_url: str) -> str:
    """A base URL without its version, and without an endpoint that was copied along."""
    return _VERSION.sub("", _ENDPOINT.sub("", base_url.rstrip("/")))


def other_base_urls(base_url: str, suffix: str) -> tuple[str, ...]:
    """Base URLs at the same host that may have been meant, the likeliest first."""
    stem = stem_of(base_url)
    parts = urlsplit(base_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    candidates = (stem + suffix, stem, f"{stem}/api{suffix}", origin + suffix, origin)
    return tuple(url for url in dict.fromkeys(candidates) if url != base_url.rstrip("/"))


def _chat_has_text(event: JsonObject) -> bool:
    deltas = [member(choice, "delta") for choice in member(event, "choices") or ()]
    return any(member(delta, name) for delta in deltas for name in _DELTAS)


def _responses_has_text(event: JsonObject) -> bool:
    return str(event.get("type")).endswith(".delta")


def _read_chat() -> Reading:
    return Reading(SSE, CHAT.watch(Mode.STREAM), _chat_has_text)


def _completions_has_text(event: JsonObject) -> bool:
    return any(member(choice, "text") for choice in member(event, "choices") or ())


def _read_completions() -> Reading:
    return Reading(SSE, COMPLETIONS.watch(Mode.STREAM), _completions_has_text)


def _read_responses() -> Reading:
    return Reading(SSE, RESPONSES.watch(Mode.STREAM), _responses_has_text)


def _ask_chat(model: str, usage: bool) -> tuple[Question, ...]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": _MOST_TOKENS,
        "stream": True,
    }
    asking = body | ({"stream_options": {"include_usage": True}} if usage else {})
    # OpenAI's reasoning models know only the newer name, and many others only the older.
    renamed = {name: value for name, value in asking.items() if name != "max_tokens"}
    questions = (_chat(asking), _chat(renamed | {"max_completion_tokens": _MOST_TOKENS}))
    if not usage:
        return questions
    return (*questions, _chat(body, blames="answer", mend=_NO_USAGE))


def _chat(body: Mapping[str, object], blames: str = "", mend: str = "") -> Question:
    return Question("chat", "/chat/completions", msgspec.json.encode(body), _read_chat, blames, mend)


def _ask_chat_silently(model: str, _usage: bool) -> tuple[Question, ...]:
    return _ask_chat(model, usage=False)  # its streams have usage unasked, and it refuses to be asked


def _ask_completions(model: str, usage: bool) -> tuple[Question, ...]:
    body = {"model": model, "prompt": _PROMPT, "max_tokens": _MOST_TOKENS, "stream": True}
    asking = body | ({"stream_options": {"include_usage": True}} if usage else {})
    first = _completion(asking)
    return (first, _completion(body, "answer", _NO_USAGE)) if usage else (first,)


def _completion(body: Mapping[str, object], blames: str = "", mend: str = "") -> Question:
    return Question("completions", "/completions", msgspec.json.encode(body), _read_completions, blames, mend)


def _ask_responses(model: str, _usage: bool) -> tuple[Question, ...]:
    body = {
        "model": model,
        "input": _PROMPT,
        "max_output_tokens": _MOST_TOKENS,
        "stream": True,
        "store": False,
    }
    return (Question("responses", "/responses", msgspec.json.encode(body), _read_responses),)


def _ask_openai(model: str, usage: bool) -> tuple[Question, ...]:
    mend = "it has chat completions but no Responses API: set `type: openai-chat`"
    (chat, renamed, *_) = _ask_chat(model, usage)
    fallbacks = (
        Question(each.dialect, each.path, each.body, each.reading, "dialect", mend)
        for each in (chat, renamed)
    )
    return (*_ask_responses(model, usage), *fallbacks)


def _ask_playback(model: str, usage: bool) -> tuple[Question, ...]:
    return (*_ask_responses(model, usage), _ask_chat(model, usage)[0])


def _ask_anthropic(model: str, _usage: bool) -> tuple[Question, ...]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": _MOST_TOKENS,
        "stream": True,
    }
    return (Question("messages", "/messages", msgspec.json.encode(body), lambda: _sketched(_MESSAGES)),)


def _ask_gemini(model: str, _usage: bool) -> tuple[Question, ...]:
    body = {
        "contents": [{"role": "user", "parts": [{"text": _PROMPT}]}],
        "generationConfig": {"maxOutputTokens": _MOST_TOKENS},
    }
    path = f"/models/{quote(model.removeprefix('models/'))}:streamGenerateContent?alt=sse"
    return (Question("gemini", path, msgspec.json.encode(body), lambda: _sketched(_GEMINI)),)


def _ask_ollama(model: str, _usage: bool) -> tuple[Question, ...]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "options": {"num_predict": _MOST_TOKENS},
        "stream": True,
    }
    return (Question("ollama", "/api/chat", msgspec.json.encode(body), lambda: _sketched(_OLLAMA, LINES)),)


def _sketched(sketch: Sketch, framing: Framing = SSE) -> Reading:
    return Reading(framing, SketchWatcher(sketch, framing), sketch.has_text)


_MESSAGES: Final = Sketch(
    has_text=lambda event: event.get("type") == "content_block_delta",
    reason=lambda event: text_of(member(event, "delta", "stop_reason")),
    is_last=lambda event: event.get("type") == "message_stop",
    limits=frozenset({"max_tokens", "model_context_window_exceeded"}),
    usage=lambda event: member(event, "usage") or member(event, "message", "usage"),
    counts=(("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"), ("output_tokens",)),
)

_GEMINI: Final = Sketch(
    has_text=lambda event: bool(member(event, "candidates", 0, "content", "parts")),
    # With integer enums the reason is a number.
    reason=lambda event: text_of(str(member(event, "candidates", 0, "finishReason") or "")),
    is_last=None,
    limits=frozenset({"MAX_TOKENS", "2"}),
    usage=lambda event: member(event, "usageMetadata"),
    counts=(("promptTokenCount", "toolUsePromptTokenCount"), ("candidatesTokenCount", "thoughtsTokenCount")),
)

_OLLAMA: Final = Sketch(
    has_text=lambda event: bool(member(event, "message", "content") or member(event, "message", "thinking")),
    reason=lambda event: text_of(event.get("done_reason")),
    is_last=lambda event: event.get("done") is True,
    limits=frozenset({"length"}),
    usage=lambda event: event if event.get("done") is True else None,
    counts=(("prompt_eval_count",), ("eval_count",)),
)

_OPENAI: Final = Probe(
    speaks="OpenAI's API with Responses",
    speaker=Speaker.OPENAI,
    models_path="/models",
    read_models=read_openai,
    ask=_ask_openai,
    suffix="/v1",
    cousins=("ollama",),
)
_CHAT: Final = replace(_OPENAI, speaks="OpenAI's chat completions", ask=_ask_chat)

PROBES: Final[Mapping[str, Probe]] = {
    "openai": _OPENAI,
    "azure": replace(_OPENAI, suffix="/openai/v1", cousins=()),
    "xai": replace(_OPENAI, cousins=()),
    "openai-chat": _CHAT,
    "openai-completions": replace(_CHAT, speaks="OpenAI's text completions", ask=_ask_completions),
    **dict.fromkeys(("vllm", "llamacpp", "lmstudio"), _CHAT),
    **dict.fromkeys(("deepseek", "together"), replace(_CHAT, cousins=())),
    "groq": replace(_CHAT, suffix="/openai/v1", cousins=()),
    "mistral": replace(_CHAT, ask=_ask_chat_silently, cousins=()),
    "openrouter": replace(_CHAT, suffix="/api/v1", cousins=()),
    "anthropic": Probe(
        speaks="Anthropic's API",
        speaker=Speaker.ANTHROPIC,
        models_path="/models?limit=1000",
        read_models=read_openai,
        ask=_ask_anthropic,
        suffix="/v1",
    ),
    "gemini": Probe(
        speaks="Gemini's API",
        speaker=Speaker.GEMINI,
        models_path="/models?pageSize=1000",
        read_models=read_gemini,
        ask=_ask_gemini,
        suffix="/v1beta",
    ),
    "ollama": Probe(
        speaks="Ollama's own API",
        speaker=Speaker.OLLAMA,
        models_path="/api/tags",
        read_models=read_ollama,
        ask=_ask_ollama,
        cousins=("openai-chat",),
    ),
    "playback": Probe(
        speaks="recordings",
        speaker=Speaker.OPENAI,
        models_path="/models",
        read_models=read_openai,
        ask=_ask_playback,
    ),
}
"""By the type of provider."""
