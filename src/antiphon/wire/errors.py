"""The faults that a client may be told about, and the OpenAI error body that tells them.

Status decides the class that client libraries raise; `code` and `param` say what to mend.
"""

import json

import msgspec


class GatewayError(Exception):
    """A fault with everything that a client needs to be told."""

    status: int = 500
    type: str = "server_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        kind: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Carry `message` for the client; `kind` is its type where that is not the usual one.

        `headers` go out with the answer.
        """
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers
        if status is not None:
            self.status = status
        if kind is not None:
            self.type = kind


class ClientFault(GatewayError):
    """The request cannot be served as it is."""

    status = 400
    type = "invalid_request_error"


class UpstreamFault(GatewayError):
    """The upstream broke its promise, before or in the middle of its answer."""

    status = 502
    type = "server_error"


class StoreFault(GatewayError):
    """Storage that the request needs is gone for now."""

    status = 503
    type = "server_error"


def error_body(fault: GatewayError) -> bytes:
    """Render the error envelope of the Responses API specification, section 1.2."""
    error = {"message": fault.message, "type": fault.type, "param": fault.param, "code": fault.code}
    try:
        return msgspec.json.encode({"error": error})
    except UnicodeEncodeError:
        # Half of a surrogate pair, from what a client or an upstream had sent.
        return json.dumps({"error": error}, separators=(",", ":")).encode()
