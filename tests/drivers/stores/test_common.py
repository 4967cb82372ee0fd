"""What the workers have in common beside answers: secrets, each other's counters, the ledger, the cache."""

import asyncio
import itertools

from antiphon.cache.selecting import Selector
from drivers.sqlite.opening import entry_of, run
from drivers.stores.place import NOW, committed, opened, recording_of
from usage_rows import ROW
from waiting import eventually


def test_workers_that_start_together_have_one_secret(place):
    """Made once, found later, and looking for one makes none."""
    numbers = itertools.count()

    def make():
        return b"made %d" % next(numbers)

    async def test():
        async with opened(place) as one, opened(place) as other:
            assert await one.secrets.stored("a") is None
            found = await asyncio.gather(
                *(storage.secrets.kept("a", make) for _ in range(3) for storage in (one, other))
            )
            assert len(set(found)) == 1
            assert await other.secrets.kept("b", make) not in found
        async with opened(place) as later:
            assert await later.secrets.stored("a") == found[0]

    run(test())


def test_workers_see_each_others_counters(place):
    """The last that each has published, and none of those that have gone silent."""

    async def test():
        async with opened(place) as storage:
            metrics = storage.metrics
            for worker, snapshot, now in [("a", b"1", 10), ("b", b"2", 20), ("c", b"3", 30), ("b", b"4", 40)]:
                await metrics.publish(worker, snapshot, now)
            assert sorted(await metrics.others("a")) == [b"3", b"4"]
            await metrics.forget(35)
            assert await metrics.others("a") == [b"4"]

    run(test())


def test_a_usage_row_is_kept_once(place):
    """A batch that is sent again, because nobody knew what had become of it, adds only what is missing."""

    async def test():
        async with opened(place) as storage:
            await storage.ledger.append([ROW])
            await storage.ledger.append([ROW._replace(status=500), ROW._replace(id="req_2", cost=None)])
            assert await place.rows("SELECT id, status FROM usage ORDER BY id") == [
                ("req_1", ROW.status),
                ("req_2", ROW.status),
            ]

    run(test())


def test_a_cache_entry_is_found_until_it_is_swept(place):
    """An hour after it has expired, for requests that take stale answers; or when its recording is removed."""

    async def test():
        async with opened(place) as storage:
            cache = storage.cache
            entry, removed = entry_of("a"), entry_of("b", recording_of("other"))
            cache.put(entry)
            cache.put(removed)
            await committed(storage)
            assert (await cache.get(entry.digest)).recording == entry.recording
            await cache.remove(Selector(recording_id="other"))
            assert await cache.get(removed.digest) is None
            storage.sweep(NOW + 100 + 3599)
            await committed(storage)
            assert await cache.get(entry.digest) is not None
            storage.sweep(NOW + 100 + 3601)

            async def is_gone():
                return await cache.get(entry.digest) is None

            await eventually(is_gone)

    run(test())


def test_storage_that_is_there_says_so(place):
    """And has nothing in arrears."""

    async def test():
        async with opened(place) as storage:
            await storage.check()
            assert (storage.queued, storage.dropped, storage.failed) == (0, 0, 0)

    run(test())
