"""Token counts as Gemini reports them: cumulative, in every chunk, thoughts and tool results beside the rest."""

from typing import Annotated, Any, Final

import msgspec

from antiphon.turn.usage import Usage

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_AUDIO: Final = ("AUDIO", 4)
"""The modality's name, and its number where enums are integers."""


class _Detail(msgspec.Struct, rename="camel"):
    modality: str | int = ""
    token_count: _Count = 0


class _WireUsage(msgspec.Struct, rename="camel"):
    prompt_token_count: _Count | None = None
    candidates_token_count: _Count | None = None
    total_token_count: _Count | None = None
    cached_content_token_count: _Count = 0
    thoughts_token_count: _Count = 0
    tool_use_prompt_token_count: _Count = 0
    prompt_tokens_details: list[_Detail] = []
    candidates_tokens_details: list[_Detail] = []


def read_usage(value: Any) -> Usage | None:
    """Map a `usageMetadata` object; None where it is malformed or counts nothing."""
    try:
        wire = msgspec.convert(value, _WireUsage)
    except msgspec.ValidationError:
        return None
    if wire.prompt_token_count is None and wire.candidates_token_count is None:
        return None
    input_tokens = (wire.prompt_token_count or 0) + wire.tool_use_prompt_token_count
    output_tokens = (wire.candidates_token_count or 0) + wire.thoughts_token_count
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=wire.total_token_count or input_tokens + output_tokens,
        cached_tokens=wire.cached_content_token_count,
        reasoning_tokens=wire.thoughts_token_count,
        audio_input_tokens=_audio(wire.prompt_tokens_details),
        audio_output_tokens=_audio(wire.candidates_tokens_details),
    )


def _audio(details: list[_Detail]) -> int:
    return sum(detail.token_count for detail in details if detail.modality in _AUDIO)
