"""A request under way, as the one who sent it holds it."""

from typing import Protocol

from antiphon.ports.upstream import AnswerSink
from antiphon.wire.errors import UpstreamFault


class HttpCall:
    """A request under way: waiting for a connection, or on one."""

    __slots__ = (
        "body",
        "connection",
        "deadline",
        "head",
        "is_over",
        "is_paused",
        "is_retried",
        "queue",
        "sink",
        "wait_until",
    )

    def __init__(self, queue: "Queue", sink: AnswerSink, head: bytes, body: bytes, deadline: float) -> None:
        """Carry what is needed to send the request, if need be twice."""
        self.queue = queue
        self.sink = sink
        self.head = head
        self.body = body
        self.deadline = deadline
        self.wait_until = deadline
        self.connection: Carrier | None = None
        self.is_over = False
        self.is_paused = False
        self.is_retried = False

    def cancel(self) -> None:
        """Close the upstream's connection at once; the sink hears nothing more."""
        if self.is_over:
            return
        self.is_over = True
        connection = self.connection
        if connection is None:
            self.queue.forget(self)
        else:
            self.connection = None
            connection.call = None
            connection.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if self.is_paused or self.is_over:
            return
        self.is_paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read on; the idle timeout starts anew."""
        if not self.is_paused or self.is_over:
            return
        self.is_paused = False
        if self.connection is not None:
            self.connection.resume()

    def break_off(self, fault: UpstreamFault) -> None:
        """Tell the sink that there is no answer, once."""
        if not self.is_over:
            self.is_over = True
            self.sink.broken(fault)


class Carrier(Protocol):
    """The connection that a call is on."""

    call: HttpCall | None

    def abort(self) -> None:
        """Close without ceremony."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Queue(Protocol):
    """Where calls wait that are on no connection yet."""

    def forget(self, call: HttpCall) -> None:
        """Drop a call that nobody waits for any more."""
