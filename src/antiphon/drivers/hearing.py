"""Hearing other processes through a server, however often it goes away."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

_log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0


async def keep_hearing(
    hear: Callable[[Callable[[], None]], Awaitable[None]],
    faults: tuple[type[Exception], ...],
    what: str,
) -> None:
    """Let `hear` connect and listen, again and again: it ends, or raises one of `faults`, when the server is gone.

    It calls what it is given when it begins to hear. That `what` is not heard is logged once, and again when it is
    heard. Never returns.
    """
    wait, is_deaf = _FIRST_WAIT_SECONDS, False

    def heard() -> None:
        nonlocal wait, is_deaf
        if is_deaf:
            _log.info("%s are heard again", what)
        wait, is_deaf = _FIRST_WAIT_SECONDS, False

    while True:
        try:
            await hear(heard)
        except faults as error:
            if not is_deaf:
                _log.warning("%s are not heard: %s", what, str(error) or "it does not answer in time")
            is_deaf = True
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
