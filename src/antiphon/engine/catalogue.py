"""Which models there are: those configured, and those that the upstreams list when asked."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from antiphon.dialects.model_lists import model_list_of
from antiphon.engine.asking import ask
from antiphon.engine.source import Source
from antiphon.ports.upstream import UpstreamRequest
from antiphon.routing.names import Resolver, Target
from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault

_log = logging.getLogger(__name__)

_VALID_SECONDS = 300.0
_RETRY_SECONDS = 30.0
_LIST_SECONDS = 10.0
_OK = 200


class Catalogue:
    """Resolves model names; asks the upstreams for their lists when a name needs it."""

    def __init__(
        self,
        resolver: Resolver,
        sources: Mapping[str, Source],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know the configured names, and the lists of providers that have one in their settings."""
        self._resolver = resolver
        self._sources = sources
        self._clock = clock
        self._listed: dict[str, Sequence[str]] = {
            name: source.settings.models
            for name, source in sources.items()
            if source.settings.models is not None
        }
        self._due = dict.fromkeys(set(sources) - set(self._listed), 0.0)
        self._refreshing = asyncio.Lock()

    def resolve(self, name: str) -> Target | None:
        """Return the target of a name, or None if the upstreams have to be asked. Raises ClientFault."""
        try:
            return self._resolver.resolve(name, self._listed)
        except ClientFault as fault:
            if fault.code == "model_not_found":
                if self._overdue():
                    return None
                if (other := self._resolver.other(name)) is not None:
                    return other
            raise

    async def resolve_listed(self, name: str) -> Target:
        """Return the target of a name after asking the upstreams. Raises ClientFault."""
        await self._refresh()
        try:
            return self._resolver.resolve(name, self._listed)
        except ClientFault as fault:
            other = self._resolver.other(name) if fault.code == "model_not_found" else None
            if other is None:
                raise
            return other

    async def names(self) -> list[str]:
        """Return the names that clients may use."""
        await self._refresh()
        return self._resolver.names(self._listed)

    def _overdue(self) -> list[str]:
        now = self._clock()
        return [name for name, due in self._due.items() if due <= now]

    async def _refresh(self) -> None:
        async with self._refreshing:
            names = self._overdue()
            lists = await asyncio.gather(*(_list_models(self._sources[name]) for name in names))
            now = self._clock()
            for name, models in zip(names, lists, strict=True):
                self._due[name] = now + (_RETRY_SECONDS if models is None else _VALID_SECONDS)
                if models is not None:
                    self._listed[name] = models


async def _list_models(source: Source) -> list[str] | None:
    """Ask one upstream; None if it gives no list, which is not a fault of the client that asks."""
    listing = model_list_of(source.profile)
    request = UpstreamRequest("models", listing.path, method="GET")
    try:
        answer = await ask(source.upstream, request, within=_LIST_SECONDS)
        if answer.status != _OK:
            raise UpstreamFault(f"status {answer.status}", code="upstream_error")
        return listing.read(answer.data)
    except (TimeoutError, GatewayError, ValueError, RecursionError) as error:
        _log.warning("provider %s gives no list of models: %s", source.name, error)
        return None
