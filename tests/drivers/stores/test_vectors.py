"""Vectors of texts, in every storage."""

import asyncio
import contextlib
import struct

import numpy as np
import pytest

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.storage import open_storage
from antiphon.ports.vectors import Evidence, Placed
from antiphon.settings import Cache, Semantic, Settings
from antiphon.settings import Storage as StorageSettings
from drivers.stores.place import NOW, committed, recording_of
from serving import Clock
from waiting import eventually

HERE, THERE = b"here", b"there"


def vector(*numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def towards(degrees, length=1.0):
    """Return a vector in a plane, in that direction."""
    angle = np.radians(degrees)
    rest = [0.0] * 62
    return vector(length * np.cos(angle), length * np.sin(angle), *rest)


def placed(name, degrees, partition=HERE, **changes):
    fields = {
        "partition": partition,
        "digest": name.encode(),
        "vector": towards(degrees),
        "text": f"text of {name}",
        "expires_at": NOW + 3600,
    }
    return Placed(**{**fields, **changes})


def entry(name):
    return Entry(
        digest=name.encode(),
        identity=b"identity",
        recording=recording_of(name),
        public_id="",
        echo={},
        stored_at=NOW,
        expires_at=NOW + 60,
        keep_until=NOW + 120,
    )


@contextlib.asynccontextmanager
async def opened(place, **semantic):
    cache = Cache(semantic=Semantic(enabled=True, embedding_model="m", **semantic))
    settings = Settings(storage=StorageSettings(url=place.url), cache=cache)
    storage = await open_storage(settings, Clock(NOW))
    try:
        yield storage
    finally:
        await storage.close()


async def nearest(storage, degrees=0, limit=10, partition=HERE):
    near = await storage.vectors.nearest(partition, towards(degrees), limit)
    return [(each.digest.decode(), round(each.similarity, 2)) for each in near]


def test_the_nearest_are_found_nearest_first(place):
    async def test():
        async with opened(place) as storage:
            for name, degrees in (("far", 90), ("near", 10), ("nearer", 5), ("back", 180)):
                storage.vectors.put(placed(name, degrees))
            storage.vectors.put(placed("elsewhere", 0, THERE))
            await committed(storage)
            assert await nearest(storage) == [("nearer", 1.0), ("near", 0.98), ("far", 0.0), ("back", -1.0)]
            assert await nearest(storage, limit=1) == [("nearer", 1.0)]
            assert await nearest(storage, partition=THERE) == [("elsewhere", 1.0)]
            assert await nearest(storage, partition=b"nowhere") == []
            (found,) = await storage.vectors.nearest(THERE, towards(0, length=7), 1)
            assert found.text == "text of elsewhere"

    asyncio.run(test())


def test_what_is_put_or_removed_later_is_seen(place):
    async def test():
        async with opened(place) as storage, opened(place) as other:
            storage.vectors.put(placed("first", 20))
            await committed(storage)
            assert [name for name, _ in await nearest(other)] == ["first"]
            storage.vectors.put(placed("second", 10))
            storage.vectors.put(placed("first", 40))  # in the place of the old one
            await committed(storage)
            assert await nearest(other) == [("second", 0.98), ("first", 0.77)]
            storage.vectors.remove([b"second"])
            await committed(storage)
            assert [name for name, _ in await nearest(other)] == ["first"]
            assert await other.vectors.count() == 1

    asyncio.run(test())


def test_whatever_is_around_a_text_is_found_without_it(place):
    async def test():
        async with opened(place) as storage:
            for name, degrees in (("it", 0), ("near", 10), ("far", 90)):
                storage.vectors.put(placed(name, degrees))
            await committed(storage)
            near = await storage.vectors.around(b"it", 0.9, 10)
            assert [each.digest for each in near] == [b"near"]
            assert await storage.vectors.around(b"unknown", 0.9, 10) == []

    asyncio.run(test())


def test_a_text_goes_with_its_entry_but_stays_with_a_newer_one(place):
    async def test():
        async with opened(place) as storage:
            for name in ("purged", "refreshed"):
                storage.cache.put(entry(name))
                storage.vectors.put(placed(name, 0))
            await committed(storage)
            await storage.cache.remove(Selector(digest=b"purged"))
            await storage.cache.remove(Selector(digest=b"refreshed"))
            storage.cache.put(entry("refreshed"))
            storage.sweep(NOW)
            await eventually(lambda: is_count(storage, 1))
            assert [name for name, _ in await nearest(storage)] == ["refreshed"]

    asyncio.run(test())


async def is_count(storage, count):
    return await storage.vectors.count() == count


def test_what_has_expired_goes_unless_its_entry_is_kept(place):
    async def test():
        async with opened(place) as storage:
            storage.cache.put(entry("kept"))
            storage.vectors.put(placed("kept", 0, expires_at=NOW - 1))
            storage.vectors.put(placed("gone", 0, expires_at=NOW - 1))
            storage.vectors.put(placed("fresh", 0))
            await committed(storage)
            storage.sweep(NOW)
            await eventually(lambda: is_count(storage, 2))
            assert {name for name, _ in await nearest(storage)} == {"kept", "fresh"}

    asyncio.run(test())


def test_the_oldest_make_room(place):
    async def test():
        async with opened(place, max_vectors=3) as storage:
            for number in range(8):
                storage.vectors.put(placed(str(number), number))
            await committed(storage)
            storage.sweep(NOW)
            await eventually(lambda: is_count(storage, 3))
            assert {name for name, _ in await nearest(storage)} == {"5", "6", "7"}

    asyncio.run(test())


@pytest.mark.parametrize("bad", [vector(), vector(0.0, 0.0), vector(float("nan"), 1.0)])
def test_vectors_without_a_direction_are_not_kept(place, bad):
    async def test():
        async with opened(place) as storage:
            storage.vectors.put(placed("bad", 0, vector=bad))
            await committed(storage)
            assert await storage.vectors.count() == 0
            assert await storage.vectors.nearest(HERE, bad, 3) == []

    asyncio.run(test())


def test_evidence_is_read_newest_first(place):
    async def test():
        async with opened(place) as storage:
            noted = [
                Evidence("m", 0.9 + number / 100, number % 2 == 0, "shadow", NOW + number)
                for number in range(5)
            ]
            for each in noted:
                storage.vectors.note(each)
            await committed(storage)
            assert await storage.vectors.evidence(3) == noted[:1:-1]

    asyncio.run(test())


def test_texts_may_hold_any_character(place):
    async def test():
        async with opened(place) as storage:
            storage.vectors.put(placed("odd", 0, text="a\0b 😀 \ud800"))
            await committed(storage)
            assert await storage.vectors.count() == 1

    asyncio.run(test())


def test_many_partitions_are_bounded_in_memory(place):
    async def test():
        async with opened(place, memory=20_000) as storage:
            for number in range(40):
                storage.vectors.put(placed(str(number), 0, partition=b"p%d" % number))
            await committed(storage)
            for _ in range(2):
                for number in range(40):
                    assert [name for name, _ in await nearest(storage, partition=b"p%d" % number)] == [
                        str(number)
                    ]
            assert storage.vectors._partitions.size <= 20_000

    asyncio.run(test())
