"""HTTP/1.1 in: one protocol object per connection, on httptools (llhttp).

llhttp refuses what is malformed or ambiguous (both lengths, bad chunk sizes, folded headers); limits, time
and the order of pipelined replies are kept here. Requests of one connection are answered one after the
other. Nothing is awaited: a handler is called with the whole request and writes to its reply when it can.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import httptools

from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply, ReplyWatcher
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault, GatewayError, error_body

Handler = Callable[[Request, Reply], None]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_JOIN_LIMIT = 64 * 1024
_LINGER = 2.0
_NEVER = float("inf")


class Listening:
    """What the connections of one server share: limits, the handler, the clock, and themselves."""

    def __init__(self, settings: Server, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        """Serve `handler` within the limits of `settings`."""
        self.settings = settings
        self.handler = handler
        self.loop = loop
        self.connections: set[Connection] = set()
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
        "_body",
        "_body_size",
        "_continue_due",
        "_expects_continue",
        "_fault",
        "_head_size",
        "_headers",
        "_in_head",
        "_in_message",
        "_large_read",
        "_limits",
        "_listening",
        "_parser",
        "_peer",
        "_reply",
        "_requests",
        "_transport",
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
        self._requests: deque[tuple[Request, bool, bool]] = deque()
        self._reply: Http1Reply | None = None
        self._fault: GatewayError | None = None
        self._in_message = False
        self._in_head = False
        self._upgrade = False
        self._large_read = False
        self._continue_due = False
        self._expects_continue = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self.congested = False
        self.deadline = _NEVER

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        listening = self._listening
        if listening.stopping or len(listening.connections) >= self._limits.max_connections:
            self._transport.abort()
            return
        listening.connections.add(self)
        self.deadline = listening.loop.time() + self._limits.header_timeout

    def data_received(self, data: bytes) -> None:
        if self._fault is not None:
            return
        if self._in_head:
            self._head_size += len(data)
        self._large_read = len(data) > self._limits.max_header_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded here: the request is answered as HTTP/1.1, and the connection ends with it.
            self._upgrade = True
        except httptools.HttpParserError as error:
            self._refuse(ClientFault(f"Bad request: {error}", code="bad_request"))
        if self._in_head and self._head_size > self._limits.max_header_bytes:
            self._refuse(_head_too_large(self._limits.max_header_bytes))
        if self._reply is None:
            self._next()
        elif self._requests:
            # Pipelined: leave further requests in the kernel until these are answered.
            self._transport.pause_reading()

    def eof_received(self) -> None:
        # As nginx: a client that closes its side has left. Waiting on would keep upstreams busy for nobody.
        return None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._listening.connections.discard(self)
        self.deadline = _NEVER
        self._requests.clear()
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.lost()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._reply is not None:
            self._reply.writable()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._url = b""
        self._headers = {}
        self._head_size = 0
        self._body_size = 0
        self._expects_continue = False
        if self._reply is None:
            self.deadline = self._listening.loop.time() + self._limits.header_timeout

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer
        name = name.lower()
        headers = self._headers
        if name in headers:
            if name in _SINGLE:
                self._refuse(
                    ClientFault(f"More than one {name.decode('latin-1')} header.", code="bad_request")
                )
                return
            value = headers[name] + b", " + value
        elif len(headers) >= self._limits.max_headers:
            self._refuse(ClientFault("Too many headers.", code="headers_too_large", status=431))
            return
        headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._fault is not None:
            return
        headers = self._headers
        if self._large_read and self._size_of_head() > self._limits.max_header_bytes:
            self._refuse(_head_too_large(self._limits.max_header_bytes))
            return
        modern = self._parser.get_http_version() == "1.1"
        if modern and not headers.get(b"host"):
            self._refuse(ClientFault("No Host header.", code="bad_request"))
            return
        length = headers.get(b"content-length")
        if length is not None:
            if int(length) > self._limits.max_body_bytes:
                self._refuse(_body_too_large(self._limits.max_body_bytes))
                return
        elif b"transfer-encoding" in headers:
            if not modern or headers[b"transfer-encoding"].lower() != b"chunked":
                self._refuse(ClientFault("Transfer-Encoding is not understood.", code="bad_request"))
                return
        else:
            return
        if self._reply is None:
            self.deadline = self._listening.loop.time() + self._limits.body_timeout
        if b"expect" in headers and modern:
            self._expect(headers[b"expect"])

    def on_body(self, data: bytes) -> None:
        if self._fault is not None:
            return
        self._body_size += len(data)
        if self._body_size > self._limits.max_body_bytes:
            self._refuse(_body_too_large(self._limits.max_body_bytes))
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._in_message = False
        if self._fault is not None:
            return
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._body = []
        path, _, query = self._url.partition(b"?")
        parser = self._parser
        request = Request(parser.get_method(), path, query, self._headers, whole, self._peer)
        self._requests.append((request, parser.should_keep_alive(), parser.get_http_version() == "1.1"))

    def _size_of_head(self) -> int:
        headers = self._headers
        return len(self._url) + sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)

    # The order of things.

    def _expect(self, expectation: bytes) -> None:
        if expectation.lower() != b"100-continue":
            self._refuse(ClientFault("The expectation cannot be met.", code="expectation_failed", status=417))
        elif self._reply is None and not self._requests:
            self._transport.write(_CONTINUE)
        else:
            self._continue_due = True

    def _next(self) -> None:
        """Answer the next request, or refuse what could not be read, or wait."""
        if self._requests:
            self.deadline = _NEVER
            request, keep_alive, modern = self._requests.popleft()
            keep_alive = keep_alive and not self._upgrade
            self._reply = reply = Http1Reply(self, keep_alive, modern, request.method == b"HEAD")
            self._listening.handler(request, reply)
        elif self._fault is not None:
            fault, reply = self._fault, Http1Reply(self, keep_alive=False, modern=True, head_only=False)
            self._reply = reply
            reply.send(fault.status, ((b"content-type", b"application/json"),), error_body(fault))
        elif self._continue_due and self._in_message:
            self._continue_due = False
            self._transport.write(_CONTINUE)

    def replied(self, *, keep_alive: bool) -> None:
        """Go on after the reply under way was written."""
        self._reply = None
        if self._transport.is_closing():
            return
        now = self._listening.loop.time()
        if not keep_alive:
            self._close(now)
        elif self._requests or self._fault is not None:
            self._listening.loop.call_soon(self._resume)
        elif not self._in_message:
            self.deadline = now + self._limits.keep_alive_timeout
        else:
            self.deadline = now + (
                self._limits.header_timeout if self._in_head else self._limits.body_timeout
            )
            if self._continue_due:
                self._next()

    def _close(self, now: float) -> None:
        if self._fault is None:
            self._transport.close()
            return
        # The client may still be sending. Closing at once would reset the connection and with it the answer
        # that tells what was wrong: say that no more comes, and give the client a moment to read.
        self._transport.write_eof()
        self.deadline = now + _LINGER

    def _resume(self) -> None:
        if self._transport.is_closing() or self._reply is not None:
            return
        self._transport.resume_reading()
        self._next()

    def _refuse(self, fault: GatewayError) -> None:
        if self._fault is None:
            self._fault = fault
        self._in_head = self._in_message = False
        self._body = []

    def on_deadline(self) -> None:
        """Time is up: say so if a request had begun, and close."""
        self.deadline = _NEVER
        if self._reply is not None:
            return
        if self._in_message and self._fault is None:
            what = "head" if self._in_head else "body"
            self._refuse(
                ClientFault(f"The request's {what} took too long.", code="request_timeout", status=408)
            )
            self._next()
        else:
            self._transport.abort() if self._fault is not None else self._transport.close()

    def stop(self) -> None:
        """Take no further request."""
        if self._reply is None and not self._requests:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

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


@dataclass(slots=True, eq=False)
class Http1Reply:
    """A reply on an HTTP/1.1 connection; implements `ports.reply.Reply`."""

    _connection: Connection
    keep_alive: bool
    modern: bool
    head_only: bool
    _watcher: ReplyWatcher | None = None
    _chunked: bool = False
    _ended: bool = False
    _gone: bool = False

    @property
    def congested(self) -> bool:
        return self._connection.congested

    def watch(self, watcher: ReplyWatcher) -> None:
        self._watcher = watcher

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        if self._gone:
            return
        parts = self._head(status, headers)
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if self.head_only:
            body = b""
        if len(body) < _JOIN_LIMIT:
            parts.append(body)
            self._connection.write(b"".join(parts))
        else:
            self._connection.write_all([b"".join(parts), body])
        self._finish()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        if self._gone:
            return
        self._chunked = self.modern and length is None
        parts = self._head(status, headers, last=length is None and not self.modern)
        if self._chunked:
            parts.append(b"transfer-encoding: chunked\r\n\r\n")
        elif length is not None:
            parts.append(b"content-length: %d\r\n\r\n" % length)
        else:
            parts.append(b"\r\n")
        self._connection.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        if self._gone or self.head_only or not data:
            return
        if self._chunked:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._connection.write(data)

    def end(self) -> None:
        if self._gone:
            return
        if self._chunked and not self.head_only:
            self._connection.write(_LAST_CHUNK)
        self._finish()

    def abort(self) -> None:
        if not self._gone:
            self._ended = True
            self._connection.abort()

    def _head(self, status: int, headers: Headers, *, last: bool = False) -> list[bytes]:
        if last or self._connection.stopping:
            self.keep_alive = False
        parts = [_STATUS_LINES[status], self._connection.date]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        elif not self.modern:
            parts.append(b"connection: keep-alive\r\n")
        return parts

    def _finish(self) -> None:
        self._ended = True
        if not self._connection.congested:
            self._sent()

    def _sent(self) -> None:
        watcher, self._watcher = self._watcher, None
        self._connection.replied(keep_alive=self.keep_alive)
        if watcher is not None:
            watcher.on_sent()

    def writable(self) -> None:
        """The connection is no longer congested."""
        if self._ended:
            self._sent()
        elif self._watcher is not None:
            self._watcher.on_writable()

    def lost(self) -> None:
        """The connection is gone."""
        self._gone = True
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()


_SINGLE = frozenset({b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding"})


def _head_too_large(limit: int) -> ClientFault:
    return ClientFault(
        f"The request's head is larger than {limit} bytes.", code="headers_too_large", status=431
    )


def _body_too_large(limit: int) -> ClientFault:
    return ClientFault(
        f"The request's body is larger than {limit} bytes.", code="request_too_large", status=413
    )
