"""How many tokens a request is: asked of its upstream where that counts, else counted here."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from antiphon.dialects.counting import COUNTERS
from antiphon.dialects.registry import CLIENTS
from antiphon.drivers import tokenizer
from antiphon.engine.asking import ask
from antiphon.engine.catalogue import Catalogue
from antiphon.engine.error_answers import redact
from antiphon.engine.source import Source
from antiphon.engine.translating import Translating
from antiphon.ports.upstream import UpstreamRequest
from antiphon.turn.request import HubRequest
from antiphon.turn.request_tokens import count_request
from antiphon.turn.tokens import template_of
from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault
from antiphon.wire.objects import write_object
from antiphon.wire.upstream_errors import read_error

_WITHIN: Final = 30.0
_NOT_THERE: Final = frozenset({404, 405, 501})


class Counted(NamedTuple):
    """A number of tokens, and who says so."""

    tokens: int
    by: str
    """`upstream`, `tokenizer` (the model's own vocabulary), or `estimate`."""


class Counting:
    """Counts requests of any client dialect."""

    def __init__(self, sources: Mapping[str, Source], catalogue: Catalogue, translating: Translating) -> None:
        """Ask `sources`."""
        self._sources = sources
        self._catalogue = catalogue
        self._translating = translating

    async def count(self, dialect: str, body: dict[str, object], owner: str) -> Counted:
        """Count a request of a client's dialect. Raises GatewayError."""
        request = CLIENTS[dialect].read(body)
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise ClientFault(
                "Missing required parameter: 'model'.", code="missing_required_parameter", param="model"
            )
        target = self._catalogue.resolve(name) or await self._catalogue.resolve_listed(name)
        source = self._sources[target.provider]
        told = await self._ask(source, target.model, request, owner)
        if told is not None:
            return told
        return await asyncio.to_thread(_count_here, request, target.model)

    async def _ask(self, source: Source, model: str, request: HubRequest, owner: str) -> Counted | None:
        """Ask the upstream; None if it does not count."""
        dialect = source.profile.translates_to
        counter = COUNTERS.get(dialect or "")
        if counter is None or dialect is None or not source.profile.counts:
            return None
        asking = self._translating.asking(source, model, request, owner, stream=False)
        body = write_object(counter.write(request, asking))
        sent = UpstreamRequest("input_tokens", counter.path(model), body)
        try:
            answer = await ask(source.upstream, sent, within=_WITHIN)
        except TimeoutError as error:
            raise UpstreamFault(
                "The upstream did not count in time.", code="upstream_first_byte_timeout", status=504
            ) from error
        if answer.status in _NOT_THERE:
            return None
        if answer.status >= 400:
            raise _told(answer.status, redact(answer.data, source.secrets), answer.content_type)
        return Counted(counter.read(answer.data), "upstream")


def _count_here(request: HubRequest, model: str) -> Counted:
    exact = True

    def count(text: str) -> int:
        nonlocal exact
        tokens, is_exact = tokenizer.count(text, model)
        exact = exact and is_exact
        return tokens

    tokens = count_request(request, count, template_of(model))
    return Counted(tokens, "tokenizer" if exact else "estimate")


def _told(status: int, body: bytes, content_type: bytes) -> GatewayError:
    error = read_error(body, content_type)
    fault = ClientFault if status < 500 else UpstreamFault
    return fault(
        error.message or f"The upstream answered with status {status}.",
        code=error.code or error.type or "upstream_error",
        param=error.param,
        status=status,
    )
