"""The routes under `/admin/v1/cache`: what is in the cache, and taking it out."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from antiphon.cache.selecting import Selector
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.tasks import Tasks
from antiphon.gateway.admin import PREFIX, require_admin
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.ports.stores import CacheLevel
from antiphon.wire.errors import ClientFault

_JSON: Final = (b"content-type", b"application/json")


class _Purge(msgspec.Struct, forbid_unknown_fields=True):
    key: str | None = None
    model: str | None = None
    tag: str | None = None
    scope: str | None = None


class CacheAdmin:
    """Handlers over both levels of the cache."""

    def __init__(
        self, memory: MemoryCache, level: CacheLevel | None, admin_key: str | None, tasks: Tasks
    ) -> None:
        """Look into `memory` and `level` for whoever has the admin key."""
        self._memory = memory
        self._level = level
        self._admin_key = admin_key
        self._tasks = tasks

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("GET", PREFIX + "/cache/stats"): self._later(self._stats),
            ("POST", PREFIX + "/cache/purge"): self._later(self._purge),
        }

    def _later(self, body_for: Callable[[Request], Awaitable[object]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            require_admin(request.headers, self._admin_key)

            async def answer() -> tuple[int, Headers, bytes]:
                return 200, (_JSON,), msgspec.json.encode(await body_for(request))

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    async def _stats(self, request: Request) -> object:  # noqa: ARG002
        return {
            "memory": {
                "entries": len(self._memory),
                "bytes": self._memory.size,
                "evictions": self._memory.evictions,
            }
        }

    async def _purge(self, request: Request) -> object:
        selector = _selector(request.body)
        removed = {entry.digest for entry in self._memory.select(selector)}
        for digest in removed:
            self._memory.remove(digest)
        stored = 0 if self._level is None else await self._level.remove(selector)
        return {"removed": max(len(removed), stored)}


def _selector(body: bytes) -> Selector:
    try:
        asked = msgspec.json.decode(body, type=_Purge)
        digest = None if asked.key is None else bytes.fromhex(asked.key)
    except (msgspec.DecodeError, ValueError) as error:
        raise ClientFault(f"The body says no entries to purge: {error}.", code="invalid_value") from error
    return Selector(digest=digest, model=asked.model, tag=asked.tag, scope=asked.scope)
