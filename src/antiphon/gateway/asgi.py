"""The same routes as an ASGI application, for other servers and for clients in the same process."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from antiphon.engine.refusals import refuse
from antiphon.gateway.error_forms import error_form
from antiphon.gateway.gateway import Gateway
from antiphon.gateway.request import Request
from antiphon.gateway.sessions import Sessions
from antiphon.gateway.websocket_asgi import AsgiWebSocket
from antiphon.ports.reply import Headers, ReplyWatcher
from antiphon.settings import ConfigurationError, Server
from antiphon.wire.errors import ClientFault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CONGESTED_BYTES = 64 * 1024


class Running(Protocol):
    """A started application."""

    gateway: Gateway
    sessions: Sessions

    async def stop(self) -> None:
        """Finish."""


class AsgiApplication:
    """ASGI 3: `http`, `websocket` and `lifespan`. Started by the first request where the server knows no lifespan."""

    def __init__(self, limits: Server, start: Callable[[], Awaitable[Running]]) -> None:
        """`start` builds the gateway in the running event loop."""
        self._limits = limits
        self._start = start
        self._running: Running | None = None
        self._starting: asyncio.Lock | None = None
        self._websockets: set[AsgiWebSocket] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        else:
            raise ValueError(f"ASGI scope {scope['type']!r} is not served")

    async def aclose(self) -> None:
        """Finish all writes, where no lifespan does."""
        running, self._running, self._starting = self._running, None, None
        for websocket in tuple(self._websockets):
            websocket.stop()
        if running is not None:
            await running.stop()

    async def _started(self) -> Running:
        if self._running is not None:
            return self._running
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._running is None:
                self._running = await self._start()
            return self._running

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._started()
                except ConfigurationError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = await self._started()
        reply = AsgiReply(head_only=scope["method"] == "HEAD")
        headers = _headers(scope)
        try:
            body = await self._body(headers, receive)
        except ClientFault as fault:
            refuse(reply, b"", fault, error_form(_path(scope)))
        else:
            if body is None:
                return
            running.gateway.handle(_request(scope, headers, body), reply)
        await reply.run(receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = await self._started()
        websocket = AsgiWebSocket(running.sessions, self._limits.max_body_bytes)
        self._websockets.add(websocket)
        try:
            await websocket.serve(scope, _request(scope, _headers(scope), b""), receive, send)
        finally:
            self._websockets.discard(websocket)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """Return the whole body, or None if the client left before its end. Raises ClientFault."""
        limit = self._limits.max_body_bytes
        announced = headers.get(b"content-length", b"")
        too_large = ClientFault(
            f"The request's body is larger than {limit} bytes.", code="request_too_large", status=413
        )
        if announced.isdigit() and int(announced) > limit:
            raise too_large
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise too_large
            more = message.get("more_body", False)
        return bytes(body)


class AsgiReply:
    """Implements `ports.reply.Reply`: what was written waits here until the server takes it."""

    def __init__(self, *, head_only: bool = False) -> None:
        """Nothing is written yet."""
        self._head_only = head_only
        self._watcher: ReplyWatcher | None = None
        self._messages: list[Message] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._begun = False
        self._over = False
        """Nothing more can be written."""
        self._ended = False
        self._gone = False

    @property
    def congested(self) -> bool:
        """Whether the server is behind."""
        return self._queued > _CONGESTED_BYTES

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher
        if self._gone:
            # The client left before anybody watched. Told at once, the watcher would hear of it half made.
            asyncio.get_running_loop().call_soon(self._tell_gone)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        if self._begun:
            self.abort()
            return
        self.start(status, headers, len(body))
        self.write(body)
        self.end()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin an answer."""
        self._begun = True
        fields = list(headers)
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        self._put({"type": "http.response.start", "status": status, "headers": fields})

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        if data and not self._head_only:
            self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """End the body."""
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self._ended = self._ended or not self._over
        self._over = True

    def abort(self) -> None:
        """Leave the body without its end."""
        self._over = True
        self._wake.set()

    def _put(self, message: Message) -> None:
        if not self._over:
            self._queued += len(message.get("body", b""))
            self._messages.append(message)
            self._wake.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Hand over what is written until the answer has ended or the client has left."""
        leaving = asyncio.ensure_future(_left(receive))
        try:
            broke_off = await self._hand_over(send, leaving)
        finally:
            leaving.cancel()
            self._gone = self._over = True
            self._messages.clear()
            self._tell_gone()
        if broke_off:
            raise ConnectionAbortedError("the answer broke off")

    async def _hand_over(self, send: Send, leaving: "asyncio.Future[None]") -> bool:
        """Return whether the answer broke off."""
        while True:
            was_congested = self.congested
            messages, self._messages = self._messages, []
            for message in messages:
                try:
                    await send(message)
                except OSError:  # what servers raise when the client has left, says ASGI 2.4
                    return False
                self._queued -= len(message.get("body", b""))
            if was_congested and not self.congested and self._watcher is not None:
                self._watcher.on_writable()
            if self._messages:
                continue
            if self._over:
                self._tell_sent()
                return not self._ended
            self._wake.clear()
            waking = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait((waking, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waking.cancel()
            if leaving.done():
                return False

    def _tell_sent(self) -> None:
        if self._ended:
            watcher, self._watcher = self._watcher, None
            if watcher is not None:
                watcher.on_sent()

    def _tell_gone(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()


def _headers(scope: Scope) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        name = name.lower()  # noqa: PLW2901 - ASGI asks servers for lower case, not all comply
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _request(scope: Scope, headers: dict[bytes, bytes], body: bytes) -> Request:
    client = scope.get("client")
    return Request(
        scope.get("method", "GET").encode(),  # a WebSocket has none
        _path(scope),
        scope.get("query_string", b""),
        headers,
        body,
        client[0] if client else "",
    )


def _path(scope: Scope) -> bytes:
    """Return the path below the place where the application is mounted."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = path.partition(b"?")[0]
    mount = scope.get("root_path", "").encode()
    return path[len(mount) :] if mount and path.startswith(mount + b"/") else path


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
