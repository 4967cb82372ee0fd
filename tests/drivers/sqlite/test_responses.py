"""Kept responses in SQLite."""

import contextlib
import sqlite3

import pytest

from antiphon.drivers.sqlite.responses import SqliteResponses
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import NOW, change, committed, held, kept_of, opened, recording_of, rows_of, run
from serving import Clock
from waiting import eventually

STORED = "SELECT id, owner FROM responses ORDER BY id, owner"


def test_a_response_comes_back_as_it_was(tmp_path):
    """To its owner, in this process and the next."""
    kept = kept_of("resp_1", echoed={"metadata": b'{"a":"\\ud83d"}'}, created_at=None)

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            store.put(kept)
            await committed(database)
            assert await store.get("resp_1", "alice") == kept
        async with opened(tmp_path) as database:
            assert await SqliteResponses(database, lambda: NOW).get("resp_1", "alice") == kept

    run(test())


def test_a_response_is_found_at_once(tmp_path):
    """Before it is in the file, and by its owner alone."""
    kept = kept_of("resp_1")

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            with held(database):
                store.put(kept)
                assert await store.get("resp_1", "alice") is kept
                assert await store.get("resp_1", "bob") is None
            await committed(database)
            assert await store.get("resp_1", "alice") == kept

    run(test())


def test_nobody_else_finds_or_deletes_a_response(tmp_path):
    """It is the same to them as an unknown one."""

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            store.put(kept_of("resp_1"))
            await committed(database)
            assert await store.get("resp_1", "bob") is None
            assert await store.delete("resp_1", "bob") is None
            assert await store.delete("resp_2", "alice") is None
            assert await store.get("resp_1", "alice") is not None

    run(test())


def test_two_owners_may_have_responses_of_one_id(tmp_path):
    """Where hits keep the first id (`ids: original`): neither takes the other's away."""
    recording = recording_of("r")

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            for owner in ("alice", "bob"):
                store.put(
                    kept_of("resp_1", recording, owner=owner, echoed={"user": b'"%b"' % owner.encode()})
                )
            await committed(database)
            assert await store.delete("resp_1", "bob") == "r"
            kept = await store.get("resp_1", "alice")
            assert kept is not None
            assert kept.echoed == {"user": b'"alice"'}

    run(test())


def test_deleting_tells_the_recording_once(tmp_path):
    """Also of a response that is not in the file yet."""

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            store.put(kept_of("resp_1", recording_of("r")))
            assert await store.delete("resp_1", "alice") == "r"
            assert await store.get("resp_1", "alice") is None
            assert await store.delete("resp_1", "alice") is None

    run(test())


def test_a_response_expires(tmp_path):
    """It is not found from then on, cannot be deleted, and the sweep takes it away."""
    clock = Clock(NOW)

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, clock)
            store.put(kept_of("resp_1", expires_at=NOW + 10))
            store.put(kept_of("resp_2", expires_at=NOW + 20))
            with held(database):
                store.put(kept_of("resp_3", expires_at=NOW - 1))
                assert await store.get("resp_3", "alice") is None
            await committed(database)
            clock.now = NOW + 10
            assert await store.get("resp_1", "alice") is not None
            clock.now = NOW + 11
            assert await store.get("resp_1", "alice") is None
            assert await store.delete("resp_1", "alice") is None
            store.sweep(clock())

    run(test())
    assert rows_of(tmp_path, STORED) == [("resp_2", "alice")]


def test_a_full_queue_drops_no_response(tmp_path):
    """It was promised."""

    async def test():
        async with opened(tmp_path, max_queued_bytes=1) as database:
            store = SqliteResponses(database, lambda: NOW)
            with held(database):
                for number in range(20):
                    store.put(kept_of(f"resp_{number:02}"))
            assert database.dropped == 0

    run(test())
    assert len(rows_of(tmp_path, STORED)) == 20


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("recordings", "data", b"AR"),
        ("recordings", "data", "a text"),
        ("responses", "echo", b"\xc1"),
        ("responses", "echo", 5),
    ],
)
def test_a_response_that_cannot_be_read_is_told_and_can_be_deleted(tmp_path, table, column, value):
    """Status 500 with a code of its own; the store goes on working."""

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            store.put(kept_of("resp_1", recording_of("r")))
            await committed(database)
            change(tmp_path, f"UPDATE {table} SET {column} = ?", value)
            with pytest.raises(StoreFault) as caught:
                await store.get("resp_1", "alice")
            assert (caught.value.status, caught.value.code) == (500, "storage_unreadable")
            assert await store.delete("resp_1", "alice") == "r"
            store.put(kept_of("resp_2"))
            await committed(database)
            assert await store.get("resp_2", "alice") is not None

    run(test())


def test_a_response_that_could_not_be_written_is_not_held_for_ever(tmp_path):
    """It is found until the write has failed."""

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            change(tmp_path, "DROP TABLE responses")
            store.put(kept_of("resp_1"))
            await committed(database)
            assert database.failed == 1
            with pytest.raises(StoreFault):
                await store.get("resp_1", "alice")

    run(test())


def test_responses_that_a_provider_keeps_are_noted(tmp_path):
    """At once, for their owner, until they expire."""

    async def test():
        async with opened(tmp_path) as database:
            store = SqliteResponses(database, lambda: NOW)
            with held(database):
                store.note_upstream("resp_1", "alice", "up", NOW + 10)
                assert await store.upstream_of("resp_1", "alice") == "up"
            await committed(database)
            assert await store.upstream_of("resp_1", "alice") == "up"
            assert await store.upstream_of("resp_1", "bob") is None
            store.sweep(NOW + 11)
            await committed(database)
            assert await store.upstream_of("resp_1", "alice") is None

    run(test())


def test_nobody_waits_for_a_file_that_takes_nothing(tmp_path):
    """And until then whoever waits is told when others find the response."""
    heard = []

    async def test():
        async with opened(tmp_path, busy_seconds=0.01) as database:
            assert not SqliteResponses(database, lambda: NOW).is_waited_for
            store = SqliteResponses(database, lambda: NOW, is_shared=True)
            assert store.is_waited_for
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                store.put(kept_of("resp_1"))
                store.when_written(lambda: heard.append(rows_of(tmp_path, STORED)))
                await eventually(lambda: not store.is_waited_for)
                assert heard == []
                other.execute("ROLLBACK")
            await eventually(lambda: heard)
            assert store.is_waited_for

    run(test())
    assert heard == [[("resp_1", "alice")]]
