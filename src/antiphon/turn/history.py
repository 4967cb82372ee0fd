"""What models were shown, each item once: a list of items in which every item names the one before it.

An item's id is the hash of its owner, of the id before it, and of its bytes. Two histories that begin with the
same items so share them, whoever wrote them down: a client that continues a response, one that sends the whole
conversation again, and two branches of one chain.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from antiphon.turn.chain import Items, input_items
from antiphon.wire.errors import ClientFault

_ID_BYTES: Final = 20
_ID_IN_HEX: Final = re.compile(rf"[a-z]+_([0-9a-f]{{{2 * _ID_BYTES}}})")


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

    def belongs_to(self, owner: str) -> bool:
        """Whether it was made for this owner."""
        before = None if self.previous is None else Head(self.previous, 0, 0)
        return grow(owner, before, [self.item])[0].id == self.id


def public_id(node_id: bytes, prefix: str) -> str:
    """Return the id under which an item of a history is listed whose client gave it none."""
    return prefix + node_id.hex()


def node_id_of(item_id: str) -> bytes | None:
    """Return the place in a history that `public_id` has named; None if it is another kind of id."""
    found = _ID_IN_HEX.fullmatch(item_id)
    return None if found is None else bytes.fromhex(found[1])


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
    conversation: str | None = None
    """What the request's own input and its answer are to become part of."""

    @property
    def given(self) -> Items:
        """The request's own input."""
        return (self.new if self.shown is None else self.shown)[self.inherited :]

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
