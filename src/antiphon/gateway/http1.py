"""HTTP/1.1 in: one protocol object per connection.

Time, the order of pipelined replies and the end of a connection are kept here; its requests come from
`http1_reader`. Requests of one connection are answered one after the other. Nothing is awaited: a handler
is called with the whole request and writes to its reply when it can.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, cast

from antiphon.engine.refusals import refuse
from antiphon.gateway.error_forms import error_form
from antiphon.gateway.http1_reader import RequestReader
from antiphon.gateway.http1_reply import Http1Reply
from antiphon.gateway.request import Request
from antiphon.gateway.sessions import Sessions
from antiphon.gateway.websocket import WebSocketConnection, offers_websocket
from antiphon.ports.reply import Reply
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault, GatewayError

Handler = Callable[[Request, Reply], None]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINGER = 2.0
_MOST_LINGERING = 1000
_MOST_AHEAD = 16
_MOST_AHEAD_BYTES = 64 * 1024
_NEVER = float("inf")


class Connected(Protocol):
    """A connection, whatever is spoken on it."""

    deadline: float

    def on_deadline(self) -> None:
        """Time is up."""

    def stop(self) -> None:
        """Take nothing new, and close after what was begun."""

    def abort(self) -> None:
        """Cut the connection now."""


class Listening:
    """What the connections of one server share: limits, the handler, the clock, and themselves."""

    def __init__(
        self,
        settings: Server,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        sessions: Sessions | None = None,
    ) -> None:
        """Serve `handler` within the limits of `settings`, and WebSockets where there are `sessions`."""
        self.settings = settings
        self.handler = handler
        self.loop = loop
        self.sessions = sessions
        self.connections: set[Connected] = set()
        self.lingering = 0
        """Connections that are only open so that the client can read its last answer."""
        self.emptied = asyncio.Event()
        """Set when the last connection has gone."""
        self.stopping = False
        self.date = b""

    def sweep(self) -> None:
        """Close connections that have run out of time."""
        now = self.loop.time()
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.on_deadline()

    def stop(self) -> None:
        """Close idle connections, and the others after their answer under way."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()

    def left(self, connection: Connected) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_closing",
        "_limits",
        "_linger_until",
        "_listening",
        "_paused",
        "_reader",
        "_reply",
        "_transport",
        "_unsent",
        "congested",
        "deadline",
    )

    def __init__(self, listening: Listening) -> None:
        """Serve one connection of `listening`."""
        self._listening = listening
        self._limits = listening.settings
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._reader: RequestReader = cast("RequestReader", None)
        self._reply: Http1Reply | None = None
        self._paused = False
        self._closing = False
        self._linger_until = _NEVER
        self._unsent = _NEVER  # what was not sent when we looked last
        self.congested = False
        self.deadline = _NEVER

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._reader = RequestReader(self._limits, str(peer[0]) if isinstance(peer, tuple) else "")
        listening = self._listening
        is_full = len(listening.connections) - listening.lingering >= self._limits.max_connections
        if listening.stopping or (is_full and listening.lingering >= _MOST_LINGERING):
            self._transport.abort()
            return
        listening.connections.add(self)
        self.deadline = listening.loop.time() + self._limits.header_timeout
        if is_full:
            self._reader.refuse(_too_many_connections())
            self._next()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if self._closing:
            self.deadline = min(self._linger_until, self._listening.loop.time() + _LINGER)
            return
        if reader.deaf:
            return
        part = reader.part
        reader.feed(data)
        if self._reply is None:
            if reader.part != part:
                self._time_part()
            if reader.continue_at_once:
                self._transport.write(_CONTINUE)
                # Where requests are waiting by now, one that is due is another message's.
                reader.continue_due = reader.continue_due and bool(reader.requests)
            self._next()
        if reader.requests and self._is_far_ahead and not self._paused:
            # Pipelined: leave further requests in the kernel until these are answered.
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        # As nginx: a client that closes its side has left. Waiting on would keep upstreams busy for nobody.
        if self._reply is not None and not self._reply.ended:
            self._transport.abort()
        else:
            self._allow_to_read()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._closing:
            self._listening.lingering -= 1
        self._listening.left(self)
        self._closing = True
        self.deadline = _NEVER
        self._reader.requests.clear()
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.lost()

    def pause_writing(self) -> None:
        self.congested = True
        self._allow_to_read()

    def resume_writing(self) -> None:
        self.congested = False
        if self._reply is not None:
            self.deadline = _NEVER
            self._reply.writable()

    # The order of things.

    @property
    def _is_far_ahead(self) -> bool:
        requests = self._reader.requests
        return (
            len(requests) >= _MOST_AHEAD
            or sum(len(request.body) for request, _, _ in requests) > _MOST_AHEAD_BYTES
        )

    def _next(self) -> None:
        """Answer the next request, or refuse what could not be read, or wait."""
        reader = self._reader
        if reader.requests:
            self.deadline = _NEVER
            request, keep_alive, modern = reader.requests.popleft()
            if self._paused and not self._is_far_ahead:
                self._paused = False
                self._transport.resume_reading()
            self._reply = reply = Http1Reply(self, keep_alive, modern, request.method == b"HEAD")
            if b"upgrade" not in request.headers or not (modern and self._becomes_websocket(request, reply)):
                self._listening.handler(request, reply)
        elif reader.fault is not None:
            fault, reply = reader.fault, Http1Reply(self, keep_alive=False, modern=True, head_only=False)
            self._reply = reply
            headers = ((b"content-type", b"application/json"), *fault.headers)
            reply.send(fault.status, headers, error_form(reader.target).write(fault, ""))
        elif reader.continue_due:
            self._continue()

    def _becomes_websocket(self, request: Request, reply: Http1Reply) -> bool:
        """Hand the transport over, or refuse to; False where there are no WebSockets on this path."""
        listening, transport = self._listening, self._transport
        sessions = listening.sessions
        if sessions is None or not sessions.serves(request.path) or not offers_websocket(request):
            return False
        try:
            connection = WebSocketConnection(listening, transport, request, sessions)
        except GatewayError as fault:
            refuse(reply, sessions.request_id(), fault)
            return True
        self._reply = None
        if self._paused:
            transport.resume_reading()
        transport.set_protocol(connection)
        listening.connections.discard(self)
        listening.connections.add(connection)
        connection.begin()
        if listening.stopping:
            connection.stop()
        return True

    def _continue(self) -> None:
        self._reader.continue_due = False
        self._transport.write(_CONTINUE)

    def _time_part(self) -> None:
        """Give the client time for the part of a message that it is sending, if it is."""
        part, limits = self._reader.part, self._limits
        if part is not None:
            seconds = limits.header_timeout if part == "head" else limits.body_timeout
            self.deadline = self._listening.loop.time() + seconds

    def replied(self, *, keep_alive: bool) -> None:
        """Go on after the reply under way was written."""
        reader = self._reader
        self._reply = None
        if self._transport.is_closing():
            self._allow_to_read()
        elif not keep_alive:
            self._close()
        elif reader.requests or reader.fault is not None:
            self._listening.loop.call_soon(self._resume)
        elif reader.part is not None:
            self._time_part()
            if reader.continue_due:
                self._continue()
        elif self._listening.stopping:
            self._close()
        else:
            self.deadline = self._listening.loop.time() + self._limits.keep_alive_timeout

    def _resume(self) -> None:
        if self._reply is None and not self._closing and not self._transport.is_closing():
            self._next()

    # The end.

    def _close(self) -> None:
        """End the connection once the client could read what was written."""
        reader = self._reader
        is_sending = reader.part is not None or reader.deaf or bool(reader.requests)
        self._closing = True
        self._listening.lingering += 1
        if not is_sending:
            self._allow_to_read()
            self._transport.close()
            return
        # Closing at once would reset the connection, and with it the answer that tells what was wrong: say
        # that no more comes, and give the client a moment to read.
        now = self._listening.loop.time()
        self._linger_until = now + self._limits.body_timeout
        self.deadline = min(self._linger_until, now + _LINGER)
        with contextlib.suppress(OSError, RuntimeError):  # it may be gone already
            self._transport.write_eof()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _allow_to_read(self) -> None:
        self._unsent = _NEVER
        self.deadline = self._listening.loop.time() + self._limits.keep_alive_timeout

    def on_deadline(self) -> None:
        """Time is up: say so if a request had begun, and close."""
        unsent = self._transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._allow_to_read()
            self._unsent = unsent
        elif self.congested or self._closing or unsent:
            self._transport.abort()
        elif (part := self._reader.part) is not None:
            self._reader.refuse(
                ClientFault(f"The request's {part} took too long.", code="request_timeout", status=408)
            )
            self._next()
        else:
            self._close()

    def stop(self) -> None:
        """Take no further request but one that has begun."""
        if not (self._reply or self._reader.requests or self._reader.part or self._closing):
            self._close()

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    # What replies need.

    @property
    def stopping(self) -> bool:
        """Whether the answer under way is the last one."""
        return self._listening.stopping

    @property
    def date(self) -> bytes:
        """The `Date` header line of this second."""
        return self._listening.date

    def write(self, data: bytes) -> None:
        """Write to the socket."""
        self._transport.write(data)

    def write_all(self, parts: list[bytes]) -> None:
        """Write several pieces without joining them."""
        self._transport.writelines(parts)

    def soon(self, reply: Http1Reply) -> None:
        """Call `reply.tell_gone` in the loop's next turn."""
        self._listening.loop.call_soon(reply.tell_gone)


def _too_many_connections() -> GatewayError:
    return GatewayError(
        "Too many connections.",
        code="too_many_connections",
        status=503,
        headers=((b"retry-after", b"1"),),
    )
