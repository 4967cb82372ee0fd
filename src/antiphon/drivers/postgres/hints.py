"""What the processes that share a database tell each other: that somebody has written to a run, and to which.

A hint may be lost, and may come in vain. Nothing is true because of one.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.drivers.hearing import keep_hearing
from antiphon.drivers.postgres.connection import Connection, connect, leave
from antiphon.drivers.postgres.faults import FAULTS

_CHANNEL: Final = "antiphon_runs"
_ALIVE_SECONDS: Final = 15.0
"""How often the connection is tried: one whose other end has vanished says nothing by itself."""
LONGEST: Final = 7800
"""Bytes of names in one hint; a notification may have 8000 in all. Longer ones are cut, and say so by their length."""


class Hints:
    """One connection that listens, for all that is to be heard; those who write send hints with what they write."""

    def __init__(self, url: str) -> None:
        """Listen at `url`; what this process writes is no news to it."""
        self._url = url
        self._sender = secrets.token_hex(4)
        self._others: dict[str, Callable[[str | None], object]] = {}

    @property
    def address(self) -> tuple[str, str]:
        """What a statement notifies with: the channel, and who sends."""
        return _CHANNEL, self._sender

    def hear(self, channel: str, heard: Callable[[str | None], object]) -> None:
        """Call `heard` with what is said in another channel, with None where something may have been missed.

        It is heard from the next connection on: say it before `listen`.
        """
        self._others[channel] = heard

    async def listen(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that others have written to, none where it is not known. Never returns."""

        async def hear(begun: Callable[[], None]) -> None:
            connection = await connect(self._url)
            begun()
            try:
                await self._hear(connection, changed)
            finally:
                await leave(connection)

        await keep_hearing(hear, FAULTS, "other processes")

    async def _hear(self, connection: Connection, changed: Callable[[Sequence[str]], object]) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(_CHANNEL, lambda _, _pid, _channel, said: self._heard(said, changed))
        for channel, heard in self._others.items():
            await connection.add_listener(channel, lambda _, _pid, _channel, said, heard=heard: heard(said))
        changed(())  # what was said while nobody listened
        for heard in self._others.values():
            heard(None)
        while not lost.is_set():
            try:
                async with asyncio.timeout(_ALIVE_SECONDS):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")

    def _heard(self, said: str, changed: Callable[[Sequence[str]], object]) -> None:
        sender, _, names = said.partition(" ")
        if sender != self._sender:
            changed(names.split() if len(names) < LONGEST else ())
