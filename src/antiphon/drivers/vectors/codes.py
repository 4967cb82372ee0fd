"""The signs of vectors, a bit for each number: small enough to hold in memory, and quick to compare.

The nearest by bits are found first, then compared by their vectors, which only the database has.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Numbers: TypeAlias = npt.NDArray[np.int64]

_WORD: Final = 64
_FIRST_ROWS: Final = 64
_LATEST: Final = 4_096
_BLOCK_ROWS: Final = 16_384
"""Compared at a time, so that what is between stays in the processor's cache."""


def unit(vector: bytes) -> Floats:
    """Read a vector and make it one of length 1; ValueError for one without a direction."""
    read = np.frombuffer(vector, "<f4")
    length = float(np.linalg.norm(read))
    if not np.isfinite(length) or not length:
        raise ValueError("a vector without a direction")
    return (read / length).astype(np.float32)


def code_of(vector: Floats) -> bytes:
    """Return the signs of a vector, filled up to whole words."""
    bits = np.packbits(vector > 0)
    return bits.tobytes() + bytes(-len(bits) % (_WORD // 8))


def packed(vector: Floats) -> bytes:
    """Return a vector of length 1 in half the bytes; what that changes is below a thousandth."""
    return vector.astype("<f2").tobytes()


def likenesses(vector: Floats, others: Sequence[bytes]) -> list[float]:
    """Return the cosines of a vector of length 1 with packed ones; those of another length are like nothing."""
    alike = [other for other in others if len(other) == 2 * len(vector)]
    if len(alike) != len(others):
        return [likenesses(vector, [other])[0] if len(other) == 2 * len(vector) else -1.0 for other in others]
    if not others:
        return []
    matrix = np.frombuffer(b"".join(others), "<f2").reshape(len(others), -1).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return [float(likeness) for likeness in np.clip(matrix @ vector, -1.0, 1.0)]


class Codes:
    """The codes of one partition, by the numbers of their rows."""

    def __init__(self, words: int) -> None:
        """Hold none yet, of so many words each."""
        self.words = words
        self.last = 0
        """The greatest number that was ever added: the database is asked for those after it."""
        self._count = 0
        self._numbers: Numbers = np.empty(_FIRST_ROWS, np.int64)
        # A column for each word: then each step is over numbers that lie side by side.
        self._columns = np.empty((words, _FIRST_ROWS), np.uint64)

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self._numbers.nbytes + self._columns.nbytes

    def add(self, given: Iterable[tuple[int, bytes]]) -> None:
        """Add codes, about in the order of their numbers."""
        rows = [(number, code) for number, code in given if len(code) == self.words * 8]
        if not rows:
            return
        self._make_room(len(rows))
        start, stop = self._count, self._count + len(rows)
        self._numbers[start:stop] = [number for number, _ in rows]
        together = b"".join([code for _, code in rows])
        self._columns[:, start:stop] = np.frombuffer(together, np.uint64).reshape(-1, self.words).T
        self._count = stop
        self.last = max(self.last, int(self._numbers[start:stop].max()))

    def numbers_after(self, number: int) -> set[int]:
        """Return the numbers greater than one that are among those added last."""
        latest = self._numbers[max(0, self._count - _LATEST) : self._count]
        return {int(each) for each in latest[latest > number]}

    def drop(self, numbers: Iterable[int]) -> None:
        """Remove rows that the database has no more."""
        gone = np.isin(self._numbers[: self._count], list(numbers))
        kept = np.flatnonzero(~gone)
        self._numbers[: len(kept)] = self._numbers[kept]
        self._columns[:, : len(kept)] = self._columns[:, kept]
        self._count = len(kept)

    def nearest(self, code: bytes, limit: int) -> list[int]:
        """Return the numbers of those that differ in the fewest bits, in no order."""
        if len(code) != self.words * 8:
            return []
        if self._count <= limit:
            return [int(number) for number in self._numbers[: self._count]]
        asked = np.frombuffer(code, np.uint64)
        distances = np.empty(self._count, np.uint16)
        for start in range(0, self._count, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, self._count)
            block = distances[start:stop]
            block[:] = np.bitwise_count(self._columns[0, start:stop] ^ asked[0])
            for word in range(1, self.words):
                block += np.bitwise_count(self._columns[word, start:stop] ^ asked[word])
        # Distances are few numbers: counting them is quicker than sorting.
        counts = np.cumsum(np.bincount(distances))
        most = int(np.searchsorted(counts, limit))
        found = np.flatnonzero(distances <= most)
        if len(found) > limit:
            found = found[np.argsort(distances[found], kind="stable")[:limit]]
        return [int(number) for number in self._numbers[found]]

    def _make_room(self, more: int) -> None:
        needed = self._count + more
        if needed <= len(self._numbers):
            return
        room = max(needed, 2 * len(self._numbers) if needed < 1_000_000 else needed + needed // 4)
        numbers, columns = np.empty(room, np.int64), np.empty((self.words, room), np.uint64)
        numbers[: self._count] = self._numbers[: self._count]
        columns[:, : self._count] = self._columns[:, : self._count]
        self._numbers, self._columns = numbers, columns


class Partitions:
    """The codes of partitions that were asked lately, bounded in bytes, the least used out first."""

    def __init__(self, max_bytes: int) -> None:
        """Hold at most about `max_bytes`, and the partition that is asked."""
        self._max_bytes = max_bytes
        self._codes: OrderedDict[bytes, Codes] = OrderedDict()
        self.size = 0

    def of(self, partition: bytes, words: int) -> Codes:
        """Return the codes of a partition, perhaps none yet."""
        codes = self._codes.get(partition)
        if codes is None or codes.words != words:
            self.size -= 0 if codes is None else codes.size
            codes = self._codes[partition] = Codes(words)
            self.size += codes.size
        self._codes.move_to_end(partition)
        return codes

    def add(self, codes: Codes, rows: Sequence[tuple[int, bytes]]) -> None:
        """Add rows to codes that are among these, and make room for them."""
        before = codes.size
        codes.add(rows)
        self.size += codes.size - before
        while self.size > self._max_bytes and len(self._codes) > 1:
            _, out = self._codes.popitem(last=False)
            self.size -= out.size
