"""The same routes as an ASGI application, for other servers and for clients in the same process."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from antiphon.gateway.gateway import Gateway, refuse
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, ReplyWatcher
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CONGESTED_BYTES = 64 * 1024


class Running(Protocol):
    """A started application."""

    gateway: Gateway

    async def stop(self) -> None:
        """Finish."""


class AsgiApplication:
    """ASGI 3: `http` and `lifespan`. Started by the first request where the server knows no lifespan."""

    def __init__(self, limits: Server, start: Callable[[], Awaitable[Running]]) -> None:
        """`start` builds the gateway in the running event loop."""
        self._limits = limits
        self._start = start
        self._running: Running | None = None
        self._starting: asyncio.Lock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"ASGI scope {scope['type']!r} is not served")

    async def aclose(self) -> None:
        """Finish all writes, where no lifespan does."""
        running, self._running = self._running, None
        if running is not None:
            await running.stop()

    async def _started(self) -> Running:
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
                await self._started()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = await self._started()
        reply = AsgiReply()
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            name = name.lower()  # noqa: PLW2901 - ASGI asks servers for lower case, not all comply
            headers[name] = headers[name] + b", " + value if name in headers else value
        body = await self._body(receive)
        if body is None:
            limit = self._limits.max_body_bytes
            refuse(
                reply,
                b"",
                ClientFault(
                    f"The request's body is larger than {limit} bytes.", code="request_too_large", status=413
                ),
            )
        else:
            client = scope.get("client")
            path = scope.get("raw_path") or scope["path"].encode()
            request = Request(
                scope["method"].encode(),
                path.partition(b"?")[0],
                scope.get("query_string", b""),
                headers,
                body,
                client[0] if client else "",
            )
            running.gateway.handle(request, reply)
        await reply.run(receive, send)

    async def _body(self, receive: Receive) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


class AsgiReply:
    """Implements `ports.reply.Reply`: what was written waits here until the server takes it."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._watcher: ReplyWatcher | None = None
        self._messages: list[Message] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._ended = False
        self._aborted = False
        self._gone = False

    @property
    def congested(self) -> bool:
        """Whether the server is behind."""
        return self._queued > _CONGESTED_BYTES

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.start(status, headers, len(body))
        self.write(body)
        self.end()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin an answer."""
        fields = list(headers)
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        self._put({"type": "http.response.start", "status": status, "headers": fields})

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        self._queued += len(data)
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """End the body."""
        self._ended = True
        self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        """Leave the body without its end."""
        self._aborted = True
        self._wake.set()

    def _put(self, message: Message) -> None:
        if not self._gone:
            self._messages.append(message)
            self._wake.set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Hand over what is written until the answer has ended or the client has left."""
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await self._hand_over(send, leaving)
        finally:
            leaving.cancel()
            watcher, self._watcher = self._watcher, None
            self._gone = True
            if watcher is not None:
                watcher.on_gone()

    async def _hand_over(self, send: Send, leaving: "asyncio.Future[None]") -> None:
        while True:
            messages, self._messages = self._messages, []
            for message in messages:
                await send(message)
            written = sum(len(message.get("body", b"")) for message in messages)
            self._queued -= written
            if self._messages:
                continue
            if self._ended:
                watcher, self._watcher = self._watcher, None
                if watcher is not None:
                    watcher.on_sent()
                return
            if self._aborted:
                raise ConnectionAbortedError("the answer broke off")
            if written and self._watcher is not None:
                self._watcher.on_writable()
                if self._messages:
                    continue
            self._wake.clear()
            waking = asyncio.ensure_future(self._wake.wait())
            await asyncio.wait((waking, leaving), return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
            if leaving.done():
                return


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
