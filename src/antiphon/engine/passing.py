"""Passing an exchange on as it is, without recording it: what providers with `state: upstream` keep themselves."""

from collections.abc import Sequence

from antiphon.engine.error_answers import MAX_ERROR_BYTES, error_answer, not_followed, redact
from antiphon.engine.live import passed_on
from antiphon.engine.refusals import refuse
from antiphon.engine.source import Source
from antiphon.ports.reply import Reply
from antiphon.ports.upstream import Call, UpstreamRequest
from antiphon.recording import Head
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.errors import UpstreamFault


class Passing:
    """The sink of one exchange, and the watcher of its reply."""

    def __init__(self, source: Source, request: UpstreamRequest, request_id: bytes, reply: Reply) -> None:
        """Ask `source`, and let `reply` have whatever comes."""
        self._source = source
        self._reply = reply
        self._request_id = request_id
        self._started = False
        self._head = Head()
        self._error = b""
        self._call: Call | None = None
        reply.watch(self)
        self._call = source.upstream.send(request, self)

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See the upstream's status and headers."""
        named = dict(headers)
        request_id = () if named.get(b"x-request-id") else ((b"x-request-id", self._request_id),)
        content_type = named.get(b"content-type", b"application/json")
        self._head = Head(status, content_type, (*passed_on(headers), *request_id))
        if 300 <= status < 400:
            self.on_gone()
            self.broken(not_followed(status))

    def data(self, data: bytes) -> None:
        """Pass on more of the body; an error is passed on when it is whole, without our key."""
        if self._head.status >= 400:
            self._error = (self._error + data)[:MAX_ERROR_BYTES]
            return
        self._start()
        self._reply.write(data)
        if self._reply.congested and self._call is not None:
            self._call.pause()

    def end(self) -> None:
        """The body is whole."""
        self._call = None
        if self._head.status >= 400:
            answer = error_answer(self._head, redact(self._error, self._source.secrets))
            content_type, body = answer.told(OPENAI_ERRORS, self._request_id.decode())
            self._reply.send(answer.status, ((b"content-type", content_type), *answer.headers), body)
            return
        self._start()
        self._reply.end()

    def broken(self, fault: UpstreamFault) -> None:
        """The body is not whole, or there is none."""
        self._call = None
        if self._head.status >= 400:
            self.end()  # the status says more than that its body is not whole
        elif self._started:
            self._reply.abort()
        else:
            refuse(self._reply, self._request_id, fault)

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
            head = self._head
            self._reply.start(head.status, ((b"content-type", head.content_type), *head.headers))
