"""The port to conversations: lists of items that grow by what a client adds and by answers, one writer at a time.

An answer that becomes part of a conversation holds the conversation's lock from before its model is asked until its
end. The lock runs out unless it is prolonged; that of a background answer lasts as long as its run has not ended.
What an answer adds is written together with the answer: by `ResponseStore.put` and `RunStore.append`, by the
conversation that the answer's context names; where the answer itself is not kept, by `append` here. Whatever writes
it, nothing is added by a holder whose lock somebody else has got meanwhile, or to a conversation that is gone.

Items keep the id that they bring if no other item in the conversations of the owner has it; others get a new one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from antiphon.turn.chain import Items
from antiphon.turn.items import PageAsked


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, less its items."""

    id: str
    created_at: int
    """Seconds since the epoch."""
    metadata: dict[str, str]


class NamedItem(NamedTuple):
    """An item and its id, which the item itself need not say, or may say otherwise."""

    id: str
    item: bytes


class Refusal(StrEnum):
    """Why a conversation cannot be written."""

    UNKNOWN = "unknown"
    """There is none of this id, or it belongs to somebody else, or was deleted."""
    LOCKED = "locked"
    """An answer is being made for it."""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items in the order asked for."""

    items: list[NamedItem]
    has_more: bool


class ConversationStore(Protocol):
    """Conversations of all owners, each found by its owner alone. What waits raises StoreFault."""

    async def create(self, conversation: Conversation, owner: str, items: Items) -> Sequence[NamedItem]:
        """Keep a new conversation, and return its first items."""

    async def get(self, conversation_id: str, owner: str) -> Conversation | None:
        """Return a conversation."""

    async def update(self, conversation_id: str, owner: str, metadata: dict[str, str]) -> Conversation | None:
        """Replace the metadata; None if there is no such conversation."""

    async def delete(self, conversation_id: str, owner: str) -> bool:
        """Delete a conversation, whose items can still be referred to for a while; False if there is none."""

    async def add(self, conversation_id: str, owner: str, items: Items) -> Sequence[NamedItem] | Refusal:
        """Add what a client brings, and return it."""

    async def remove(self, conversation_id: str, owner: str, item_id: str) -> bool | Refusal:
        """Remove an item; False if it is not there."""

    async def item(self, conversation_id: str, owner: str, item_id: str) -> NamedItem | None:
        """Return an item."""

    async def page(self, conversation_id: str, owner: str, asked: PageAsked) -> ItemPage:
        """Return a page. Raises ClientFault if it is to begin or end at an item that is not there."""

    async def items(self, conversation_id: str, owner: str, most: int) -> Items:
        """Return the first items, at most so many, the oldest first."""

    async def lock(self, conversation_id: str, owner: str, holder: str, seconds: float) -> Refusal | None:
        """Let the answer with the id `holder` have a conversation; None if it has it now."""

    async def prolong(self, held: Sequence[tuple[str, str]], seconds: float) -> None:
        """Prolong locks, by conversation and holder."""

    def unlock(self, conversation_id: str, holder: str) -> None:
        """Let go of a conversation, soon; never waits."""

    def append(self, conversation_id: str, owner: str, holder: str, items: Callable[[], Items]) -> None:
        """Add an answer that is not kept itself, and unlock; never waits. `items` is called on another thread."""


class ItemStore(Protocol):
    """All kept items: outputs and inputs of responses, and those of conversations."""

    async def find(self, item_ids: Sequence[str], owner: str) -> dict[str, bytes]:
        """Return those of the owner's items that there are. Raises StoreFault."""
