"""Answering with a fault where there is no recording to answer from."""

from antiphon.engine.rendition import JSON_TYPE
from antiphon.ports.reply import Reply
from antiphon.wire.errors import GatewayError, error_body


def refuse(reply: Reply, request_id: bytes, fault: GatewayError) -> None:
    """Answer with a fault."""
    reply.send(fault.status, (JSON_TYPE, (b"x-request-id", request_id), *fault.headers), error_body(fault))


def internal_error() -> GatewayError:
    """A defect of ours; the log tells more under the request's id."""
    return GatewayError("Internal error.", code="internal_error")
