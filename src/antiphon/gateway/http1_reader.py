"""Requests out of bytes: llhttp, and the limits of what it reads. Knows no transport, no clock and no loop.

llhttp refuses what is malformed or ambiguous (both lengths, bad chunk sizes, folded headers); what is too
large, or not understood, is refused here.
"""

from collections import deque
from typing import Literal

import httptools

from antiphon.gateway.request import Request
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault, GatewayError


class RequestReader:
    """Reads the requests of one connection, up to the first that cannot be read.

    The parser calls it directly: whoever feeds it looks afterwards at what has changed.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_framing",
        "_headers",
        "_large_read",
        "_limits",
        "_modern",
        "_parser",
        "_repeated",
        "_unbodied",
        "_upgrade",
        "_url",
        "continue_at_once",
        "continue_due",
        "deaf",
        "fault",
        "part",
        "peer",
        "requests",
    )

    def __init__(self, limits: Server, peer: str) -> None:
        """Read within `limits` what `peer` sends."""
        self.peer = peer
        self.requests: deque[tuple[Request, bool, bool]] = deque()
        """Whole requests, for the connection to take: the request, keep-alive, HTTP/1.1."""
        self.fault: GatewayError | None = None
        """What was wrong after them. It is the last thing that is read."""
        self.deaf = False
        """Whether no more is read: after a fault, and after an offer to speak another protocol."""
        self.part: Literal["head", "body"] | None = None
        """The part of a message that is being read; None between messages."""
        self.continue_due = False
        """Whether the client may wait for a 100-continue before it sends the body that is to be read."""
        self.continue_at_once = False
        """Whether in the last feed a head asked for one, with no request waiting before it."""
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        # The message being read.
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

    def feed(self, data: bytes) -> None:
        """Read on. Whoever is `deaf` is not to be fed."""
        most = self._limits.max_header_bytes
        self.continue_at_once = False
        if self.part is not None:
            self._unbodied += len(data)
        self._large_read = len(data) > most
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(_malformed(error))
        if self._unbodied > most and self.part is not None:
            # Trailers and what else may stand between pieces of a body count like a head.
            self.refuse(_head_too_large(most))

    def refuse(self, fault: GatewayError) -> None:
        """Read no more, because of `fault` unless there was one before."""
        if self.fault is None:
            self.fault = fault
        self.deaf = True
        self.part = None
        self.continue_due = False
        self._body = b""

    @property
    def target(self) -> bytes:
        """The target of the request that is being read, or was read last, as far as it is known."""
        return self._url

    # What the parser calls.

    def on_message_begin(self) -> None:
        self.part = "head"
        self._url = b""
        self._headers = {}
        self._repeated = 0
        self._framing = b""
        self._body_size = 0
        self._unbodied = 0

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.part != "head":
            return  # a trailer
        name = name.lower()
        headers = self._headers
        if len(headers) + self._repeated >= self._limits.max_headers:
            self.refuse(_too_many_headers(self._limits.max_headers))
            return
        if name in headers:
            if name in _SINGLE:
                self.refuse(
                    ClientFault(f"More than one {name.decode('latin-1')} header.", code="bad_request")
                )
                return
            self._repeated += 1
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        if self.fault is not None:
            return
        version = self._parser.get_http_version()
        self._modern = modern = version == "1.1"
        self._upgrade = self._parser.should_upgrade()
        fault = self._fault_of_head(version, modern=modern)
        if self._upgrade and self._parser.get_method() == b"CONNECT":
            self._framing = b""  # what follows is no body but the tunnel
        if fault is not None:
            self.refuse(fault)
        elif self._framing:
            self.part = "body"
            if modern and b"expect" in self._headers:
                self.continue_due = True
                if not self.requests:
                    self.continue_at_once = True

    def on_body(self, data: bytes) -> None:
        if self.fault is not None:
            return
        self._unbodied = 0
        self._body_size += len(data)
        if self._body_size > self._limits.max_body_bytes:
            self.refuse(_body_too_large(self._limits.max_body_bytes))
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
        if self.fault is not None or (self._upgrade and self._framing):
            return
        self.part = None
        self.continue_due = False
        body, self._body = self._body, b""
        path, _, query = self._url.partition(b"?")
        if path[:1] != b"/":
            path = _without_authority(path)
        parser = self._parser
        request = Request(parser.get_method(), path, query, self._headers, bytes(body), self.peer)
        keep_alive = parser.should_keep_alive() and not self._upgrade
        self.requests.append((request, keep_alive, self._modern))

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
        if self.fault is not None or not framing:
            self.deaf = True
            return
        self._parser, method = httptools.HttpRequestParser(_BodyOnly(self)), self._parser.get_method()
        self._parser.feed_data(method + b" / HTTP/1.1\r\nconnection: close\r\n" + framing + b"\r\n\r\n")
        try:
            self._parser.feed_data(rest)
        except httptools.HttpParserError as error:
            self.refuse(_malformed(error))


class _BodyOnly:
    """Shows a reader the body of a message and its end."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete


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
