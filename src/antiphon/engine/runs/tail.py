"""A client that follows a run: it is told what is committed, from its own position on, as fast as it reads."""

from collections.abc import Callable
from typing import Final

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.engine.rendition import STREAM_HEADERS
from antiphon.engine.runs.log import RunLog
from antiphon.ports.reply import Headers, Reply
from antiphon.wire.sse import DONE

_BATCH_FRAMES: Final = 256


class Tail:
    """Writes the events of a log to a reply; a `LogListener`, and the watcher of its reply."""

    def __init__(
        self,
        log: RunLog,
        reply: Reply,
        after: int,
        headers: Headers,
        on_over: Callable[[RunLog], None],
        change: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Tell the events after number `after`; `change` is made to each."""
        self._log = log
        self._reply = reply
        self._position = after + 1
        self._on_over = on_over
        self._change = change
        self._is_over = False
        self._is_silent = False
        reply.watch(self)
        reply.start(200, (*STREAM_HEADERS, *headers))
        log.listeners.append(self)
        self.on_grown()

    def on_grown(self) -> None:
        """Pass on what has come, if the client keeps up."""
        if self._is_over:
            return
        log, reply = self._log, self._reply
        while self._position < len(log.frames) and not reply.congested:
            batch = log.frames[self._position : self._position + _BATCH_FRAMES]
            self._position += len(batch)
            self._is_silent = False
            reply.write(b"".join(batch if self._change is None else map(self._change, batch)))
        if log.has_ended and self._position >= len(log.frames):
            self._leave()
            reply.write(DONE)
            reply.end()

    def on_silence(self) -> None:
        """Let the client hear something, if nothing was written since this was called last."""
        if self._is_silent and not self._is_over and not self._reply.congested:
            self._reply.write(RESPONSES.keep_alive)
        self._is_silent = True

    def on_cut(self) -> None:
        """Break off, so that the client knows that there is more, and comes back for it."""
        if not self._is_over:
            self._leave()
            self._reply.abort()

    def on_writable(self) -> None:
        """Go on where the client's slowness had stopped us."""
        self.on_grown()

    def on_sent(self) -> None:
        """The client has it all."""

    def on_gone(self) -> None:
        """The client has left; the run goes on."""
        self._leave()

    def _leave(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._log.listeners.remove(self)
            self._on_over(self._log)
