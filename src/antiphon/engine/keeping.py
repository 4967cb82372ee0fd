"""Waiting with the end of an answer until whoever it leads to can find it by its id.

Where other processes look into the same storage, a client's next request may reach one of them: it must not be told
there that the answer, of which it has just read the end, is not known.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

_MOST_SECONDS: Final = 2.0
"""Then the client is told all the same: the answer itself is whole, and storage may be away for long."""


class Keeping:
    """One answer on its way to storage."""

    __slots__ = ("_go_on", "_timer", "is_over")

    def __init__(self) -> None:
        """Begin to wait."""
        self.is_over = False
        self._go_on: Callable[[], object] | None = None
        self._timer = asyncio.get_running_loop().call_later(_MOST_SECONDS, self._give_up)

    def then(self, go_on: Callable[[], object]) -> None:
        """Call `go_on` when it is over; at once if it is."""
        if self.is_over:
            go_on()
        else:
            self._go_on = go_on

    def over(self) -> None:
        """It is written, or cannot be."""
        if self.is_over:
            return
        self.is_over = True
        self._timer.cancel()
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            go_on()

    def _give_up(self) -> None:
        _log.warning("an answer is told before it is kept: storage takes longer than %g s", _MOST_SECONDS)
        self.over()
