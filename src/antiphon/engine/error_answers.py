"""An upstream's own error, as a client is told of it: with its status, in its dialect, and without our key to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from antiphon.recording import Head
from antiphon.turn.chain import in_own_input, is_inherited
from antiphon.turn.history import Context
from antiphon.wire.error_forms import ErrorForm
from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault
from antiphon.wire.objects import read_object, write_object
from antiphon.wire.upstream_errors import read_error

MAX_ERROR_BYTES = 1024 * 1024
_JSON_TYPE = b"application/json"
_REDACTED = b"[redacted]"
_SHORTEST_SECRET = 8
"""What is shorter is no secret but a word (`ollama`, `EMPTY`, `none`) that may stand in any message."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An upstream's own error, to be passed on."""

    status: int
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    """As the upstream wrote it."""

    def told(
        self, form: ErrorForm, request_id: str, *, is_native: bool = True, context: Context | None = None
    ) -> tuple[bytes, bytes]:
        """Return content type and body for a client that expects `form`, about a request that was sent in `context`.

        They are as they came where a native error is in that form; one of another dialect may only look like it.
        """
        if is_native and form.holds(self.body):
            return self.content_type, self._in_own_places(context)
        error = read_error(self.body, self.content_type)
        told = (ClientFault if self.status < 500 else UpstreamFault)(
            error.message or f"The upstream answered with status {self.status}.",
            code=error.code or error.type or "upstream_error",
            param=error.param,
            status=self.status,
            kind=error.type,
        )
        return _JSON_TYPE, form.write(in_own_places(told, context), request_id)

    def _in_own_places(self, context: Context | None) -> bytes:
        if context is None or not context.inherited or b"input" not in self.body:
            return self.body
        told = read_object(self.body)
        error = told["error"]
        fault = ClientFault(str(error.get("message") or ""), param=error.get("param"))
        mended = in_own_places(fault, context)
        if (mended.message, mended.param) == (fault.message, fault.param):
            return self.body
        return write_object(told | {"error": error | {"message": mended.message, "param": mended.param}})


def in_own_places(fault: GatewayError, context: Context | None) -> GatewayError:
    """Return a fault whose places are those in the client's own `input`, which may have been continued from more."""
    if context is None or not context.inherited:
        return fault
    before, is_text, param = context.inherited, context.is_text, fault.param
    if isinstance(param, str):
        is_before = is_inherited(param, before)
        param = "previous_response_id" if is_before else in_own_input(param, before, is_text=is_text)
    return type(fault)(
        in_own_input(fault.message, before, is_text=is_text),
        code=fault.code,
        param=param,
        status=fault.status,
        kind=fault.type,
        headers=fault.headers,
    )


class _Answer(msgspec.Struct):
    object: Any = None
    error: Any = None
    code: Any = None


_answer = msgspec.json.Decoder(_Answer).decode


def secrets_of(api_key: str | None, headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return what must not be shown of what authenticates us: values, and credentials behind their scheme."""
    values = [api_key or "", *headers.values()]
    values += [value.rpartition(" ")[2] for value in headers.values()]
    found = {value.encode() for value in values if len(value) >= _SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))


def redact(text: bytes, secrets: Iterable[bytes]) -> bytes:
    """Blank out `secrets`."""
    for secret in secrets:
        text = text.replace(secret, _REDACTED)
    return text


def error_answer(head: Head, body: bytes) -> ErrorAnswer:
    """Return the error of an answer whose status is one."""
    return ErrorAnswer(head.status, head.content_type, head.headers, body)


def hidden_error(head: Head, body: bytes) -> ErrorAnswer | None:
    """Return the error that a body with status 200 is instead of an answer, if it is one."""
    answer = _decoded(body)
    if answer is None or answer.object == "response" or not (answer.error or answer.object == "error"):
        return None
    code = answer.error.get("code") if isinstance(answer.error, dict) else answer.code
    # The status is in there at OpenRouter: https://openrouter.ai/docs/api/reference/errors-and-debugging
    status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    return ErrorAnswer(status, head.content_type, head.headers, body)


def not_followed(status: int) -> UpstreamFault:
    """A redirect: following it would send our key to somebody who is not configured."""
    return UpstreamFault(
        f"The upstream answered with status {status}, which is not followed.", code="upstream_status"
    )


def _decoded(body: bytes) -> _Answer | None:
    try:
        return _answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
