"""The JSON in the frames of WebSocket mode: what clients send, and how an error is told (specification, section 10)."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault
from antiphon.wire.json import Members, read_members, write_members

_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
_CODES: Final = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
"""What an error is called whose code is null: Open Responses wants a string."""


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """One frame of a client."""

    type: str
    """"" where it has none."""
    stream_id: str | None
    members: Members
    size: int
    """Bytes."""


def read_client_frame(data: bytes) -> ClientFrame:
    """Read a frame. Raises ClientFault."""
    members = read_members(data)
    raw = bytes(members.get("stream_id", b"null"))
    stream_id = None if raw == b"null" else _text(raw)
    if stream_id is not None and not _STREAM_ID.fullmatch(stream_id):
        raise ClientFault(
            "'stream_id' must be 1 to 256 letters, digits, dots, dashes or underscores.",
            code="invalid_stream_id",
            param="stream_id",
        )
    return ClientFrame(_text(bytes(members.get("type", b""))), stream_id, members, len(data))


def tagged(data: bytes, stream_id: str | None) -> bytes:
    """Put `stream_id` at the end of a JSON object, and leave the rest as it is."""
    if stream_id is None:
        return data
    inside = data.rstrip()[:-1]
    comma = b"" if inside.rstrip().endswith(b"{") else b","
    return b'%b%b"stream_id":"%b"}' % (inside, comma, stream_id.encode())


def error_frame(fault: GatewayError, stream_id: str | None = None) -> bytes:
    """Tell a fault."""
    return _error_frame(
        fault.status,
        {"type": fault.type, "code": fault.code, "message": fault.message, "param": fault.param},
        dict(fault.headers).get(b"retry-after"),
        stream_id,
    )


def error_frame_of(
    status: int, body: bytes, retry_after: bytes | None = None, stream_id: str | None = None
) -> bytes:
    """Tell the error in an HTTP answer, whatever it looks like; its message survives where it has one."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    return _error_frame(status, error if isinstance(error, dict) else {}, retry_after, stream_id)


def steer_failed_frame(asked: Members) -> bytes:
    """Refuse a `response.steer`, and give its input back."""
    steer = _given(asked, ("previous_response_id", "input"))
    return _failed_frame("steer", {"steer": write_members(steer)}, "steering_not_supported")


def inject_failed_frame(asked: Members) -> bytes:
    """Refuse a `response.inject`, and give its input back."""
    return _failed_frame("inject", _given(asked, ("response_id", "input")), "inject_not_supported")


def _given(members: Members, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: bytes(members[name]) for name in names if name in members}


def _failed_frame(name: str, told: dict[str, bytes], code: str) -> bytes:
    message = "A response that is under way cannot be changed here: send what is new with the next request."
    error = {"type": ClientFault.type, "code": code, "message": message}
    frame_type = b'"response.%b.failed"' % name.encode()
    return write_members({"type": frame_type, **told, "error": msgspec.json.encode(error)})


def _error_frame(
    status: int, error: dict[str, Any], retry_after: bytes | None, stream_id: str | None
) -> bytes:
    fault = ClientFault if status < 500 else UpstreamFault
    told: dict[str, Any] = {
        "type": str(error.get("type") or fault.type),
        "code": str(error.get("code") or _CODES.get(status) or fault.type),
        "message": str(error.get("message") or f"The answer has status {status}."),
        "param": error.get("param"),
    }
    if retry_after is not None:
        told["headers"] = {"retry-after": retry_after.decode("latin-1")}
    frame: dict[str, Any] = {"type": "error", "status": status, "error": told}
    if stream_id is not None:
        frame["stream_id"] = stream_id
    try:
        return msgspec.json.encode(frame)
    except UnicodeEncodeError:
        # Half of a surrogate pair, from what a client or an upstream had sent.
        return json.dumps(frame, separators=(",", ":")).encode()


def _text(raw: bytes) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
