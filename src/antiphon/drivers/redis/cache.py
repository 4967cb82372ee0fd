"""The second level of the cache in Redis or Valkey; implements `ports.stores.CacheLevel`.

An entry is one string under its digest, and its digest stands under the id of its recording. Both expire by
themselves, and what makes room for others is decided by the server (`maxmemory-policy`).
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.redis.client import FAULTS, open_client, store_fault
from antiphon.drivers.redis.entries import (
    EXPIRY_AT,
    FLAGS_AT,
    PINNED,
    Unreadable,
    read_value,
    stays,
    write_expiry,
    write_value,
)
from antiphon.drivers.redis.pipes import Pipes
from antiphon.drivers.redis.scanning import Scan
from antiphon.drivers.redis.writing import WriteQueue
from antiphon.ports.stores import Share, Totals
from antiphon.settings import Redis as RedisSettings

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 0.5
"""How long a server may say nothing until look-ups do not even wait for their own time: one of a cluster may hang."""
_READ_AT_ONCE: Final = 100
_LARGE: Final = 64 * 1024
"""Bytes from which on answers are deflated, and inflated, on another thread."""
_MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024


class RedisCache:
    """Cache entries of all gateways with the same prefix."""

    def __init__(
        self,
        settings: RedisSettings,
        wall_clock: Callable[[], float] = time.time,
        *,
        max_queued_bytes: int = _MAX_QUEUED_BYTES,
    ) -> None:
        """Keep entries there; connects when it is first used. Raises what `open_client` does."""
        self._client = open_client(settings)
        self._now = wall_clock
        self._pipes = Pipes(self._client, _PATIENCE_SECONDS)
        self._writes = WriteQueue(max_queued_bytes)
        self._write_pipes = Pipes(self._client)  # so that nobody who looks up waits for what is written
        prefix = settings.prefix.encode()
        self._entries = prefix + b"entry:"
        self._scan = Scan(self._write_pipes, self._entries)
        self._recordings = prefix + b"recording:"
        self.unreadable = 0

    @property
    def queued(self) -> int:
        """Writes that wait."""
        return self._writes.queued

    @property
    def dropped(self) -> int:
        """Entries that were not written, because too many writes waited or the server is full."""
        return self._writes.dropped

    @property
    def failed(self) -> int:
        """Writes that the server refused, or that it was gone for."""
        return self._writes.failed

    def may_hold(self, digest: bytes) -> bool:  # noqa: ARG002 - others put entries too
        """Whether a look-up can find anything: it always can."""
        return True

    async def get(self, digest: bytes) -> Entry | None:
        """Return the entry; what cannot be read is none. Raises StoreFault."""
        key = self._scan.key(digest)
        try:
            value = await self._pipes.ask(key, b"GET", key)
        except FAULTS as error:
            raise store_fault(error) from error
        if value is None:
            return None
        return (
            await asyncio.to_thread(self._read, digest, value)
            if len(value) > _LARGE
            else self._read(digest, value)
        )

    async def get_many(self, digests: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those entries that there are and can be read. Raises StoreFault."""
        keys = [self._scan.key(digest) for digest in digests]
        try:
            values = await asyncio.gather(*(self._pipes.ask(key, b"GET", key) for key in keys))
        except FAULTS as error:
            raise store_fault(error) from error
        held = [(digest, value) for digest, value in zip(digests, values, strict=True) if value is not None]

        def read() -> list[Entry | None]:
            return [self._read(digest, value) for digest, value in held]

        # What is decompressed and checked elsewhere does not hold up the clients of others.
        is_much = sum(len(value) for _, value in held) > _LARGE
        entries = await asyncio.to_thread(read) if is_much else read()
        return {entry.digest: entry for entry in entries if entry is not None}

    def put(self, entry: Entry) -> None:
        """Write the entry in the background."""

        async def write() -> None:
            # By how long it stays, not until when: the server's clock is not asked for what is fresh either.
            seconds = stays(entry, self._now())
            if seconds is not None and seconds <= 0:
                return
            expiry = () if seconds is None else (b"PX", b"%d" % max(1, int(seconds * 1000)))
            is_large = entry.recording.size > _LARGE
            value = await asyncio.to_thread(write_value, entry) if is_large else write_value(entry)
            key, pointer = self._scan.key(entry.digest), self._pointer(entry.recording.id)
            ask = self._write_pipes.ask
            # The pointer first: an entry that is there without it could only be found by looking at all of them.
            _, flags = await asyncio.gather(
                ask(pointer, b"SET", pointer, entry.digest.hex().encode(), *expiry),
                self._replace(key, value, expiry),
            )
            if flags & PINNED and not entry.is_pinned:
                await self._pin(entry.digest)  # what takes the place of a pinned one is pinned

        self._writes.put(write, entry.size, may_drop=True)

    async def select(self, selector: Selector, limit: int) -> list[Entry]:
        """Return what is meant, newest first. Raises StoreFault."""
        try:
            meant = {(stub.stored_at, stub.digest) async for stub in self._scan.meant(selector)}
        except FAULTS as error:
            raise store_fault(error) from error
        digests = [digest for _, digest in heapq.nlargest(limit, meant)]
        entries: list[Entry] = []
        for first in range(0, len(digests), _READ_AT_ONCE):
            some = digests[first : first + _READ_AT_ONCE]
            found = await self.get_many(some)
            entries += [found[digest] for digest in some if digest in found]
        return entries

    async def remove(self, selector: Selector) -> int:
        """Remove what is meant; what was put before is written before. Raises StoreFault."""
        try:
            await self._writes.flushed()
            recording_id = selector.recording_id
            if recording_id is not None and selector == Selector(recording_id=recording_id):
                return await self._remove_recording(recording_id)
            return await self._remove_meant(selector)
        except FAULTS as error:
            raise store_fault(error) from error

    async def count(self, selector: Selector) -> int:
        """Return how many are meant. Raises StoreFault."""
        try:
            return len({stub.digest async for stub in self._scan.meant(selector)})
        except FAULTS as error:
            raise store_fault(error) from error

    async def expire(self, selector: Selector, at: float) -> int:
        """Let what is meant be stale from `at` on, if not before; return how many. Raises StoreFault."""
        changed: set[bytes] = set()
        try:
            await self._writes.flushed()
            async for stub in self._scan.meant(selector):
                changed.add(stub.digest)
                if stub.expires_at > at:
                    await self._overwrite(stub.digest, EXPIRY_AT, write_expiry(at))
        except FAULTS as error:
            raise store_fault(error) from error
        return len(changed)

    async def pin(self, digest: bytes, *, is_pinned: bool) -> None:
        """Pin the entry, also one that is put but not written yet, or no more. Raises StoreFault."""
        try:
            await self._writes.flushed()
            if is_pinned:
                await self._pin(digest)
            else:
                await self._unpin(digest)
        except FAULTS as error:
            raise store_fault(error) from error

    async def totals(self) -> Totals:
        """Return how much there is. Raises StoreFault."""
        shares: dict[str, Share] = {}
        try:
            stubs = {stub.digest: stub async for stub in self._scan.meant(Selector())}
        except FAULTS as error:
            raise store_fault(error) from error
        for stub in stubs.values():
            share = shares.get(stub.origin.target, Share(0, 0, 0))
            size = share.bytes + stub.rendition_bytes
            shares[stub.origin.target] = Share(share.entries + 1, size, share.pinned + stub.is_pinned)
        return Totals(dict(sorted(shares.items())))

    async def close(self) -> None:
        """Finish all writes, and hang up."""
        await self._writes.close()
        await self._pipes.close()
        await self._write_pipes.close()
        await self._client.aclose()

    def _pointer(self, recording_id: str) -> bytes:
        return self._recordings + recording_id.encode()

    def _read(self, digest: bytes, value: bytes) -> Entry | None:
        try:
            entry = read_value(value)
            if entry.digest != digest:
                raise Unreadable("an entry under another's key")
        except Unreadable as error:
            _log.warning("a cache entry cannot be read and counts as a miss: %s", error)
            self.unreadable += 1
            return None
        return entry

    async def _replace(self, key: bytes, value: bytes, expiry: tuple[bytes, ...]) -> int:
        """Set a value, and return the flags of the one before it."""
        ask = self._write_pipes.ask
        before, _ = await asyncio.gather(
            ask(key, b"GETRANGE", key, b"%d" % FLAGS_AT, b"%d" % FLAGS_AT),
            ask(key, b"SET", key, value, *expiry),
        )
        return before[0] if before else 0

    async def _pin(self, digest: bytes) -> None:
        key = self._scan.key(digest)
        if await self._write_pipes.ask(key, b"PERSIST", key) or await self._write_pipes.ask(
            key, b"EXISTS", key
        ):
            await self._overwrite(digest, FLAGS_AT, bytes((PINNED,)))

    async def _unpin(self, digest: bytes) -> None:
        async for stub in self._scan.meant(Selector(digest=digest)):
            await self._overwrite(digest, FLAGS_AT, b"\0")
            stub.is_pinned = False
            key, seconds = self._scan.key(digest), stays(stub, self._now())
            assert seconds is not None
            await self._write_pipes.ask(key, b"PEXPIRE", key, b"%d" % max(1, int(seconds * 1000)))

    async def _overwrite(self, digest: bytes, place: int, data: bytes) -> None:
        """Change what stands at a place of an entry."""
        key = self._scan.key(digest)
        length = await self._write_pipes.ask(key, b"SETRANGE", key, b"%d" % place, data)
        if length == place + len(data):
            # It was gone, and this is all that there is of it now.
            await self._write_pipes.ask(key, b"UNLINK", key)

    async def _remove_recording(self, recording_id: str) -> int:
        pointer = self._pointer(recording_id)
        digest = await self._write_pipes.ask(pointer, b"GET", pointer)
        if digest is not None:
            key = self._entries + digest
            gone = await self._write_pipes.ask(key, b"UNLINK", key)
            await self._write_pipes.ask(pointer, b"UNLINK", pointer)
            return int(gone)
        # It has none, or has one whose pointer had to make room.
        return await self._remove_meant(Selector(recording_id=recording_id))

    async def _remove_meant(self, selector: Selector) -> int:
        """Remove what is meant, and return how many those are. Raises one of FAULTS."""
        count = 0
        async for stub in self._scan.meant(selector):
            key, pointer = self._scan.key(stub.digest), self._pointer(stub.recording.id)
            ask = self._write_pipes.ask
            gone, _ = await asyncio.gather(ask(key, b"UNLINK", key), ask(pointer, b"UNLINK", pointer))
            count += gone
        return count
