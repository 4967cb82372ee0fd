"""Answering with a fault where there is no recording to answer from."""

from antiphon.engine.rendition import JSON_TYPE
from antiphon.ports.reply import Reply
from antiphon.wire.error_forms import OPENAI_ERRORS, ErrorForm
from antiphon.wire.errors import GatewayError


def refuse(reply: Reply, request_id: bytes, fault: GatewayError, form: ErrorForm = OPENAI_ERRORS) -> None:
    """Answer with a fault, written as the clients of the route expect it."""
    headers = (JSON_TYPE, (b"x-request-id", request_id), *fault.headers)
    reply.send(fault.status, headers, form.write(fault, request_id.decode()))


def not_cached() -> GatewayError:
    """Only what is in the cache was wanted, and this is not."""
    return GatewayError(
        "The answer is not in the cache, and the request forbids to ask the upstream.",
        code="not_cached",
        status=504,
    )


def internal_error() -> GatewayError:
    """A defect of ours; the log tells more under the request's id."""
    return GatewayError("Internal error.", code="internal_error")
