"""How errors look on the wire: one form for the OpenAI family, one for Anthropic Messages.

A form writes our own faults, and knows an upstream's error that is in this form already and needs no writing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from antiphon.wire.errors import GatewayError, error_body

_DECODE_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""https://platform.claude.com/docs/en/api/errors; 503 is not listed there, but means what 529 does."""
_KNOWN_TYPES = frozenset(_ANTHROPIC_TYPES.values())


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """The shape in which clients of a dialect expect errors."""

    write: Callable[[GatewayError, str], bytes]
    """(fault, the request's id or "") -> body"""
    holds: Callable[[bytes], bool]
    """Whether a body is an error in this form."""


class _Message(msgspec.Struct):
    message: str


class _TypedMessage(_Message):
    type: str


class _OpenAIError(msgspec.Struct):
    error: _Message
    type: Any = None


class _AnthropicError(msgspec.Struct):
    error: _TypedMessage
    type: Any = None


_openai = msgspec.json.Decoder(_OpenAIError).decode
_anthropic = msgspec.json.Decoder(_AnthropicError).decode


def _write_openai(fault: GatewayError, request_id: str) -> bytes:
    del request_id  # it goes out as a header
    return error_body(fault)


def _is_openai(body: bytes) -> bool:
    try:
        return bool(_openai(body).type != "error")
    except _DECODE_FAULTS:
        return False


def _write_anthropic(fault: GatewayError, request_id: str) -> bytes:
    error: dict[str, Any] = {"type": anthropic_type(fault), "message": _with_place(fault)}
    details = {"error_code": fault.code, "param": fault.param}
    details = {name: value for name, value in details.items() if value is not None}
    if details:
        error["details"] = details
    body: dict[str, Any] = {"type": "error", "error": error}
    if request_id:
        body["request_id"] = request_id
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # Half of a surrogate pair, from what a client or an upstream had sent.
        return json.dumps(body, separators=(",", ":")).encode()


def _with_place(fault: GatewayError) -> str:
    """Name the member that is wrong in front, as Anthropic does: its clients show nothing but the message."""
    if fault.param is None or fault.param in fault.message:
        return fault.message
    return f"{fault.param}: {fault.message}"


def _is_anthropic(body: bytes) -> bool:
    try:
        return bool(_anthropic(body).type == "error")
    except _DECODE_FAULTS:
        return False


def anthropic_type(fault: GatewayError) -> str:
    """Return Anthropic's type of a fault: its own where Anthropic has it, else that of its status."""
    if fault.type in _KNOWN_TYPES and fault.type != "invalid_request_error":
        return fault.type
    usual = "invalid_request_error" if fault.status < 500 else "api_error"
    return _ANTHROPIC_TYPES.get(fault.status, usual)


OPENAI_ERRORS = ErrorForm(_write_openai, _is_openai)
ANTHROPIC_ERRORS = ErrorForm(_write_anthropic, _is_anthropic)
