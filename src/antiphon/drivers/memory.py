"""The first level of the cache: entries in the memory of this process, bounded in bytes, least used out first."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import clock_gettime
from typing import Final, Literal, NamedTuple

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector

_SHORTCUT_OVERHEAD_BYTES = 512
_SHORTCUTS_PER_ENTRY = 16
_GONE = 4096
_LOOKED_AT = 2_000


class Gone(NamedTuple):
    """What became of an entry."""

    how: Literal["evicted", "removed"]
    """To make room, or on purpose."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A request seen before, byte for byte, and what its answer needs."""

    entry: Entry
    value: object
    size: int


def elapsed() -> float:
    """Seconds that also pass while the host sleeps."""
    return clock_gettime(_CLOCK)


_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class MemoryCache:
    """Entries by digest, and shortcuts to them by the exact bytes of a request."""

    def __init__(self, max_bytes: int, wall_clock: Callable[[], float] = time.time) -> None:
        """Hold at most about `max_bytes`."""
        self._now = wall_clock
        self._gone: OrderedDict[bytes, Gone] = OrderedDict()
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._shortcuts: dict[Hashable, Shortcut] = {}
        self._shortcuts_of: dict[bytes, list[Hashable]] = {}
        self._by_recording: dict[str, set[bytes]] = {}
        self.size = 0
        self.evictions = 0
        self.trusted_until = math.inf
        """On the clock of `elapsed`; later nothing is found, for it may have been purged without our knowledge."""

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def is_trusted(self) -> bool:
        """Whether anything may be found now."""
        return elapsed() < self.trusted_until

    def get(self, digest: bytes, identity: bytes) -> Entry | None:
        """Return the entry; one with another identity is none."""
        entry = self._entries.get(digest)
        if entry is None or entry.identity != identity or not self.is_trusted:
            return None
        self._entries.move_to_end(digest)
        return entry

    def peek(self, digest: bytes) -> Entry | None:
        """Return the entry, whatever the request was; nobody has used it by that."""
        return self._entries.get(digest) if self.is_trusted else None

    def put(self, entry: Entry) -> None:
        """Add an entry, in the place of one with the same digest; one that would not fit is left out.

        In the place of a pinned one it is pinned too.
        """
        before = self._entries.get(entry.digest)
        if before is not None:
            entry.is_pinned = entry.is_pinned or before.is_pinned
            self._take_out(entry.digest)
        if entry.size > self._max_bytes:
            return
        self._entries[entry.digest] = entry
        self._by_recording.setdefault(entry.recording.id, set()).add(entry.digest)
        entry.is_current = True
        self.size += entry.size
        self._make_room()

    def remove(self, digest: bytes) -> None:
        """Remove an entry and its shortcuts, if it is there."""
        self._take_out(digest)
        self._note(digest, "removed")

    def gone(self, digest: bytes) -> Gone | None:
        """Return what became of an entry that was here not long ago; it may be here again."""
        return self._gone.get(digest)

    def _note(self, digest: bytes, how: Literal["evicted", "removed"]) -> None:
        self._gone[digest] = Gone(how, self._now())
        self._gone.move_to_end(digest)
        if len(self._gone) > _GONE:
            self._gone.popitem(last=False)

    def _take_out(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        entry.is_current = False
        self.size -= entry.size
        entry.renditions.clear()
        entry.rendition_bytes = 0
        holders = self._by_recording[entry.recording.id]
        holders.discard(digest)
        if not holders:
            del self._by_recording[entry.recording.id]
        for key in self._shortcuts_of.pop(digest, ()):
            self.size -= self._shortcuts.pop(key).size

    def select(self, selector: Selector) -> list[Entry]:
        """Return what is meant, newest first."""
        among: Iterable[Entry] = self._entries.values()
        if selector.digest is not None:
            among = filter(None, [self._entries.get(selector.digest)])
        elif selector.recording_id is not None:
            among = [self._entries[digest] for digest in self._by_recording.get(selector.recording_id, ())]
        found = [entry for entry in among if selector.matches(entry)]
        return sorted(found, key=lambda entry: entry.stored_at, reverse=True)

    def latest(self, selector: Selector, limit: int) -> list[Entry]:
        """Return some of what is meant, the last used first, at little cost however many there are."""
        looked_at: Iterator[Entry] = islice(reversed(self._entries.values()), _LOOKED_AT)
        return list(islice(filter(selector.matches, looked_at), limit))

    def add_rendition(self, entry: Entry, form: object, rendition: object, size: int) -> None:
        """Keep a form of the entry for further replays, as long as the entry is kept."""
        if not entry.is_current or form in entry.renditions:
            return
        entry.renditions[form] = rendition
        entry.rendition_bytes += size
        self.size += size
        self._make_room()

    def shortcut(self, key: Hashable) -> Shortcut | None:
        """Return what was noted for a request with exactly these bytes."""
        shortcut = self._shortcuts.get(key)
        if shortcut is not None:
            if clock_gettime(_CLOCK) >= self.trusted_until:
                return None
            self._entries.move_to_end(shortcut.entry.digest)
        return shortcut

    def add_shortcut(self, key: Hashable, entry: Entry, value: object, size: int) -> None:
        """Note for a request of `size` bytes that `entry` answers it, and what else is needed."""
        if not entry.is_current or key in self._shortcuts:
            return
        size += _SHORTCUT_OVERHEAD_BYTES
        keys = self._shortcuts_of.setdefault(entry.digest, [])
        if len(keys) == _SHORTCUTS_PER_ENTRY:
            # Requests that differ in what is not keyed, such as their user: they must not push other entries out.
            self.size -= self._shortcuts.pop(keys.pop(0)).size
        keys.append(key)
        self._shortcuts[key] = Shortcut(entry, value, size)
        self.size += size
        self._make_room()

    def clear(self) -> None:
        """Remove everything."""
        for digest in tuple(self._entries):
            self.remove(digest)

    def _make_room(self) -> None:
        passed_over = 0
        while self.size > self._max_bytes and self._entries:
            entry = next(iter(self._entries.values()))
            # When only pinned ones are left they have to go too: memory is bounded, and the second level has them.
            if entry.is_pinned and passed_over < len(self._entries):
                self._entries.move_to_end(entry.digest)
                passed_over += 1
                continue
            self._take_out(entry.digest)
            self._note(entry.digest, "evicted")
            self.evictions += 1
