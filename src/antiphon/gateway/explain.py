"""Why the cache did what it did: routes for the admin, and a header for clients that want to know about their own."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from antiphon.cache.status import SEMANTIC_HIT
from antiphon.engine.explaining import Explaining
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.inner import InnerReply
from antiphon.engine.refusals import internal_error, refuse
from antiphon.engine.tasks import Tasks
from antiphon.engine.turns import Turns
from antiphon.gateway.admin import PREFIX, require_admin
from antiphon.gateway.gateway import CACHE_DEBUG, ID_DIGITS, ROUTES, Handler, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply, ReplyWatcher
from antiphon.wire.errors import ClientFault, GatewayError

_JSON: Final = (b"content-type", b"application/json")
_TELLS: Final = b"x-antiphon-cache-explain"
_ROUTES: Final = {route.path: route for route in ROUTES}


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    body: msgspec.Raw
    headers: dict[str, str] = {}
    key: str | None = None


class Explain:
    """Explains the cache to whoever may know."""

    def __init__(
        self,
        explaining: Explaining,
        turns: Turns,
        keyring: Keyring,
        admin_key: str | None,
        tasks: Tasks,
        settled: Callable[[], Awaitable[None]],
    ) -> None:
        """Ask `explaining`; `settled` returns when everything that has ended is noted."""
        self._explaining = explaining
        self._turns = turns
        self._keyring = keyring
        self._admin_key = admin_key
        self._tasks = tasks
        self._settled = settled

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("GET", PREFIX + "/cache/explain"): self._later(self._past),
            ("POST", PREFIX + "/cache/explain"): self._later(self._prospect),
        }

    def _later(self, told: Callable[[Request, bytes], Awaitable[object]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            require_admin(request.headers, self._admin_key)

            async def answer() -> tuple[int, Headers, bytes]:
                return 200, (_JSON,), msgspec.json.encode(await told(request, request_id))

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    async def _past(self, request: Request, asking_id: bytes) -> dict[str, Any]:
        query = parse_qs(request.query.decode("latin-1"))
        request_id = query.get("request_id", [""])[-1]
        if not request_id:
            raise ClientFault(
                "Name the request: ?request_id=req_…", code="missing_required_parameter", param="request_id"
            )
        await self._settled()
        told = await self._explaining.past(request_id)
        if told is None:
            own = asking_id[:-ID_DIGITS].decode()
            why = (
                "It was too long ago, or has not ended"
                if request_id.startswith(own)
                else "Another worker knows it"
            )
            raise ClientFault(
                f"This worker knows nothing of the request. {why}: ids of this worker begin with {own}. "
                "POST the request itself here to have it explained without being sent.",
                code="not_found",
                param="request_id",
                status=404,
            )
        return told

    async def _prospect(self, request: Request, asking_id: bytes) -> dict[str, Any]:
        del asking_id
        try:
            asked = msgspec.json.decode(request.body, type=_Asked)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClientFault(f"The body describes no request: {error}.", code="invalid_value") from error
        route = _ROUTES.get(asked.path)
        if route is None:
            raise ClientFault("No model answers on this path.", code="invalid_value", param="path")
        return await self._explaining.prospect(self._incoming(asked, route))

    def _incoming(self, asked: _Asked, route: Route) -> Incoming:
        headers = {
            name.lower().encode("latin-1", "replace"): value.encode("latin-1", "replace")
            for name, value in asked.headers.items()
        }
        owner = self._keyring.named(asked.key)
        return Incoming(route, owner, b"", headers, bytes(asked.body), InnerReply(), time.monotonic())

    # For clients.

    def answer(self, incoming: Incoming) -> None:
        """Answer a request, and tell its client what the cache did. Raises ClientFault."""
        if incoming.headers[CACHE_DEBUG].strip().lower() != b"explain":
            raise ClientFault(
                "X-Antiphon-Cache-Debug is `explain`.", code="invalid_value", param="X-Antiphon-Cache-Debug"
            )
        form = incoming.route.dialect.errors
        self._tasks.start(
            self._answer(incoming),
            f"explain {incoming.request_id.decode()}",
            on_death=lambda: refuse(incoming.reply, incoming.request_id, internal_error(), form),
        )

    async def _answer(self, incoming: Incoming) -> None:
        try:
            told = await self._explaining.in_short(incoming)
            incoming.reply = ExplainedReply(incoming.reply, told)
            self._turns.answer(incoming)
        except GatewayError as fault:
            refuse(incoming.reply, incoming.request_id, fault, incoming.route.dialect.errors)


class ExplainedReply:
    """Implements `ports.reply.Reply`: a reply with one header more."""

    def __init__(self, reply: Reply, told: bytes) -> None:
        """Pass everything on to `reply`, and what is `told` of the exact cache."""
        self._reply = reply
        self._told = told

    @property
    def congested(self) -> bool:
        """Whether the client is behind."""
        return self._reply.congested

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._reply.watch(watcher)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self._reply.send(status, self._with(headers), body)

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin an answer."""
        self._reply.start(status, self._with(headers), length)

    def _with(self, headers: Headers) -> Headers:
        told = b"semantic" if SEMANTIC_HIT in headers else self._told
        return (*headers, (_TELLS, told))

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        self._reply.write(data)

    def end(self) -> None:
        """End the body."""
        self._reply.end()

    def abort(self) -> None:
        """Cut the connection."""
        self._reply.abort()
