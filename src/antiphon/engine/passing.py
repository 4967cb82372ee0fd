"""Passing an exchange on as it is, without recording it: what providers with `state: upstream` keep themselves."""

from collections.abc import Sequence

from antiphon.engine.live import passed_on
from antiphon.engine.producing import Source
from antiphon.ports.reply import Reply
from antiphon.ports.upstream import Call, UpstreamRequest
from antiphon.wire.errors import UpstreamFault, error_body


class Passing:
    """The sink of one exchange, and the watcher of its reply."""

    def __init__(self, source: Source, request: UpstreamRequest, request_id: bytes, reply: Reply) -> None:
        """Ask `source`, and let `reply` have whatever comes."""
        self._reply = reply
        self._request_id = request_id
        self._started = False
        self._head: tuple[int, tuple[tuple[bytes, bytes], ...]] = (200, ())
        self._call: Call | None = None
        reply.watch(self)
        self._call = source.upstream.send(request, self)

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        content_type = [header for header in headers if header[0] == b"content-type"]
        request_id = () if dict(headers).get(b"x-request-id") else ((b"x-request-id", self._request_id),)
        self._head = status, (*content_type, *passed_on(headers), *request_id)

    def data(self, data: bytes) -> None:
        """Pass on more of the body."""
        self._start()
        self._reply.write(data)
        if self._reply.congested and self._call is not None:
            self._call.pause()

    def end(self) -> None:
        """The body is whole."""
        self._call = None
        self._start()
        self._reply.end()

    def broken(self, fault: UpstreamFault) -> None:
        """The body is not whole, or there is none."""
        self._call = None
        if self._started:
            self._reply.abort()
        else:
            headers = ((b"content-type", b"application/json"), (b"x-request-id", self._request_id))
            self._reply.send(fault.status, (*headers, *fault.headers), error_body(fault))

    def on_writable(self) -> None:
        """The client has read."""
        if self._call is not None:
            self._call.resume()

    def on_sent(self) -> None:
        """The client has it all."""

    def on_gone(self) -> None:
        """The client has left."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._reply.start(*self._head)
