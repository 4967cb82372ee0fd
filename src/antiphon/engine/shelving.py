"""Where complete recordings are put, and putting them into the cache as its entries."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from antiphon.cache.controls import MOST_TAGS
from antiphon.cache.entry import STALE_SECONDS, Entry, Origin, is_storable
from antiphon.cache.key import CacheKey
from antiphon.cache.lifetimes import Lifetimes
from antiphon.cache.selecting import PROMPT_LENGTH
from antiphon.dialects.prompts import beginning_of
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.changing import Changing
from antiphon.engine.live import LiveRecording
from antiphon.engine.turn import Turn
from antiphon.ports.stores import CacheLevel
from antiphon.recording import Recording
from antiphon.settings import Cache
from antiphon.wire.json import Members


@dataclass(frozen=True, slots=True)
class Shelves:
    """Where complete recordings are put."""

    memory: MemoryCache
    level: CacheLevel | None
    """The second level of the cache."""

    def newest(self, key: CacheKey, found: Entry | None) -> Entry | None:
        """Return what the level has `found` for a key, or the entry in memory where that is newer.

        A request that did not look has perhaps refreshed it meanwhile; and what has another identity is none.
        """
        entry = self.memory.get(key.digest, key.identity)
        if found is None or found.identity != key.identity:
            return entry
        return found if entry is None or entry.stored_at <= found.stored_at else entry


class Shelving:
    """Makes cache entries of recordings."""

    def __init__(
        self,
        cache: Cache | None,
        shelves: Shelves,
        lifetimes: Lifetimes,
        ids: Iterator[str],
        *,
        changing: Changing | None = None,
        on_stored: Callable[[Turn, Entry], None] | None = None,
    ) -> None:
        """Put them on `shelves`, but nothing that `changing` has purged meanwhile; `on_stored` is told of each.

        Parts of a recording become recordings of their own, named by `ids`.
        """
        self._cache = cache
        self._shelves = shelves
        self._lifetimes = lifetimes
        self._ids = ids
        self._changing = changing
        self._on_stored = on_stored

    def store(self, live: LiveRecording, turn: Turn, key: CacheKey) -> bool:
        """Put what `live` has recorded for `turn` into the cache, if it may be served again; return whether it is."""
        cache, recording = self._cache, live.recording
        if cache is None or not is_storable(recording.outcome, limited=turn.ask.request.limited):
            return False
        if turn.items is None:
            parts: Sequence[tuple[CacheKey, Members, Recording]] = (
                (key, turn.ask.request.members, recording),
            )
        else:
            parts = turn.items.recorded(recording, self._ids)
        entries = [self._entry(turn, live, *part) for part in parts]
        kept = [
            entry for entry in entries if entry.size <= cache.max_entry_bytes and self._is_admitted(entry)
        ]
        for entry in kept:
            self._shelves.memory.put(entry)
            if self._on_stored is not None:
                self._on_stored(turn, entry)
        if turn.items is not None:
            live.parts = (*turn.items.found, *kept)
        if len(kept) > 1:
            # That takes a while, in which the answer can begin, and something may be purged.
            asyncio.get_running_loop().call_soon(
                lambda: self._write([entry for entry in kept if self._is_admitted(entry)])
            )
        else:
            self._write(kept)
        return bool(kept) and len(kept) == len(entries)

    def _is_admitted(self, entry: Entry) -> bool:
        """Whether nothing has purged it while it was made."""
        return self._changing is None or self._changing.admits(entry, entry.as_of)

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._shelves.level is not None:
            for entry in entries:
                self._shelves.level.put(entry)

    def _entry(
        self, turn: Turn, live: LiveRecording, key: CacheKey, members: Members, recording: Recording
    ) -> Entry:
        lifetime = self._lifetimes.of(turn.ask.target.alias)
        if turn.controls.ttl is not None:
            lifetime = replace(lifetime, ttl=turn.controls.ttl)
        return Entry(
            digest=key.digest,
            identity=key.identity,
            recording=recording,
            public_id=turn.response_id.decode(),
            echo=live.echo,
            stored_at=recording.ended_at,
            expires_at=recording.ended_at + lifetime.ttl,
            tags=_tags(turn, key),
            origin=_origin(turn, key, members),
            keep_until=recording.ended_at + max(lifetime.ttl + STALE_SECONDS, lifetime.longest),
            as_of=turn.as_of,
        )


def _tags(turn: Turn, key: CacheKey) -> tuple[str, ...]:
    tags = turn.controls.tags
    if turn.items is None or not turn.items.tags:
        return tags
    return tuple(dict.fromkeys((*tags, *turn.items.tags.get(key.identity, ()))))[:MOST_TAGS]


def _origin(turn: Turn, key: CacheKey, members: Members) -> Origin:
    request, target = turn.ask.request, turn.ask.target
    prompt = beginning_of(members, PROMPT_LENGTH)
    return Origin(key.scope, f"{target.provider}/{target.model}", request.model, prompt)
