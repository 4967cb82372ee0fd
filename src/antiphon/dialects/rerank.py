"""Reranking (`/v1/rerank`, `/v2/rerank`), in the forms of Cohere, Jina and Voyage: JSON only.

The forms differ in what else stands in them, which is the upstream's business. Common are a query and documents,
and in the answer a list of places with their scores.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from antiphon.dialects.chat.usage import read_usage
from antiphon.dialects.native import NativeRequest, read_request
from antiphon.dialects.unstreamed import Unstreamed
from antiphon.dialects.whole import WholeWatcher
from antiphon.recording import Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members
from antiphon.wire.objects import read_object

_RESULTS: Final = ("results", "data")
"""Voyage calls them data, as its embeddings do."""


RERANK: Final = Unstreamed("rerank", "Rankings", lambda: WholeWatcher(_judge))


def read_rerank(headers: Mapping[bytes, bytes], body: bytes) -> NativeRequest:
    """Read a request. Raises ClientFault for what no upstream could rank."""
    del headers
    request = read_request(RERANK.name, body)
    query, documents = (_needed(request.members, name) for name in ("query", "documents"))
    if not query.startswith((b'"', b"{")) or query == b'""':
        raise ClientFault(
            "'query' must be a text that is not empty, or an object.", code="invalid_type", param="query"
        )
    if not documents.startswith(b"["):
        raise ClientFault("'documents' must be a list.", code="invalid_type", param="documents")
    return request


def _needed(members: Members, name: str) -> bytes:
    if name not in members:
        raise ClientFault(
            f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
        )
    return bytes(members[name])


def _judge(body: bytes) -> Outcome:
    try:
        answer = read_object(body)
    except ValueError:
        return Outcome(State.FAILED, "invalid_json")
    if answer.get("error") or answer.get("object") == "error":
        return Outcome(State.FAILED, "upstream_error")
    if not any(isinstance(answer.get(name), list) for name in _RESULTS):
        return Outcome(State.FAILED, "no_results")
    return Outcome(
        State.COMPLETED,
        usage=usage_of(answer),
        response_id=_text(answer.get("id")),
        model=_text(answer.get("model")),
    )


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """Count what Jina and Voyage tell as `usage`, and Cohere as the tokens that it bills, if it bills by tokens."""
    told = read_usage(answer.get("usage"))
    if told is not None:
        return told
    try:
        meta = msgspec.convert(answer.get("meta"), _Meta)
    except msgspec.ValidationError:
        return NO_USAGE
    for units in (meta.billed_units, meta.tokens):
        if units is not None and (units.input_tokens or units.output_tokens):
            into, out = int(units.input_tokens or 0), int(units.output_tokens or 0)
            return Usage(input_tokens=into, output_tokens=out, total_tokens=into + out)
    return NO_USAGE


class _Units(msgspec.Struct):
    """Cohere writes counts as floats at times."""

    input_tokens: float | None = None
    output_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Units | None = None
    tokens: _Units | None = None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
