"""What models were shown, each item once: a list of items in which every item names the one before it.

An item's id is the hash of its owner, of the id before it, and of its bytes. Two histories that begin with the
same items so share them, whoever wrote them down: a client that continues a response, one that sends the whole
conversation again, and two branches of one chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from antiphon.turn.chain import Items, input_items
from antiphon.wire.errors import ClientFault

_ID_BYTES: Final = 20
ID_PREFIX: Final = "item_"
"""Of the ids that items get whose client gave them none."""


class Head(NamedTuple):
    """The last item of a history."""

    id: bytes
    depth: int
    """How many items there are up to it."""
    size: int
    """Their bytes."""


class Node(NamedTuple):
    """One item of a history, and where it stands."""

    id: bytes
    previous: bytes | None
    depth: int
    size: int
    item: bytes

    @property
    def head(self) -> Head:
        """The history that ends here."""
        return Head(self.id, self.depth, self.size)


@dataclass(frozen=True, slots=True)
class Context:
    """What a model was shown for one answer: a history that is stored, and what came after it."""

    before: Head | None
    new: Items
    shown: Items | None = None
    """All items, where they are at hand."""
    inherited: int = 0
    """How many items stand in front of the request's own `input`."""
    is_text: bool = False
    """Whether that `input` is a string."""

    @classmethod
    def of(cls, given: bytes | None) -> "Context":
        """Return the context of a request that stands alone, whose `input` is `given`."""
        try:
            items = input_items(given)
            return cls(None, items, items)
        except ClientFault:
            return cls(None, ())  # an upstream has understood it, whatever it is


def head_of(owner: str, before: Head | None, items: Iterable[bytes]) -> Head | None:
    """Return where a history ends in which `items` come after `before`; None where there is no item at all."""
    nodes = grow(owner, before, items)
    return nodes[-1].head if nodes else before


def grow(owner: str, before: Head | None, items: Iterable[bytes]) -> list[Node]:
    """Return the nodes of `items` when they come after `before`."""
    previous, depth, size = (None, 0, 0) if before is None else before
    seed = blake2b(owner.encode(), digest_size=_ID_BYTES).digest()
    nodes: list[Node] = []
    for item in items:
        digest = blake2b(seed, digest_size=_ID_BYTES)
        digest.update(previous or bytes(_ID_BYTES))
        digest.update(item)
        depth, size = depth + 1, size + len(item)
        nodes.append(Node(digest.digest(), previous, depth, size, item))
        previous = nodes[-1].id
    return nodes
