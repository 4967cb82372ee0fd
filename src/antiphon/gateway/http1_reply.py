"""A reply on an HTTP/1.1 connection: heads, framing, and who hears what became of it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from antiphon.ports.reply import Headers, ReplyWatcher

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_LAST_CHUNK = b"0\r\n\r\n"
_JOIN_LIMIT = 64 * 1024


class Line(Protocol):
    """What a reply needs of its connection."""

    congested: bool

    @property
    def stopping(self) -> bool:
        """Whether the answer under way is the last one."""

    @property
    def date(self) -> bytes:
        """The `Date` header line of this second."""

    def write(self, data: bytes) -> None:
        """Write to the socket."""

    def write_all(self, parts: list[bytes]) -> None:
        """Write several pieces without joining them."""

    def replied(self, *, keep_alive: bool) -> None:
        """Go on after the reply under way was written."""

    def abort(self) -> None:
        """Cut the connection now."""

    def soon(self, reply: "Http1Reply") -> None:
        """Call `reply.tell_gone` in the loop's next turn."""


@dataclass(slots=True, eq=False)
class Http1Reply:
    """A reply on an HTTP/1.1 connection; implements `ports.reply.Reply`."""

    _line: Line
    keep_alive: bool
    modern: bool
    head_only: bool
    _watcher: ReplyWatcher | None = None
    _begun: bool = False
    _chunked: bool = False
    _over: bool = False
    """Nothing more can be written."""
    _ended: bool = False
    """All of it was written."""
    _gone: bool = False

    @property
    def congested(self) -> bool:
        return self._line.congested

    @property
    def ended(self) -> bool:
        """Whether all of it was written, though perhaps not taken by the network yet."""
        return self._ended

    def watch(self, watcher: ReplyWatcher) -> None:
        self._watcher = watcher
        if self._gone:
            # The client left before anybody watched. Told at once, the watcher would hear of it half made.
            self._line.soon(self)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        if self._over:
            return
        if self._begun:
            # A defect of ours, or it would not want to say something else now: what was begun must not
            # look whole.
            self.abort()
            return
        parts = self._head(status, headers)
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if self.head_only:
            body = b""
        if len(body) < _JOIN_LIMIT:
            parts.append(body)
            self._line.write(b"".join(parts))
        else:
            self._line.write_all([b"".join(parts), body])
        self._finish()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        if self._over:
            return
        self._begun = True
        self._chunked = self.modern and length is None
        parts = self._head(status, headers, last=length is None and not self.modern)
        if self._chunked:
            parts.append(b"transfer-encoding: chunked\r\n\r\n")
        elif length is not None:
            parts.append(b"content-length: %d\r\n\r\n" % length)
        else:
            parts.append(b"\r\n")
        self._line.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        if self._over or self.head_only or not data:
            return
        if self._chunked:
            self._line.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._line.write(data)

    def end(self) -> None:
        if self._over:
            return
        if self._chunked and not self.head_only:
            self._line.write(_LAST_CHUNK)
        self._finish()

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self._line.abort()

    def _head(self, status: int, headers: Headers, *, last: bool = False) -> list[bytes]:
        if last or self._line.stopping:
            self.keep_alive = False
        # Upstreams answer with statuses that no registry knows, such as 529; a reason may be left out.
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._line.date]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        elif not self.modern:
            parts.append(b"connection: keep-alive\r\n")
        return parts

    def _finish(self) -> None:
        self._over = self._ended = True
        if not self._line.congested:
            self._sent()

    def _sent(self) -> None:
        watcher, self._watcher = self._watcher, None
        self._line.replied(keep_alive=self.keep_alive)
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
        self._gone = self._over = True
        self.tell_gone()

    def tell_gone(self) -> None:
        """Tell the watcher, once, that the client has left."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()
