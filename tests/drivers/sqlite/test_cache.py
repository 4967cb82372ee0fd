"""The second level of the cache in SQLite."""

import pytest

from antiphon.drivers.sqlite import cache as sqlite_cache
from antiphon.drivers.sqlite.cache import SqliteCache
from antiphon.drivers.sqlite.recordings import drop_released_recordings
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import NOW, change, committed, entry_of, held, opened, recording_of, rows_of, run

HOUR = 3600.0
FIELDS = (
    "digest",
    "identity",
    "recording",
    "public_id",
    "echo",
    "stored_at",
    "expires_at",
    "tags",
    "shown_key",
)
STORED = "SELECT digest FROM cache_entries ORDER BY digest"


def fields_of(entry):
    return {name: getattr(entry, name) for name in FIELDS}


def names_in(folder):
    return [digest.rstrip(b"\0").decode() for (digest,) in rows_of(folder, STORED)]


def test_an_entry_comes_back_as_it_was(tmp_path):
    """With every field of its recording, in this process and the next."""
    entry = entry_of("a")

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry)
            await committed(database)
            found = await cache.get(entry.digest)
            assert found is not None
            assert fields_of(found) == fields_of(entry)
        async with opened(tmp_path) as database:
            found = await SqliteCache(database, 10**9).get(entry.digest)
            assert found is not None
            assert fields_of(found) == fields_of(entry)
            assert found.recording.usage_requested
            assert not found.is_current

    run(test())


def test_an_unknown_key_finds_nothing(tmp_path):
    """An empty file neither."""

    async def test():
        async with opened(tmp_path) as database:
            assert await SqliteCache(database, 10**9).get(b"unknown") is None

    run(test())


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path):
    """Also one with another identity, where digests collide: the caller compares what it gets."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry_of("a", recording_of("first")))
            cache.put(entry_of("a", recording_of("second"), identity=b"another request", tags=()))
            await committed(database)
            found = await cache.get(entry_of("a").digest)
            assert found is not None
            assert (found.identity, found.recording.id, found.tags) == (b"another request", "second", ())

    run(test())


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("recordings", "data", b""),
        ("recordings", "data", b"AR"),
        ("recordings", "data", b"AR\xff\x00" + b"x" * 50),
        ("recordings", "data", b"PK" + b"x" * 50),
        ("recordings", "data", "a text"),
        ("recordings", "data", 5),
        ("cache_entries", "echo", b""),
        ("cache_entries", "echo", b"\xc1"),
        ("cache_entries", "echo", b"{}"),
        ("cache_entries", "echo", "a text"),
        ("cache_entries", "tags", b"x"),
        ("cache_entries", "stored_at", "a text"),
        ("cache_entries", "expires_at", b"x"),
        ("cache_entries", "recording_id", "of nothing"),
    ],
)
def test_a_corrupt_entry_is_a_miss(tmp_path, table, column, value):
    """A13: whatever is wrong with it; it does not fail, and the next answer takes its place."""
    entry = entry_of("a")

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry)
            await committed(database)
            change(tmp_path, f"UPDATE {table} SET {column} = ?", value)
            assert await cache.get(entry.digest) is None
            assert cache.unreadable == (column != "recording_id")
            cache.put(entry_of("a", recording_of("fresh")))
            await committed(database)
            found = await cache.get(entry.digest)
            assert found is not None
            assert found.recording.id == "fresh"

    run(test())


@pytest.mark.parametrize("position", [0, 2, 3, 4, 11, 12, 40, -1])
def test_a_damaged_recording_is_a_miss(tmp_path, position):
    """A13: one wrong byte anywhere is enough."""
    entry = entry_of("a")

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry)
            await committed(database)
            data = bytearray(rows_of(tmp_path, "SELECT data FROM recordings")[0][0])
            data[position] ^= 0x55
            change(tmp_path, "UPDATE recordings SET data = ?", bytes(data))
            assert await cache.get(entry.digest) is None

    run(test())


def test_a_store_that_is_gone_is_a_fault(tmp_path):
    """Whoever looks up is to know that from a miss."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry_of("a"))
            await committed(database)
            change(tmp_path, "DROP TABLE cache_entries")
            with pytest.raises(StoreFault):
                await cache.get(entry_of("a").digest)
        with pytest.raises(StoreFault):
            await cache.get(entry_of("a").digest)

    run(test())


