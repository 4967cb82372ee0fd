"""Token counts as Anthropic reports them: what came from its prompt cache is counted beside the input, not in it."""

from typing import Annotated, Any

import msgspec

from antiphon.turn.usage import NO_USAGE, Usage

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _OutputDetails(msgspec.Struct):
    thinking_tokens: _Count | None = None


_NO_DETAILS = _OutputDetails()


class _WireUsage(msgspec.Struct):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    output_tokens_details: _OutputDetails | None = None


def read_usage(value: Any) -> Usage:
    """Map a `usage` object; NO_USAGE where it is malformed or counts nothing."""
    try:
        wire = msgspec.convert(value, _WireUsage)
    except msgspec.ValidationError:
        return NO_USAGE
    if wire.input_tokens is None and wire.output_tokens is None:
        return NO_USAGE
    written, read = wire.cache_creation_input_tokens or 0, wire.cache_read_input_tokens or 0
    input_tokens = (wire.input_tokens or 0) + written + read
    output_tokens = wire.output_tokens or 0
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=(wire.output_tokens_details or _NO_DETAILS).thinking_tokens or 0,
    )


def merged_usage(before: Any, after: Any) -> Any:
    """Return usage as it stands after another event: counts are totals, so the latest that is told stands."""
    if not isinstance(after, dict) or not isinstance(before, dict):
        return before if after is None else after
    told = {name: value for name, value in after.items() if value is not None or name not in before}
    return before | told
