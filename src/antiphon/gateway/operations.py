"""The routes for those who run the gateway: alive, ready, metrics; and the list of models."""

from collections.abc import Awaitable, Callable

import msgspec

from antiphon.engine.catalogue import Catalogue
from antiphon.engine.tasks import Tasks
from antiphon.gateway.admin import require_admin_or_local
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.metrics import CONTENT_TYPE
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply

_NOT_NEEDED = frozenset({"cache"})
"""Parts without which everything goes on, only slower or dearer."""
_JSON = (b"content-type", b"application/json")


class Operations:
    """Handlers that look at the gateway itself."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        keyring: Keyring,
        admin_key: str | None,
        tasks: Tasks,
        readiness: Callable[[], Awaitable[dict[str, str]]],
        metrics: Callable[[], Awaitable[bytes]],
    ) -> None:
        """`readiness` tells the state of each part: `ok`, or what is wrong with it."""
        self._catalogue = catalogue
        self._keyring = keyring
        self._admin_key = admin_key
        self._tasks = tasks
        self._readiness = readiness
        self._metrics = metrics

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes that every process has."""
        return {
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._serve_metrics,
        }

    def models(self) -> dict[tuple[str, str], Handler]:
        """Return the route of the list of models."""
        return {("GET", "/v1/models"): self._models}

    def _healthz(self, request: Request, request_id: bytes, reply: Reply) -> None:  # noqa: ARG002
        reply.send(200, (_JSON,), b'{"status":"ok"}')

    def _readyz(self, request: Request, request_id: bytes, reply: Reply) -> None:  # noqa: ARG002
        async def answer() -> tuple[int, Headers, bytes]:
            parts = await self._readiness()
            bad = {name for name, state in parts.items() if state != "ok"}
            status = "unavailable" if bad - _NOT_NEEDED else "degraded" if bad else "ok"
            body = msgspec.json.encode({"status": status, "parts": parts})
            return 503 if status == "unavailable" else 200, (_JSON,), body

        answer_later(self._tasks, request_id, reply, answer)

    def _serve_metrics(self, request: Request, request_id: bytes, reply: Reply) -> None:
        require_admin_or_local(request, self._admin_key)

        async def answer() -> tuple[int, Headers, bytes]:
            return 200, ((b"content-type", CONTENT_TYPE),), await self._metrics()

        answer_later(self._tasks, request_id, reply, answer)

    def _models(self, request: Request, request_id: bytes, reply: Reply) -> None:
        self._keyring.owner(request.headers)

        async def answer() -> tuple[int, Headers, bytes]:
            names = await self._catalogue.names()
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "antiphon"} for name in names]
            return 200, (_JSON,), msgspec.json.encode({"object": "list", "data": data})

        answer_later(self._tasks, request_id, reply, answer)
