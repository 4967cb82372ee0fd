"""Whose turn it is in each conversation: one answer at a time becomes part of it.

free --lock--> held --the answer is added, or there is none--> free
                |
                +-- its process dies --> the lock runs out
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from antiphon.engine.tasks import Tasks
from antiphon.ports.conversations import ConversationStore, Refusal
from antiphon.turn.chain import Items
from antiphon.wire.errors import ClientFault, StoreFault

_log = logging.getLogger(__name__)

_LEASE_SECONDS: Final = 15.0
_PATIENCE_SECONDS: Final = 0.3
"""A client may have read the end of an answer a moment before it was added."""
_RETRY_SECONDS: Final = 0.02
_PARAM: Final = "conversation"


class Conversations:
    """The conversations that turns of this process hold."""

    def __init__(
        self, store: ConversationStore, tasks: Tasks, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Lock in `store`; `clock` is monotonic."""
        self.store = store
        self._tasks = tasks
        self._clock = clock
        self._held: dict[str, str] = {}
        """Conversations by their holders."""

    def start(self) -> None:
        """Begin to prolong what is held."""
        self._tasks.start(self._prolong(), "prolong the locks of conversations")

    async def lock(self, conversation_id: str, owner: str, holder: str) -> None:
        """Let the answer `holder` have a conversation, until `release`, `add` or `hand_over`.

        Raises ClientFault 404, 400 `conversation_locked`; StoreFault.
        """
        give_up_at = self._clock() + _PATIENCE_SECONDS
        while (refusal := await self._lock(conversation_id, owner, holder)) is not None:
            if refusal is Refusal.UNKNOWN or self._clock() >= give_up_at:
                raise fault_of(refusal, conversation_id, _PARAM)
            await asyncio.sleep(_RETRY_SECONDS)
        self._held[holder] = conversation_id

    async def _lock(self, conversation_id: str, owner: str, holder: str) -> Refusal | None:
        return await self.store.lock(conversation_id, owner, holder, _LEASE_SECONDS)

    def release(self, holder: str) -> None:
        """Let go of what `holder` has, if it has anything."""
        conversation_id = self._held.pop(holder, None)
        if conversation_id is not None:
            self.store.unlock(conversation_id, holder)

    def hand_over(self, holder: str) -> None:
        """From now on the store lets go by itself: with the answer that it keeps, or at the end of the run."""
        self._held.pop(holder, None)

    def add(self, conversation_id: str, owner: str, holder: str, items: Callable[[], Items]) -> None:
        """Add an answer that is not kept itself, and let go; `items` is called on another thread."""
        self._held.pop(holder, None)
        self.store.append(conversation_id, owner, holder, items)

    async def _prolong(self) -> None:
        while True:
            await asyncio.sleep(_LEASE_SECONDS / 3)
            held = [(conversation_id, holder) for holder, conversation_id in self._held.items()]
            if not held:
                continue
            try:
                await self.store.prolong(held, _LEASE_SECONDS)
            except StoreFault as fault:
                _log.warning("locks of conversations are not prolonged: %s", fault.message)


def fault_of(refusal: Refusal, conversation_id: str, param: str | None = None) -> ClientFault:
    """Return what a client is told of a conversation that it cannot write."""
    if refusal is Refusal.LOCKED:
        return ClientFault(
            "Another answer is being made for this conversation. Try again when that has ended.",
            code="conversation_locked",
            param=_PARAM,
        )
    return ClientFault(f"Conversation with id '{conversation_id[:128]}' not found.", status=404, param=param)
