"""The routes under `/admin/v1/cache`: what is in the cache, and taking it out."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from antiphon.engine.curating import Curating, Outcome, read_order
from antiphon.engine.tasks import Tasks
from antiphon.gateway.admin import PREFIX, require_admin
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.kept_query import read_query
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.wire.errors import ClientFault

_JSON: Final = (b"content-type", b"application/json")


class CacheAdmin:
    """Handlers over both levels of the cache."""

    def __init__(self, curating: Curating | None, admin_key: str | None, tasks: Tasks) -> None:
        """Carry out orders of whoever has the admin key; without a cache there is nothing to do."""
        self._curating = curating
        self._admin_key = admin_key
        self._tasks = tasks

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        at = PREFIX + "/cache/"
        return {
            ("GET", at + "stats"): self._later(lambda curating, _: curating.stats()),
            ("GET", at + "entries"): self._later(lambda curating, order: curating.entries(order)),
            ("POST", at + "purge"): self._later(lambda curating, order: curating.purge(order)),
            ("POST", at + "pin"): self._later(lambda curating, order: curating.pin(order)),
            ("POST", at + "unpin"): self._later(lambda curating, order: curating.unpin(order)),
            ("POST", at + "wrong"): self._later(lambda curating, order: curating.wrong(order)),
        }

    def _later(self, carry_out: Callable[[Curating, dict[str, Any]], Awaitable[Outcome]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            require_admin(request.headers, self._admin_key)
            curating = self._curating
            if curating is None:
                raise ClientFault("There is no cache in the configuration.", code="no_cache", status=404)
            order = read_order(request.body) if request.method == b"POST" else _asked(request.query)

            async def answer() -> tuple[int, Headers, bytes]:
                return 200, (_JSON,), msgspec.json.encode(await carry_out(curating, order))

            answer_later(self._tasks, request_id, reply, answer)

        return handler


def _asked(query: bytes) -> dict[str, Any]:
    order: dict[str, Any] = {name: values[-1] for name, values in read_query(query).items()}
    if order.get("limit", "").isdecimal():
        order["limit"] = int(order["limit"])
    return order
