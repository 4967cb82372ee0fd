"""Turns that the gateway asks for itself: looked up, produced, cached and counted like any other."""

import asyncio
from typing import NamedTuple

from antiphon.ports.reply import Headers, ReplyWatcher


class Told(NamedTuple):
    """What a turn was answered with."""

    status: int
    headers: Headers
    body: bytes


class InnerReply:
    """Implements `ports.reply.Reply`: collects the answer for whoever awaits `told`."""

    congested = False

    def __init__(self) -> None:
        """Nothing has been told yet."""
        self.told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._watcher: ReplyWatcher | None = None
        self._status = 0
        self._headers: Headers = ()
        self._parts: list[bytes] = []

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""
        self.start(status, headers)
        self.write(body)
        self.end()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Take the head of an answer."""
        del length
        self._status, self._headers = status, headers

    def write(self, data: bytes) -> None:
        """Take more of the body."""
        self._parts.append(data)

    def end(self) -> None:
        """The answer is whole."""
        watcher, self._watcher = self._watcher, None
        if not self.told.done():
            self.told.set_result(Told(self._status, self._headers, b"".join(self._parts)))
        if watcher is not None:
            watcher.on_sent()

    def abort(self) -> None:
        """There will be no whole answer."""
        if not self.told.done():
            self.told.set_exception(ConnectionAbortedError("the answer broke off"))

    async def over(self) -> None:
        """Return when the answer is whole or has broken off, whatever it was."""
        await asyncio.wait((self.told,))
        if not self.told.cancelled():
            self.told.exception()  # nobody else asks for it

    def leave(self) -> None:
        """Nobody waits for it any more."""
        watcher, self._watcher = self._watcher, None
        self.told.cancel()
        if watcher is not None:
            watcher.on_gone()
