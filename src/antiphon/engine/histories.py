"""Histories that were shown lately, at hand: whoever continues one pays for what is new, and not for a walk through storage."""

from collections import OrderedDict

from antiphon.turn.chain import Items
from antiphon.turn.history import Head


class Histories:
    """Items by the history's last one, whose id stands for all of them and for their owner; bounded in bytes.

    Histories that are branches of each other hold the same bytes, and are counted as if they did not.
    """

    def __init__(self, max_bytes: int) -> None:
        """Hold at most `max_bytes`; the least used go first."""
        self._max_bytes = max_bytes
        self._histories: OrderedDict[bytes, tuple[int, Items]] = OrderedDict()
        self.size = 0
        """Bytes."""

    def get(self, head: bytes) -> Items | None:
        """Return the items up to `head`, if they are here."""
        found = self._histories.get(head)
        if found is None:
            return None
        self._histories.move_to_end(head)
        return found[1]

    def put(self, head: Head, items: Items) -> None:
        """Hold the `items` up to `head`."""
        size = _size_of(head)
        if head.id in self._histories or size > self._max_bytes:
            return
        self._histories[head.id] = (size, items)
        self.size += size
        while self.size > self._max_bytes:
            _, (dropped, _) = self._histories.popitem(last=False)
            self.size -= dropped


class GrownHistories:
    """What each conversation's last answer was shown: the next one is shown that and a little more."""

    def __init__(self, max_bytes: int) -> None:
        """Hold at most `max_bytes`; the least used go first."""
        self._max_bytes = max_bytes
        self._shown: OrderedDict[str, tuple[Head, Items]] = OrderedDict()
        self._size = 0

    def longest_known(self, conversation_id: str, items: Items) -> tuple[Head | None, int]:
        """Return where the history ends that `items` begin with, and how many of them it is."""
        head, known = self._shown.get(conversation_id, (None, ()))
        return (head, len(known)) if items[: len(known)] == known else (None, 0)

    def put(self, conversation_id: str, head: Head, items: Items) -> None:
        """Hold the `items` up to `head`."""
        self._drop(conversation_id)
        size = _size_of(head)
        if size > self._max_bytes:
            return
        self._shown[conversation_id] = (head, items)
        self._size += size
        while self._size > self._max_bytes:
            self._drop(next(iter(self._shown)))

    def _drop(self, conversation_id: str) -> None:
        dropped = self._shown.pop(conversation_id, None)
        if dropped is not None:
            self._size -= _size_of(dropped[0])


def _size_of(head: Head) -> int:
    return head.size + _ITEM_BYTES * head.depth


_ITEM_BYTES = 64
"""What an item takes in memory beside its text."""
