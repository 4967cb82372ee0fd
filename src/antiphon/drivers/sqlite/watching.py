"""Hearing that other processes have written to the file: by looking at its version, which costs a look and no more.

Nobody looks while there is nothing to be told: a process that has had nothing to do with runs for a while sleeps.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from antiphon.drivers.sqlite.database import Database
from antiphon.wire.errors import StoreFault

_LOOK_SECONDS: Final = 0.05
_GONE_SECONDS: Final = 1.0


class Watch:
    """Looks for as long as it was said to be of use lately."""

    def __init__(self, database: Database, seconds: float) -> None:
        """Look on for `seconds` after each `use`."""
        self._database = database
        self._seconds = seconds
        self._until = 0.0
        self._is_used = asyncio.Event()

    def use(self) -> None:
        """Somebody here wants to hear soon what others write."""
        self._until = time.monotonic() + self._seconds
        self._is_used.set()

    async def run(self, changed: Callable[[], object]) -> None:
        """Call `changed` when somebody has written, this process too; never returns."""
        seen: int | None = None
        while True:
            if time.monotonic() >= self._until:
                self._is_used.clear()
                await self._is_used.wait()
            try:
                (version,) = await self._database.read(
                    lambda connection: connection.execute("PRAGMA data_version").fetchone()
                )
            except StoreFault:
                await asyncio.sleep(_GONE_SECONDS)
                continue
            if version != seen:  # the first time too: who knows since when
                changed()
            seen = version
            await asyncio.sleep(_LOOK_SECONDS)
