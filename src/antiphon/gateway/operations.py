"""The routes for those who run the gateway: alive, ready, metrics; and the list of models."""

from collections.abc import Awaitable, Callable

import msgspec

from antiphon.engine.catalogue import Catalogue
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import Handler, refuse
from antiphon.gateway.keys import Keyring, is_admin
from antiphon.gateway.metrics import CONTENT_TYPE
from antiphon.gateway.request import Request
from antiphon.ports.reply import Reply
from antiphon.settings import is_loopback
from antiphon.wire.errors import ClientFault, GatewayError

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
        """Return the routes."""
        return {
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._serve_metrics,
            ("GET", "/v1/models"): self._models,
        }

    def _healthz(self, request: Request, request_id: bytes, reply: Reply) -> None:  # noqa: ARG002
        reply.send(200, (_JSON,), b'{"status":"ok"}')

    def _readyz(self, request: Request, request_id: bytes, reply: Reply) -> None:  # noqa: ARG002
        async def run() -> None:
            parts = await self._readiness()
            ready = all(state == "ok" for state in parts.values())
            body = msgspec.json.encode({"status": "ok" if ready else "unavailable", "parts": parts})
            reply.send(200 if ready else 503, (_JSON,), body)

        self._tasks.start(run(), f"readyz {request_id.decode()}")

    def _serve_metrics(self, request: Request, request_id: bytes, reply: Reply) -> None:
        if self._admin_key is not None:
            if not is_admin(request.headers, self._admin_key):
                raise ClientFault("The admin key is needed.", code="invalid_api_key", status=401)
        elif not is_loopback(request.peer or "127.0.0.1"):
            raise ClientFault("Without an admin key only this host may look.", code="forbidden", status=403)

        async def run() -> None:
            text = await self._metrics()
            reply.send(200, ((b"content-type", CONTENT_TYPE),), text)

        self._tasks.start(run(), f"metrics {request_id.decode()}")

    def _models(self, request: Request, request_id: bytes, reply: Reply) -> None:
        self._keyring.owner(request.headers)

        async def run() -> None:
            try:
                names = await self._catalogue.names()
            except GatewayError as fault:
                refuse(reply, request_id, fault)
                return
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "antiphon"} for name in names]
            body = msgspec.json.encode({"object": "list", "data": data})
            reply.send(200, (_JSON, (b"x-request-id", request_id)), body)

        self._tasks.start(run(), f"models {request_id.decode()}")
