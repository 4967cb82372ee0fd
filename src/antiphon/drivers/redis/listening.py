"""Hearing what is said in one channel of Redis or Valkey, however often the server goes away."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from antiphon.drivers.redis.client import FAULTS, Client, open_channels, said_by

_log = logging.getLogger(__name__)

_ALIVE_SECONDS: Final = 15.0
"""How long nothing is heard before the connection is tried."""
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0


async def listen(
    client: Client, channel: str | bytes, heard: Callable[[bytes | None], object], *, what: str
) -> None:
    """Call `heard` with each message, and with None where some may have been missed. Never returns.

    `what` names the messages in the log.
    """
    wait, is_deaf = _FIRST_WAIT_SECONDS, False
    while True:
        try:
            async with await open_channels(client) as messages:
                await messages.subscribe(channel)
                if is_deaf:
                    _log.info("%s are heard again", what)
                wait, is_deaf = _FIRST_WAIT_SECONDS, False
                heard(None)
                while True:
                    message = await messages.get_message(timeout=_ALIVE_SECONDS)
                    said = None if message is None else message.get("data")
                    if isinstance(said, bytes):
                        heard(said)
        except FAULTS as error:
            if not is_deaf:
                _log.warning("%s are not heard: %s", what, said_by(error))
            is_deaf = True
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
