"""A reply that is recorded as it goes out, and told to any number of followers: a recording of HTTP.

    waiting --start--> begun --end--> ended
       |                 |
       +----send---------+--abort--> cut       what was told is not all, and nobody knows the rest

Who writes hears that everything was sent, and that nobody ever leaves: the answer goes on whoever listens. Of one
that is larger than a bound nothing stays but what a follower has yet to read; nobody can join it any more.
"""

from collections.abc import Callable
from typing import Final, Literal

from antiphon.ports.idempotency import Outcome
from antiphon.ports.reply import Headers, Reply, ReplyWatcher

REPLAYED: Final = (b"idempotency-replayed", b"true")
"""The header of an answer that was made for an earlier request."""
_BATCH_PARTS: Final = 256
_SLICE_BYTES: Final = 256 * 1024

State = Literal["waiting", "begun", "ended", "cut"]


class RecordedReply:
    """Implements `ports.reply.Reply`."""

    def __init__(self, max_bytes: int, on_over: Callable[[], None]) -> None:
        """Hold at most `max_bytes`; `on_over` is called when it has ended or was cut, before anybody is told."""
        self.followers: list[Follower] = []
        self.state: State = "waiting"
        self.status = 0
        self.headers: Headers = ()
        self.parts: list[bytes] = []
        self.dropped = 0
        """Parts that are here no more, of those that were told."""
        self.size = 0
        """Bytes of the parts that are here."""
        self._max_bytes = max_bytes
        self._on_over = on_over
        self._is_too_large = False
        self._watcher: ReplyWatcher | None = None

    # What is told.

    @property
    def congested(self) -> bool:
        """Whether somebody has yet to read what is not going to be kept."""
        return self._is_too_large and any(follower.is_behind for follower in self.followers)

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""
        if self.state == "waiting":
            self.status, self.headers = status, headers
            self._take(body)
            self._over("ended")
        else:
            self.abort()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Take the head of an answer; its length shows at its end."""
        del length
        if self.state == "waiting":
            self.state, self.status, self.headers = "begun", status, headers
            self._tell()

    def write(self, data: bytes) -> None:
        """Take more of the body."""
        if self.state == "begun" and data:
            self._take(data)
            self._tell()

    def end(self) -> None:
        """The answer is whole."""
        if self.state == "begun":
            self._over("ended")

    def abort(self) -> None:
        """There will be no whole answer."""
        if self.state in {"waiting", "begun"}:
            self._over("cut")

    def tell(self, outcome: Outcome) -> None:
        """Tell what was recorded before."""
        self.status, self.headers = outcome.status, outcome.headers
        for start in range(0, len(outcome.body), _SLICE_BYTES):
            self._take(outcome.body[start : start + _SLICE_BYTES])
        self._over("ended")

    def _take(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        self._is_too_large = self._is_too_large or self.size > self._max_bytes

    def _over(self, state: State) -> None:
        self.state = state
        self._on_over()
        self._tell()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_sent()

    def _tell(self) -> None:
        for follower in tuple(self.followers):
            follower.on_grown()
        self.drop_read()

    # What is read.

    @property
    def outcome(self) -> Outcome | None:
        """The answer, once it has ended; None where not all of it is kept."""
        if self.state != "ended" or self._is_too_large:
            return None
        return Outcome(self.status, tuple(self.headers), b"".join(self.parts))

    @property
    def may_be_joined(self) -> bool:
        """Whether everything that was told can still be read."""
        return not self._is_too_large

    def follow(self, reply: Reply, *, is_late: bool = False) -> None:
        """Let `reply` have everything; `is_late`: it was made for an earlier request."""
        follower = Follower(self, reply, is_late=is_late)
        self.followers.append(follower)
        reply.watch(follower)
        follower.on_grown()

    def left(self, follower: "Follower") -> None:
        """Forget a follower."""
        if follower in self.followers:
            self.followers.remove(follower)
            self.caught_up()

    def caught_up(self) -> None:
        """Somebody has read, or has left."""
        if self._is_too_large:
            self.drop_read()
            if self._watcher is not None and not self.congested:
                self._watcher.on_writable()

    def drop_read(self) -> None:
        """Let go of what everybody has read, where it is not going to be kept."""
        if not self._is_too_large:
            return
        told = self.dropped + len(self.parts)
        count = min((follower.position for follower in self.followers), default=told) - self.dropped
        self.size -= sum(map(len, self.parts[:count]))
        del self.parts[:count]
        self.dropped += count


class Follower:
    """Writes what is recorded to one reply, as far as its client keeps up; the watcher of that reply."""

    def __init__(self, recorded: RecordedReply, reply: Reply, *, is_late: bool) -> None:
        """Begin with the first byte."""
        self.is_late = is_late
        """Whether the answer was made for an earlier request."""
        self.position = 0
        """The first part that was not passed on."""
        self._recorded = recorded
        self._reply = reply
        self._has_begun = False
        self._is_over = False

    @property
    def is_behind(self) -> bool:
        """Whether there is something that was not passed on."""
        return self.position < self._recorded.dropped + len(self._recorded.parts)

    def on_grown(self) -> None:
        """Pass on what has come, if the client keeps up."""
        recorded, reply = self._recorded, self._reply
        if self._is_over or recorded.state == "waiting":
            return
        if not self._has_begun and self._begin():
            return
        while self.is_behind and not reply.congested:
            first = self.position - recorded.dropped
            parts = recorded.parts[first : first + _BATCH_PARTS]
            if len(parts) > 1 and sum(map(len, parts)) > _SLICE_BYTES:
                parts = parts[:1]
            self.position += len(parts)
            reply.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if not self.is_behind and recorded.state != "begun":
            self._finish()

    def _begin(self) -> bool:
        """Write the head, or the whole of what is whole; returns whether that was all."""
        recorded = self._recorded
        self._has_begun = True
        headers = (*recorded.headers, REPLAYED) if self.is_late else recorded.headers
        if recorded.state == "cut" and not recorded.status:
            self._finish()
            return True
        if recorded.state != "ended":
            self._reply.start(recorded.status, headers)
            return False
        if len(recorded.parts) > 1:
            self._reply.start(recorded.status, headers, recorded.size)
            return False
        body = b"".join(recorded.parts)
        self._leave()
        self._reply.send(recorded.status, headers, body)
        return True

    def _finish(self) -> None:
        self._leave()
        if self._recorded.state == "cut":
            self._reply.abort()
        else:
            self._reply.end()

    def _leave(self) -> None:
        self._is_over = True
        self._recorded.left(self)

    # What the client's reply tells.

    def on_writable(self) -> None:
        """The client has read."""
        self.on_grown()
        self._recorded.caught_up()

    def on_sent(self) -> None:
        """The client has it all."""

    def on_gone(self) -> None:
        """The client has left; the answer goes on."""
        self._leave()
