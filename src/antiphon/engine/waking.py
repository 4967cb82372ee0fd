"""Looking when there is a hint, and every so often in case that one was lost."""

import asyncio


async def woken(event: asyncio.Event, seconds: float | None) -> None:
    """Return when `event` is set, or after `seconds`, if there are any; it is clear then."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
