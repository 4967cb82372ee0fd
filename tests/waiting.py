"""Waiting for what happens soon, without guessing how soon."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which something hangs. Only that is told by it: a busy machine may take a while for anything."""


async def eventually(condition: Callable[[], T | Awaitable[T]], *, within: float = PATIENCE) -> T:
    """Return what `condition` gives as soon as that is true; fail when it seems that it never will be.

    `within`: so many seconds are promised.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        given = condition()
        value: T = await given if inspect.isawaitable(given) else given  # type: ignore[assignment]
        if value:
            return value
        assert loop.time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


async def settled(value: Callable[[], object], seconds: float = 0.3) -> None:
    """Return once `value` has been the same for so long: what it counts has come to rest."""
    loop = asyncio.get_running_loop()
    last, since = value(), loop.time()
    while loop.time() < since + seconds:
        await asyncio.sleep(0.01)
        now = value()
        if now != last:
            last, since = now, loop.time()
