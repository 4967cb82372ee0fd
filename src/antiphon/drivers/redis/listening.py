"""Hearing what is said in one channel of Redis or Valkey."""

from collections.abc import Callable
from typing import Final

from antiphon.drivers.hearing import keep_hearing
from antiphon.drivers.redis.client import FAULTS, Client, open_channels

_ALIVE_SECONDS: Final = 15.0
"""How long nothing is heard before the connection is tried."""


async def listen(
    client: Client, channel: str | bytes, heard: Callable[[bytes | None], object], *, what: str
) -> None:
    """Call `heard` with each message, and with None where some may have been missed. Never returns.

    `what` names the messages in the log.
    """

    async def hear(begun: Callable[[], None]) -> None:
        async with await open_channels(client) as messages:
            await messages.subscribe(channel)
            begun()
            heard(None)
            while True:
                message = await messages.get_message(timeout=_ALIVE_SECONDS)
                said = None if message is None else message.get("data")
                if isinstance(said, bytes):
                    heard(said)

    await keep_hearing(hear, FAULTS, what)
