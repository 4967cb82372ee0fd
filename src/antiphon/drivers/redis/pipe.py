"""One connection over which commands go without waiting for each other: what is asked in one tick is sent at once.

The library connects, greets and authenticates; then its transport is taken over. A look-up through the library's own
client costs seven times the CPU of one here, and each waits for a connection of its own.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Reply = Any
"""Bytes, an integer, None, or a list of replies."""

_SILENT_SECONDS: Final = 2.0
"""How long a server that owes a reply may say nothing until the connection is given up."""


class Pipe(asyncio.Protocol):
    """Connects when something is asked and it is not connected; what is under way then is lost with a connection."""

    def __init__(self, make_connection: Callable[[], AbstractConnection], patience: float = math.inf) -> None:
        """Connect with what `make_connection` makes; refuse at once what would wait behind `patience` seconds of silence."""
        self._patience = patience
        self._make = make_connection
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.StreamWriter | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reader = _new_reader()
        self._unsent: list[bytes] = []
        self._owed: deque[asyncio.Future[Reply]] = deque()
        self._heard_at = 0.0
        self._is_stuck = False
        self._watch: asyncio.TimerHandle | None = None

    def ask(self, *words: bytes) -> asyncio.Future[Reply]:
        """Send a command at the end of this tick. The future raises OSError, RedisError; a refusal is ResponseError."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if not self._owed:
            self._heard_at = self._loop.time()
        elif self._is_stuck:
            reply.set_exception(TimeoutError("the server says nothing"))
            return reply
        self._owed.append(reply)
        if self._watch is None:
            self._watch_in(min(self._patience, _SILENT_SECONDS))
        self._unsent.append(hiredis.pack_command(words))  # type: ignore[arg-type]
        if self._transport is None:
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect(), name="redis-connect")
        elif len(self._unsent) == 1:
            self._loop.call_soon(self._send)
        return reply

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._owed

    async def close(self) -> None:
        """Hang up; what is under way is lost."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._lose(ConnectionError("closed"))

    # What the connection tells.

    def data_received(self, data: bytes) -> None:
        """Hand out the replies in the order of the commands."""
        self._heard_at = self._loop.time()
        self._is_stuck = False
        reader, owed = self._reader, self._owed
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                asked = owed.popleft()
                if asked.done():
                    continue  # nobody waits for it any more
                if isinstance(reply, ResponseError):
                    asked.set_exception(reply)
                else:
                    asked.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self._lose(ConnectionError(f"not what Redis says: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way."""
        self._lose(ConnectionError(str(exc or "the server has closed the connection")))

    async def _connect(self) -> None:
        connection = self._make()
        why: Exception | None = ConnectionError("there is no connection")
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            self._take_over(connection)
            why = None
        except (RedisError, OSError) as error:
            why = error
        finally:
            self._connecting = None
            if why is not None:
                await connection.disconnect(nowait=True)
                self._lose(why)
        self._send()

    def _take_over(self, connection: AbstractConnection) -> None:
        writer = connection._writer
        assert writer is not None
        connection._writer = connection._reader = None  # it is not the library's any more, to be closed by it
        self._writer = writer
        transport = writer.transport
        transport.set_protocol(self)
        self._transport = transport
        self._reader = _new_reader()

    def _send(self) -> None:
        if self._transport is None or not self._unsent:
            return
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _watch_in(self, seconds: float) -> None:
        # After what has come meanwhile: if this process was late itself, the server was not silent.
        soon = self._loop.call_soon
        self._watch = self._loop.call_later(seconds, lambda: soon(lambda: soon(self._look_after)))

    def _look_after(self) -> None:
        """Give up a connection whose other end has vanished without a word; before that, wait for it no more."""
        self._watch = None
        if not self._owed:
            return
        silent = self._loop.time() - self._heard_at
        if silent >= _SILENT_SECONDS:
            self._lose(TimeoutError("the server says nothing"))
            return
        self._is_stuck = silent >= self._patience
        self._watch_in((_SILENT_SECONDS if self._is_stuck else min(self._patience, _SILENT_SECONDS)) - silent)

    def _lose(self, error: Exception) -> None:
        transport, self._transport = self._transport, None
        self._is_stuck = False
        if transport is not None:
            transport.set_protocol(
                asyncio.Protocol()
            )  # what it has still to say is not about the next connection
            transport.abort()
        self._writer = None  # only now: it closes, with a warning, what is open
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._unsent.clear()
        owed, self._owed = self._owed, deque()
        for reply in owed:
            if not reply.done():
                reply.set_exception(error)
                reply.exception()  # whoever has gone will not fetch it


def _new_reader() -> hiredis.Reader:
    return hiredis.Reader(replyError=ResponseError)
