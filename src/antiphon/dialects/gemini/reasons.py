"""Why Gemini stopped, and what that makes of an answer (specification, section 15.7)."""

from typing import Any, Final, Literal

State = Literal["completed", "incomplete", "failed"]

_FILTERED: Final = ("incomplete", "content_filter")
_FAILED: Final = ("failed", None)

_ENDINGS: Final[dict[str, tuple[State, str | None]]] = {
    "STOP": ("completed", None),
    "MAX_TOKENS": ("incomplete", "max_output_tokens"),
    "SAFETY": _FILTERED,
    "RECITATION": _FILTERED,
    "LANGUAGE": _FILTERED,
    "BLOCKLIST": _FILTERED,
    "PROHIBITED_CONTENT": _FILTERED,
    "SPII": _FILTERED,
    "MODEL_ARMOR": _FILTERED,
    "IMAGE_SAFETY": _FILTERED,
    "IMAGE_PROHIBITED_CONTENT": _FILTERED,
    "IMAGE_RECITATION": _FILTERED,
    "IMAGE_OTHER": _FILTERED,
    "NO_IMAGE": _FAILED,
    "OTHER": _FAILED,
    "MALFORMED_FUNCTION_CALL": _FAILED,
    "UNEXPECTED_TOOL_CALL": _FAILED,
    "TOO_MANY_TOOL_CALLS": _FAILED,
    "MALFORMED_RESPONSE": _FAILED,
    "MISSING_THOUGHT_SIGNATURE": _FAILED,
}
"""Reasons that are not known yet count as failed."""

_FINISH_NUMBERS: Final = (
    *("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "LANGUAGE"),
    *("BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY"),
    *("UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
)
_BLOCK_NUMBERS: Final = (
    *("BLOCK_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY"),
)

_CODES: Final = {
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "INTERNAL": "server_error",
    "UNAVAILABLE": "server_error",
    "DEADLINE_EXCEEDED": "server_error",
    "UNKNOWN": "server_error",
}
_NO_MESSAGE: Final = "The upstream reported an error in the middle of its answer."


def finish_reason(value: Any) -> str:
    """Return the name of a finish reason, which may come as the number of an enum."""
    return _name(value, _FINISH_NUMBERS)


def block_reason(value: Any) -> str:
    """Return the name of the reason why a prompt was blocked."""
    return _name(value, _BLOCK_NUMBERS)


def ending(reason: str) -> tuple[State, str | None]:
    """Return what an answer with this finish reason is, and why it is incomplete."""
    return _ENDINGS.get(reason, _FAILED)


def error_of(error: Any) -> tuple[str, str]:
    """Return the code and message of an error that stands in the place of an answer."""
    if not isinstance(error, dict):
        return "upstream_error", str(error or _NO_MESSAGE)
    status = str(error.get("status") or "")
    code = _CODES.get(status, status.lower()) or "upstream_error"
    return code, str(error.get("message") or _NO_MESSAGE)


def _name(value: Any, numbers: tuple[str, ...]) -> str:
    if isinstance(value, int) and 0 <= value < len(numbers):
        return numbers[value]
    return str(value)
