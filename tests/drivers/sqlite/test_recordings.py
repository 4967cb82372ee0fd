"""Recordings in SQLite: kept once, and as long as a name leads to them."""

import pytest

from antiphon.cache.selecting import Selector
from antiphon.drivers.sqlite import cache, recordings, responses
from antiphon.drivers.sqlite.cache import SqliteCache
from antiphon.drivers.sqlite.recordings import drop_released_recordings
from antiphon.drivers.sqlite.responses import SqliteResponses
from drivers.sqlite.opening import NOW, committed, entry_of, kept_of, opened, recording_of, rows_of, run
from waiting import eventually

KEPT = "SELECT id FROM recordings ORDER BY id"


async def dropped(database):
    await database.written(drop_released_recordings)


def test_a_recording_is_kept_once_under_many_names(tmp_path):
    """And goes when the last of them goes."""
    recording = recording_of("r")

    async def test():
        async with opened(tmp_path) as database:
            entries, kept = SqliteCache(database, 10**9), SqliteResponses(database, lambda: NOW)
            entries.put(entry_of("a", recording))
            entries.put(entry_of("b", recording))
            kept.put(kept_of("resp_1", recording))
            kept.put(kept_of("resp_2", recording, owner="bob"))
            await committed(database)
            assert rows_of(tmp_path, KEPT) == [("r",)]

            await entries.remove(Selector(recording_id="r"))
            await kept.delete("resp_1", "alice")
            await dropped(database)
            assert rows_of(tmp_path, KEPT) == [("r",)]
            assert await kept.get("resp_2", "bob") is not None

            await kept.delete("resp_2", "bob")
            await dropped(database)
            assert rows_of(tmp_path, KEPT) == []

    run(test())


def test_many_recordings_are_dropped_in_slices(tmp_path):
    """Who has something to write does not wait for all of them."""

    async def test():
        async with opened(tmp_path) as database:
            kept = SqliteResponses(database, lambda: NOW)
            for number in range(250):
                kept.put(kept_of(f"resp_{number:03}", expires_at=NOW - 1))
            await committed(database)
            kept.sweep(NOW)
            await eventually(lambda: rows_of(tmp_path, "SELECT * FROM responses") == [])
            assert await database.written(drop_released_recordings) is True
            assert len(rows_of(tmp_path, KEPT)) == 50
            assert await database.written(drop_released_recordings) is False
            assert rows_of(tmp_path, KEPT) == []

    run(test())


def test_a_recording_that_was_dropped_is_written_again_with_a_new_name(tmp_path):
    """A replay from memory may be kept long after the file has forgotten the entry."""
    recording = recording_of("r")

    async def test():
        async with opened(tmp_path) as database:
            kept = SqliteResponses(database, lambda: NOW)
            kept.put(kept_of("resp_1", recording))
            await kept.delete("resp_1", "alice")
            await dropped(database)
            kept.put(kept_of("resp_2", recording))
            await committed(database)
            await dropped(database)
            found = await kept.get("resp_2", "alice")
            assert found is not None
            assert found.recording == recording

    run(test())


@pytest.mark.parametrize(
    "statement",
    [
        recordings._DROP,
        recordings._IS_THERE,
        cache._EXPIRED,
        cache._TOTAL,
        cache._OLDEST,
        cache._DELETE_MEANT.format("recording_id = ?"),
        responses._EXPIRED,
        responses._HELD,
        responses._OLDEST,
    ],
)
def test_what_is_done_often_reads_indexes_alone(tmp_path, statement):
    """The tables are full of large values: to walk through them would hold up the writer for seconds."""

    async def test():
        async with opened(tmp_path) as database:
            marks = {"id": 1} if ":id" in statement else [1] * statement.count("?")
            plan = await database.read(
                lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {statement}", marks).fetchall()
            )
            steps = [step for *_, step in plan]
            # Up to a limit, rows may be fetched in the order of an index.
            enough = "INDEX" if "LIMIT" in statement else "COVERING INDEX"
            assert [step for step in steps if step.startswith("SCAN") and enough not in step] == []

    run(test())
