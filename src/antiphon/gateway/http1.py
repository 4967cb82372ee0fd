"""HTTP/1.1 in: one protocol object per connection, on httptools (llhttp).

llhttp refuses what is malformed or ambiguous (both lengths, bad chunk sizes, folded headers); limits, time
and the order of pipelined replies are kept here. Requests of one connection are answered one after the
other. Nothing is awaited: a handler is called with the whole request and writes to its reply when it can.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from antiphon.gateway.http1_reply import Http1Reply
from antiphon.gateway.request import Request
from antiphon.ports.reply import Reply
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault, GatewayError, error_body

Handler = Callable[[Request, Reply], None]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINGER = 2.0
_MOST_LINGERING = 1000
_MOST_AHEAD = 16
_MOST_AHEAD_BYTES = 64 * 1024
_NEVER = float("inf")


class Listening:
    """What the connections of one server share: limits, the handler, the clock, and themselves."""

    def __init__(self, settings: Server, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        """Serve `handler` within the limits of `settings`."""
        self.settings = settings
        self.handler = handler
        self.loop = loop
        self.connections: set[Connection] = set()
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


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_ahead",
        "_body",
        "_body_size",
        "_closing",
        "_continue_due",
        "_deaf",
        "_fault",
        "_framing",
        "_headers",
        "_in_head",
        "_in_message",
        "_large_read",
        "_limits",
        "_linger_until",
        "_listening",
        "_modern",
        "_parser",
        "_paused",
        "_peer",
        "_repeated",
        "_reply",
        "_requests",
        "_transport",
        "_unbodied",
        "_unsent",
        "_upgrade",
        "_url",
        "congested",
        "deadline",
    )

    def __init__(self, listening: Listening) -> None:
        """Serve one connection of `listening`."""
        self._listening = listening
        self._limits = listening.settings
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._peer = ""
        # Requests that wait for their turn: the request, keep-alive, HTTP/1.1.
        self._requests: deque[tuple[Request, bool, bool]] = deque()
        self._ahead = 0  # bytes of their bodies
        self._reply: Http1Reply | None = None
        self._fault: GatewayError | None = None
        # The message being read.
        self._in_message = False
        self._in_head = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeated = 0  # headers beyond the first of their name
        self._modern = True
        self._upgrade = False
        self._framing = b""  # the header that announces a body
        self._body: bytes | bytearray = b""
        self._body_size = 0
        self._unbodied = 0  # bytes read since its first piece, or since its last piece of body
        self._large_read = False
        self._continue_due = False
        # The connection.
        self._deaf = False  # takes no more requests
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
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        listening = self._listening
        is_full = len(listening.connections) - listening.lingering >= self._limits.max_connections
        if listening.stopping or (is_full and listening.lingering >= _MOST_LINGERING):
            self._transport.abort()
            return
        listening.connections.add(self)
        self.deadline = listening.loop.time() + self._limits.header_timeout
        if is_full:
            self._refuse(_too_many_connections())
            self._next()

    def data_received(self, data: bytes) -> None:
        if self._fault is not None or self._deaf:
            if self._closing:
                self.deadline = min(self._linger_until, self._listening.loop.time() + _LINGER)
            return
        if self._in_message:
            self._unbodied += len(data)
        self._large_read = len(data) > self._limits.max_header_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_malformed(error))
        if self._in_message and self._unbodied > self._limits.max_header_bytes:
            # Trailers and what else may stand between pieces of a body count like a head.
            self._refuse(_head_too_large(self._limits.max_header_bytes))
        if self._reply is None:
            self._next()
        if self._requests and self._is_far_ahead and not self._paused:
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
        listening = self._listening
        listening.connections.discard(self)
        if not listening.connections:
            listening.emptied.set()
        if self._closing:
            listening.lingering -= 1
        self._closing = self._deaf = True
        self.deadline = _NEVER
        self._requests.clear()
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

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._url = b""
        self._headers = {}
        self._repeated = 0
        self._framing = b""
        self._body_size = 0
        self._unbodied = 0
        if self._reply is None:
            self.deadline = self._listening.loop.time() + self._limits.header_timeout

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer
        name = name.lower()
        headers = self._headers
        if len(headers) + self._repeated >= self._limits.max_headers:
            self._refuse(_too_many_headers(self._limits.max_headers))
            return
        if name in headers:
            if name in _SINGLE:
                self._refuse(
                    ClientFault(f"More than one {name.decode('latin-1')} header.", code="bad_request")
                )
                return
            self._repeated += 1
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._fault is not None:
            return
        version = self._parser.get_http_version()
        self._modern = modern = version == "1.1"
        self._upgrade = self._parser.should_upgrade()
        fault = self._fault_of_head(version, modern=modern)
        if self._upgrade and self._parser.get_method() == b"CONNECT":
            self._framing = b""  # what follows is no body but the tunnel
        if fault is not None:
            self._refuse(fault)
        elif self._framing:
            if self._reply is None:
                self.deadline = self._listening.loop.time() + self._limits.body_timeout
            if modern and b"expect" in self._headers:
                if self._reply is None and not self._requests:
                    self._transport.write(_CONTINUE)
                else:
                    self._continue_due = True

    def on_body(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._unbodied = 0
        self._body_size += len(data)
        if self._body_size > self._limits.max_body_bytes:
            self._refuse(_body_too_large(self._limits.max_body_bytes))
            return
        body = self._body
        if not body:
            self._body = data
        elif isinstance(body, bytearray):
            body += data
        else:
            # Not a list: chunks of a byte or two would take many times their size.
            self._body = bytearray(body) + data

    def on_message_complete(self) -> None:
        if self._fault is not None or (self._upgrade and self._framing):
            return
        self._in_message = self._continue_due = False
        body, self._body = self._body, b""
        self._ahead += len(body)
        path, _, query = self._url.partition(b"?")
        if path[:1] != b"/":
            path = _without_authority(path)
        parser = self._parser
        request = Request(parser.get_method(), path, query, self._headers, bytes(body), self._peer)
        keep_alive = parser.should_keep_alive() and not self._upgrade
        self._requests.append((request, keep_alive, self._modern))

    def _fault_of_head(self, version: str, *, modern: bool) -> ClientFault | None:
        """Return what is wrong with a whole head, and note whether a body follows it."""
        headers, limits = self._headers, self._limits
        if (self._large_read or self._unbodied) and self._size_of_head() > limits.max_header_bytes:
            return _head_too_large(limits.max_header_bytes)
        if modern:
            if not headers.get(b"host"):
                return ClientFault("No Host header.", code="bad_request")
            if b"expect" in headers and headers[b"expect"].lower() != b"100-continue":
                return ClientFault("The expectation cannot be met.", code="expectation_failed", status=417)
        elif version != "1.0":
            return ClientFault(
                f"HTTP/{version} is not spoken here.", code="http_version_not_supported", status=505
            )
        length = headers.get(b"content-length")
        if length is not None:
            size = int(length)
            if size > limits.max_body_bytes:
                return _body_too_large(limits.max_body_bytes)
            if size:
                self._framing = b"content-length: " + length
        elif b"transfer-encoding" in headers:
            if not modern or headers[b"transfer-encoding"].lower() != b"chunked":
                return ClientFault("Transfer-Encoding is not understood.", code="bad_request")
            self._framing = b"transfer-encoding: chunked"
        return None

    def _size_of_head(self) -> int:
        headers = self._headers
        return len(self._url) + sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Nothing is upgraded here: the request is answered as HTTP/1.1, and the connection ends with it.

        llhttp stops at the end of such a head. Java's clients offer h2c with each request that has a body
        (github.com/MagicStack/httptools/issues/124, 2025): what follows is read by a parser that has seen
        no offer.
        """
        framing, self._framing = self._framing, b""
        if self._fault is not None or not framing:
            self._deaf = True
            return
        self._parser, method = httptools.HttpRequestParser(_BodyOnly(self)), self._parser.get_method()
        self._parser.feed_data(method + b" / HTTP/1.1\r\nconnection: close\r\n" + framing + b"\r\n\r\n")
        try:
            self._parser.feed_data(rest)
        except httptools.HttpParserError as error:
            self._refuse(_malformed(error))

    # The order of things.

    @property
    def _is_far_ahead(self) -> bool:
        return len(self._requests) >= _MOST_AHEAD or self._ahead > _MOST_AHEAD_BYTES

    def _next(self) -> None:
        """Answer the next request, or refuse what could not be read, or wait."""
        if self._requests:
            self.deadline = _NEVER
            request, keep_alive, modern = self._requests.popleft()
            self._ahead -= len(request.body)
            if self._paused and not self._is_far_ahead:
                self._paused = False
                self._transport.resume_reading()
            self._reply = reply = Http1Reply(self, keep_alive, modern, request.method == b"HEAD")
            self._listening.handler(request, reply)
        elif self._fault is not None:
            fault, reply = self._fault, Http1Reply(self, keep_alive=False, modern=True, head_only=False)
            self._reply = reply
            headers = ((b"content-type", b"application/json"), *fault.headers)
            reply.send(fault.status, headers, error_body(fault))
        elif self._continue_due and self._in_message:
            self._continue_due = False
            self._transport.write(_CONTINUE)

    def replied(self, *, keep_alive: bool) -> None:
        """Go on after the reply under way was written."""
        self._reply = None
        if self._transport.is_closing():
            self._allow_to_read()
        elif not keep_alive:
            self._close()
        elif self._requests or self._fault is not None:
            self._listening.loop.call_soon(self._resume)
        elif self._in_message:
            limits = self._limits
            seconds = limits.header_timeout if self._in_head else limits.body_timeout
            self.deadline = self._listening.loop.time() + seconds
            if self._continue_due:
                self._next()
        elif self._listening.stopping:
            self._close()
        else:
            self.deadline = self._listening.loop.time() + self._limits.keep_alive_timeout

    def _resume(self) -> None:
        if self._reply is None and not self._closing and not self._transport.is_closing():
            self._next()

    def _refuse(self, fault: GatewayError) -> None:
        if self._fault is None:
            self._fault = fault
        self._in_head = self._in_message = self._continue_due = False
        self._body = b""

    # The end.

    def _close(self) -> None:
        """End the connection once the client could read what was written."""
        is_sending = self._in_message or self._fault is not None or self._deaf or bool(self._requests)
        self._closing = self._deaf = True
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
        elif self._in_message:
            what = "head" if self._in_head else "body"
            self._refuse(
                ClientFault(f"The request's {what} took too long.", code="request_timeout", status=408)
            )
            self._next()
        else:
            self._close()

    def stop(self) -> None:
        """Take no further request but one that has begun."""
        if not (self._reply or self._requests or self._in_message or self._closing):
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


class _BodyOnly:
    """Shows a connection the body of a message and its end."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


_SINGLE = frozenset({b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding"})


def _without_authority(target: bytes) -> bytes:
    """Return the path of a target in absolute form; what has none is left as it is."""
    _, is_absolute, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if is_absolute else target


def _malformed(error: httptools.HttpParserError) -> ClientFault:
    return ClientFault(f"Bad request: {error}", code="bad_request")


def _head_too_large(limit: int) -> ClientFault:
    return ClientFault(
        f"The request's head is larger than {limit} bytes.", code="headers_too_large", status=431
    )


def _too_many_headers(limit: int) -> ClientFault:
    return ClientFault(f"The request has more than {limit} headers.", code="headers_too_large", status=431)


def _body_too_large(limit: int) -> ClientFault:
    return ClientFault(
        f"The request's body is larger than {limit} bytes.", code="request_too_large", status=413
    )


def _too_many_connections() -> GatewayError:
    return GatewayError(
        "Too many connections.",
        code="too_many_connections",
        status=503,
        headers=((b"retry-after", b"1"),),
    )
