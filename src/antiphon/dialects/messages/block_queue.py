"""The content blocks of a streamed message, told one after the other whatever the order they grow in.

    waiting --first in the row--> open --ended--> told
       |  grows: kept               |  grows: told at once

Anthropic's clients take one open block at a time, while calls of the hub may grow side by side: what grows behind
the open block waits until that has ended.
"""

from collections.abc import Hashable
from typing import Any

from antiphon.dialects.messages.events import BLOCK_DELTA, BLOCK_START, BLOCK_STOP, write_event
from antiphon.wire.objects import JsonObject


class BlockQueue:
    """The blocks of one message."""

    def __init__(self) -> None:
        """Begin with none."""
        self._frames: list[bytes] = []
        self._waiting: list[_Block] = []
        self._by_key: dict[Hashable, _Block] = {}
        self._index = 0
        self.kinds: set[str] = set()
        """The types of the blocks so far."""

    def drain(self) -> list[bytes]:
        """Return the frames since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def has(self, key: Hashable) -> bool:
        """Whether the block was begun."""
        return key in self._by_key

    def begin(self, key: Hashable, content: JsonObject) -> None:
        """Begin a block."""
        block = _Block(content)
        self.kinds.add(content["type"])
        self._by_key[key] = block
        self._waiting.append(block)
        if len(self._waiting) == 1:
            self._tell(BLOCK_START, content_block=content)

    def grow(self, key: Hashable, delta: JsonObject) -> None:
        """Add to a block; one that has ended stays as it is."""
        block = self._by_key[key]
        if block.has_ended:
            return
        if block is self._waiting[0]:
            self._tell(BLOCK_DELTA, delta=delta)
        else:
            block.kept.append(delta)

    def end(self, key: Hashable) -> None:
        """End a block; once is enough."""
        block = self._by_key.get(key)
        if block is None or block.has_ended:
            return
        block.has_ended = True
        while self._waiting and self._waiting[0].has_ended:
            self._tell(BLOCK_STOP)
            self._index += 1
            del self._waiting[0]
            if self._waiting:
                self._open(self._waiting[0])

    def end_all(self) -> None:
        """End every block."""
        for key in list(self._by_key):
            self.end(key)

    def _open(self, block: "_Block") -> None:
        self._tell(BLOCK_START, content_block=block.content)
        for delta in block.kept:
            self._tell(BLOCK_DELTA, delta=delta)
        block.kept.clear()

    def _tell(self, kind: str, **members: Any) -> None:
        self._frames.append(write_event(kind, index=self._index, **members))


class _Block:
    __slots__ = ("content", "has_ended", "kept")

    def __init__(self, content: JsonObject) -> None:
        self.content = content
        self.kept: list[JsonObject] = []
        self.has_ended = False