def test_entries_are_dropped_when_the_queue_is_full(tmp_path):
    """A cache may forget; answers do not wait for it."""

    async def test():
        async with opened(tmp_path, max_queued_bytes=3000) as database:
            cache = SqliteCache(database, 10**9)
            with held(database):
                for name in "abcd":
                    cache.put(entry_of(name))
            assert database.dropped == 2

    run(test())
    assert names_in(tmp_path) == ["a", "b"]


def test_the_sweep_deletes_what_expired_an_hour_ago(tmp_path):
    """Until then a request that takes stale answers may have it."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            for name, expires_at in {
                "old": NOW - HOUR - 1,
                "stale": NOW - HOUR + 1,
                "fresh": NOW + 1,
            }.items():
                cache.put(entry_of(name, expires_at=expires_at))
            cache.sweep(NOW)

    run(test())
    assert names_in(tmp_path) == ["fresh", "stale"]


def test_the_sweep_keeps_to_the_bound_and_deletes_the_oldest(tmp_path):
    """However many there are beyond it."""
    size = entry_of("000").size

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10 * size)
            for number in range(250):
                cache.put(entry_of(f"{number:03}", recording_of(f"r{number:03}"), stored_at=NOW + number))
            cache.sweep(NOW)

    run(test())
    assert names_in(tmp_path) == [f"{number:03}" for number in range(240, 250)]


def test_the_sweep_may_have_to_delete_everything(tmp_path):
    """Where not one entry is within the bound."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 1)
            cache.put(entry_of("a"))
            cache.sweep(NOW)
            cache.sweep(NOW)

    run(test())
    assert names_in(tmp_path) == []


def test_recordings_go_with_the_entries_that_are_swept(tmp_path):
    """At the next look for those that nobody holds."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9)
            cache.put(entry_of("a", recording_of("a", ended_at=NOW - 2 * HOUR), expires_at=NOW - 2 * HOUR))
            cache.put(entry_of("b", recording_of("b", ended_at=NOW - 2 * HOUR)))
            cache.sweep(NOW)
            await database.written(drop_released_recordings)

    run(test())
    assert rows_of(tmp_path, "SELECT id FROM recordings") == [("b",)]


def test_who_is_alone_knows_what_can_be_found(tmp_path):
    """What was in the file at the start, and what was put since: for anything else there is no need to look."""

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9, is_shared=False)
            assert not cache.may_hold(entry_of("a").digest)
            cache.put(entry_of("a"))
            assert cache.may_hold(entry_of("a").digest)
        async with opened(tmp_path, max_queued_bytes=1) as database:
            cache = SqliteCache(database, 10**9, is_shared=False)
            cache.put(entry_of("b"))
            assert [cache.may_hold(entry_of(name).digest) for name in "ab"] == [True, False]
            assert await cache.get(entry_of("a").digest) is not None

    run(test())


def test_who_is_not_alone_has_to_look(tmp_path):
    """Another worker may have put anything."""

    async def test():
        async with opened(tmp_path) as database:
            assert SqliteCache(database, 10**9).may_hold(b"anything")

    run(test())


def test_too_many_entries_are_not_known_by_heart(tmp_path, monkeypatch):
    """Memory is bounded: from then on the file is asked."""
    monkeypatch.setattr(sqlite_cache, "_KNOWN_LIMIT", 3)

    async def test():
        async with opened(tmp_path) as database:
            cache = SqliteCache(database, 10**9, is_shared=False)
            for name in "abcd":
                assert not cache.may_hold(entry_of("unknown").digest)
                cache.put(entry_of(name))
            assert cache.may_hold(entry_of("unknown").digest)
        async with opened(tmp_path) as database:
            assert SqliteCache(database, 10**9, is_shared=False).may_hold(entry_of("unknown").digest)

    run(test())
