"""One HTTP/1.1 connection to an upstream.

A connection is *idle* (no call), *asked* (request written, head of the answer incomplete) or *answering*. It goes
back to the pool only when the answer ended exactly where it said it would and neither side wants to close;
everything else ends in `abort`, since a connection in doubt would hand one caller the answer of another.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from antiphon.drivers.http import faults
from antiphon.drivers.http.call import HttpCall
from antiphon.drivers.http.limits import MAX_HEAD_BYTES, MAX_HEADERS, Limits
from antiphon.wire.errors import UpstreamFault

_JOIN_BELOW = 64 * 1024
"""Bodies up to here go out in one write with their head; copying larger ones costs more than a second write."""

_CROSSING_SECONDS = 2.0
"""A request and the news that its connection was closed already have crossed by then."""


class Owner(Protocol):
    """The pool, as connections and calls see it."""

    def release(self, connection: "HttpConnection") -> None:
        """Take back a connection that can serve another call."""

    def lost(self, connection: "HttpConnection") -> None:
        """Strike out a connection that is closed."""

    def retry(self, call: HttpCall) -> None:
        """Send a call again, on a new connection."""


class _Distrust(Exception):
    """Raised inside a parser callback: the answer must not be believed."""


class HttpConnection(asyncio.Protocol):
    """The protocol of one connection; used by one call at a time."""

    __slots__ = (
        "call",
        "fields",
        "head_bytes",
        "heard_at",
        "is_closing",
        "is_complete",
        "is_reusable",
        "is_used",
        "needs_eof",
        "on_body",
        "owner",
        "parser",
        "parts",
        "silent_bytes",
        "status",
        "time",
        "told_head",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, owner: Owner, time: Callable[[], float]) -> None:
        """Belong to `owner`; `time` is the loop's clock."""
        self.owner = owner
        self.time = time
        self.call: HttpCall | None = None
        self.is_closing = False
        self.is_used = False
        self.heard_at = 0.0
        self.parts: list[bytes] = []
        # The parser appends without a Python frame for each piece.
        self.on_body = self.parts.append
        self.parser = HttpResponseParser(self)
        self._expect_answer()

    def _expect_answer(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.head_bytes = 0
        self.silent_bytes = 0
        self.told_head = False
        self.is_complete = False
        self.is_reusable = False
        self.needs_eof = False

    # From the pool and the call -------------------------------------------------------------------------------

    def begin(self, call: HttpCall) -> None:
        """Write a call's request."""
        self.call = call
        call.connection = self
        self.heard_at = self.time()
        body = call.body
        if len(body) < _JOIN_BELOW:
            self.transport.write(call.head + body)
        else:
            self.transport.write(call.head)
            self.transport.write(body)
        if call.is_paused:
            self.pause()

    def pause(self) -> None:
        """Stop reading."""
        if not self.is_closing:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self.heard_at = self.time()
        if not self.is_closing:
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close without ceremony; `connection_lost` follows."""
        if not self.is_closing:
            self.is_closing = True
            self.transport.abort()

    def fail(self, fault: UpstreamFault) -> None:
        """End the call with a fault, and the connection with it."""
        call = self.call
        self.call = None
        self.abort()
        if call is not None:
            call.connection = None
            call.break_off(fault)

    def overdue(self, now: float, limits: Limits) -> UpstreamFault | None:
        """Say which timeout the call has run into, if any."""
        call = self.call
        if call is None:
            return None
        if now >= call.deadline:
            return faults.total_timeout(limits.total_timeout)
        if call.is_paused:
            return None
        silence = now - self.heard_at
        if self.told_head:
            return faults.idle_timeout(limits.idle_timeout) if silence >= limits.idle_timeout else None
        if silence >= limits.first_byte_timeout:
            return faults.first_byte_timeout(limits.first_byte_timeout)
        return None

    # From the transport ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse one read and hand what it held to the sink: the head, the body's bytes as one piece, the end."""
        call = self.call
        if call is None:
            # Nobody asked: whatever this is, it must not become the answer to the next request.
            self.abort()
            return
        if not self.told_head:
            self.head_bytes += len(data)
        fault = self._parse(data)
        if not self.told_head:
            if not self.status:
                if fault is None and self.head_bytes > MAX_HEAD_BYTES:
                    fault = faults.protocol_error("its head is too large")
                if fault is not None:
                    self.fail(fault)
                return
            self.told_head = True
            call.sink.head(self.status, self.fields)
            if self.call is not call:
                return
        self.heard_at = self.time()
        parts = self.parts
        if parts:
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            self.silent_bytes = 0
            call.sink.data(body)
            if self.call is not call:
                return
        elif not self.is_complete and fault is None:
            fault = self._count_silence(len(data))
        if self.is_complete:
            self._finish(is_clean=fault is None)
        elif fault is not None:
            self.fail(fault)

    def eof_received(self) -> None:
        """End a body that only the end of the connection ends; what is still to be written has no reader."""
        if self.told_head and self.needs_eof and not _is_cut(self.transport):
            self._finish(is_clean=False)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the call, if one was being served, or have it sent again."""
        self.is_closing = True
        call = self.call
        self.call = None
        if call is None:
            self.owner.lost(self)
            return
        call.connection = None
        is_idle_death = (
            not self.head_bytes and self.is_used and self.time() - self.heard_at < _CROSSING_SECONDS
        )
        if is_idle_death and not call.is_retried:
            # The upstream closed an idle connection while our request was on its way. Later than that it may
            # have begun to work on it, and nobody wants to pay twice. This goes first: the place on the list is
            # the call's, not that of whoever waits.
            self.owner.retry(call)
            self.owner.lost(self)
            return
        self.owner.lost(self)
        fault = faults.truncated() if self.told_head else faults.reset()
        fault.__cause__ = exc
        call.break_off(fault)

    # From the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Notice an answer behind the answer."""
        if self.is_complete:
            raise _Distrust("there are bytes after its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers are dropped."""
        if not self.status:
            self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head before anybody sees it."""
        parser = self.parser
        status = parser.get_status_code()
        fields = self.fields
        if len(fields) > MAX_HEADERS:
            raise _Distrust("it has too many headers")
        if self.head_bytes > MAX_HEAD_BYTES and _size(fields) > MAX_HEAD_BYTES:
            raise _Distrust("its head is too large")
        if status < 200:
            if status < 100 or status == 101:
                raise _Distrust(f"nobody asked for status {status}")
            self.fields = []
            return
        by_name = dict(fields)
        if status not in {204, 304}:
            self._judge_body(by_name)
        self.is_reusable = parser.should_keep_alive() and not (
            # With an explicit keep-alive the parser trusts HTTP/1.0, whose proxies pass that header on unread.
            b"connection" in by_name and parser.get_http_version() == "1.0"
        )
        self.status = status

    def on_message_complete(self) -> None:
        """The answer is over; interim answers are not answers."""
        if self.status:
            self.is_complete = True

    # --------------------------------------------------------------------------------------------------------

    def _judge_body(self, by_name: dict[bytes, bytes]) -> None:
        coding = by_name.get(b"content-encoding")
        if coding and coding.strip().lower() != b"identity":
            raise _Distrust(f"its body is encoded as {coding[:40]!r} although identity was asked for")
        transfer = by_name.get(b"transfer-encoding")
        length = by_name.get(b"content-length")
        if transfer is None:
            self.needs_eof = length is None
        elif length is not None:
            raise _Distrust("it has both a length and a transfer encoding")
        elif transfer.strip().lower() != b"chunked":
            raise _Distrust(f"its transfer encoding is {transfer[:40]!r}")

    def _parse(self, data: bytes) -> UpstreamFault | None:
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            why = error.__context__ if isinstance(error.__context__, _Distrust) else error
            fault = faults.protocol_error(str(why))
            fault.__cause__ = error
            return fault
        return None

    def _count_silence(self, size: int) -> UpstreamFault | None:
        """Bound what an endless trailer or chunk extension may pile up in the parser."""
        self.silent_bytes += size
        if self.silent_bytes > MAX_HEAD_BYTES:
            return faults.protocol_error("there is framing without end in its body")
        return None

    def _finish(self, *, is_clean: bool) -> None:
        call = self.call
        if call is None:
            return
        self.call = None
        call.connection = None
        call.is_over = True
        # An answer that overtook its request leaves the rest of that request on the line.
        if (
            is_clean
            and self.is_reusable
            and not self.is_closing
            and not self.transport.get_write_buffer_size()
        ):
            self.is_used = True
            self._expect_answer()
            if call.is_paused:
                self.transport.resume_reading()
            self.heard_at = self.time()
            self.owner.release(self)
        else:
            self.abort()
        call.sink.end()


def _is_cut(transport: asyncio.Transport) -> bool:
    """Say whether TLS ended without its farewell, which asyncio does not tell apart from a proper end."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return False
    try:
        return bool(tls.read(1))
    except ssl.SSLError:
        return True


def _size(fields: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in fields)
