"""Token counts as OpenAI's older APIs and their many imitators report them."""

from typing import Annotated, Any

import msgspec

from antiphon.turn.usage import Usage

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None
    audio_tokens: _Count | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None


_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()


class _WireUsage(msgspec.Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: _Count | None = None
    """DeepSeek."""
    cached_tokens: _Count | None = None
    """Moonshot."""


def read_usage(value: Any) -> Usage | None:
    """Map a `usage` object; None where it is malformed or counts nothing."""
    try:
        wire = msgspec.convert(value, _WireUsage)
    except msgspec.ValidationError:
        return None
    if wire.prompt_tokens is None and wire.completion_tokens is None and wire.total_tokens is None:
        return None
    prompt = wire.prompt_tokens_details or _NO_PROMPT_DETAILS
    completion = wire.completion_tokens_details or _NO_COMPLETION_DETAILS
    output_tokens = wire.completion_tokens or 0
    input_tokens = wire.prompt_tokens
    if input_tokens is None:
        # Voyage's embeddings count only the total.
        input_tokens = max(0, (wire.total_tokens or 0) - output_tokens)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=wire.total_tokens or input_tokens + output_tokens,
        cached_tokens=prompt.cached_tokens or wire.prompt_cache_hit_tokens or wire.cached_tokens or 0,
        cache_write_tokens=prompt.cache_write_tokens or 0,
        reasoning_tokens=completion.reasoning_tokens or 0,
        audio_input_tokens=prompt.audio_tokens or 0,
        audio_output_tokens=completion.audio_tokens or 0,
    )
