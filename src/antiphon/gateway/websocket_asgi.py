"""A WebSocket that another server has accepted: ASGI's `websocket` scope."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from antiphon.gateway.request import Request
from antiphon.gateway.sessions import Sessions
from antiphon.gateway.websocket_session import Session
from antiphon.wire.errors import ClientFault, GatewayError, error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CONGESTED_BYTES: Final = 64 * 1024
_TOO_BIG: Final = 1009


class AsgiWebSocket:
    """Implements `Socket`: what was sent waits here until the server takes it."""

    def __init__(self, sessions: Sessions, max_bytes: int) -> None:
        """Open sessions of `sessions`; frames have at most `max_bytes`."""
        self._sessions = sessions
        self._max_bytes = max_bytes
        self._session: Session | None = None
        self._messages: list[tuple[Message, int]] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._closed = False

    # What the session calls.

    @property
    def congested(self) -> bool:
        """Whether the server is behind."""
        return self._queued > _CONGESTED_BYTES

    def send(self, text: bytes) -> None:
        """Send one text frame."""
        if not self._closed:
            self._queued += len(text)
            self._messages.append(({"type": "websocket.send", "text": text.decode()}, len(text)))
            if self.congested:
                self._drained.clear()
            self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent."""
        if not self._closed:
            self._closed = True
            self._messages.append(({"type": "websocket.close", "code": code, "reason": reason}, 0))
            self._wake.set()

    # What the application calls.

    def stop(self) -> None:
        """Finish the turns that were asked for, and close."""
        if self._session is not None:
            self._session.stop()

    async def serve(self, scope: Scope, request: Request, receive: Receive, send: Send) -> None:
        """Serve the connection to its end."""
        await receive()  # websocket.connect
        try:
            if not self._sessions.serves(request.path):
                raise ClientFault("There is no WebSocket here.", code="not_found", status=404)
            owner = self._sessions.admit(request)
        except GatewayError as fault:
            await self._deny(scope, fault, send)
            return
        await send({"type": "websocket.accept"})
        loop = asyncio.get_running_loop()
        self._session = session = self._sessions.open(request, owner, self, loop.time())
        timer = loop.call_at(session.expires_at, session.expire)
        reading = asyncio.ensure_future(self._read(session, receive))
        try:
            await self._write(session, reading, send)
        finally:
            timer.cancel()
            reading.cancel()
            self._closed = True
            self._messages.clear()
            session.gone()
        if reading.done() and not reading.cancelled():
            reading.result()

    async def _deny(self, scope: Scope, fault: GatewayError, send: Send) -> None:
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": fault.code or ""})
            return
        body = error_body(fault)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self._sessions.request_id()),
            *fault.headers,
        ]
        await send({"type": "websocket.http.response.start", "status": fault.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})

    async def _read(self, session: Session, receive: Receive) -> None:
        """Hand over what comes until the client leaves; whoever does not read is not heard."""
        while True:
            await self._drained.wait()
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text")
            if text is None:
                session.refuse(
                    ClientFault("Send text frames: binary ones say nothing here.", code="invalid_frame")
                )
            elif len(data := text.encode("utf-8", "replace")) > self._max_bytes:
                self.close(_TOO_BIG, "")
            else:
                session.receive(data)

    async def _write(self, session: Session, reading: "asyncio.Future[None]", send: Send) -> None:
        while not reading.done():
            messages, self._messages = self._messages, []
            was_congested = self.congested
            for message, size in messages:
                try:
                    await send(message)
                except OSError:  # what servers raise when the client has left, says ASGI 2.4
                    return
                if message["type"] == "websocket.close":
                    return
                self._queued -= size
            if was_congested and not self.congested:
                self._drained.set()
                session.writable()
            if self._messages:
                continue
            self._wake.clear()
            waking = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait((waking, reading), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waking.cancel()
