"""What the sweep goes by: the bytes of all that is kept for responses, kept up to date by the file itself."""

import contextlib
import random
import sqlite3

from antiphon.cache.selecting import Selector
from antiphon.drivers.sqlite.cache import SqliteCache
from antiphon.drivers.sqlite.recordings import drop_released_recordings
from antiphon.drivers.sqlite.responses import SqliteResponses
from antiphon.turn.history import Context
from drivers.sqlite.opening import NOW, committed, entry_of, kept_of, opened, recording_of, rows_of, run
from drivers.sqlite.test_migrating import RESPONSE, written_by_version_1

TOTAL = "SELECT bytes FROM totals WHERE name = 'responses'"
COUNTED = """
SELECT (SELECT coalesce(sum(512 + length(echo)), 0) FROM responses)
    + (SELECT coalesce(sum(size), 0) FROM recordings WHERE id IN (SELECT recording_id FROM responses))
    + (SELECT coalesce(sum(128 + length(item)), 0) FROM history)
"""


def test_the_total_is_what_there_is(tmp_path):
    """Whatever was kept, kept again, replaced, deleted, expired and dropped, in any order."""
    chance = random.Random(7)
    written_by_version_1(tmp_path)

    async def test():
        async with opened(tmp_path) as database:
            responses, cache = SqliteResponses(database, lambda: NOW), SqliteCache(database, 10**9)
            assert rows_of(tmp_path, TOTAL) == rows_of(tmp_path, COUNTED) != [(0,)]
            for _ in range(150):
                number = chance.randrange(12)
                recording = recording_of(f"r-{chance.randrange(6)}", text=b"x" * chance.randrange(5000))
                match chance.randrange(5):
                    case 0:
                        cache.put(entry_of(f"{number}", recording))
                    case 1:
                        await responses.delete(f"resp_{number}", "alice")
                    case 2:
                        await cache.remove(Selector(recording_id=recording.id))
                        await database.written(drop_released_recordings)
                    case _:
                        context = Context(None, (b"a", b"b" * number)[: number % 3])
                        expires_at = NOW + chance.randrange(100)
                        responses.put(
                            kept_of(f"resp_{number}", recording, context=context, expires_at=expires_at)
                        )
                if chance.random() < 0.1:
                    responses.sweep(NOW + 10)
                await committed(database)
                assert rows_of(tmp_path, TOTAL) == rows_of(tmp_path, COUNTED)

    run(test())


def test_a_worker_of_version_1_changes_it_too(tmp_path):
    """It replaces rows and knows nothing of a total."""
    written_by_version_1(tmp_path)

    async def test():
        async with opened(tmp_path) as database:
            responses = SqliteResponses(database, lambda: NOW)
            responses.put(kept_of("resp_2", context=Context(None, (b"a",))))
            await committed(database)
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db")) as old:
                old.execute(RESPONSE, ("resp_2", "alice", "r-1", None, b"", NOW))
                old.execute(RESPONSE, ("resp_2", "alice", "r-1", None, b"12345", NOW))
                old.execute("DELETE FROM responses WHERE id = 'resp_1'")
                old.commit()
            assert rows_of(tmp_path, "SELECT count(*) FROM released_histories") == [(1,)]
            assert rows_of(tmp_path, TOTAL) == rows_of(tmp_path, COUNTED)
            responses.sweep(NOW)
            await database.written(drop_released_recordings)

    run(test())
    assert rows_of(tmp_path, "SELECT count(*) FROM history") == [(0,)]
    assert rows_of(tmp_path, "SELECT id FROM recordings") == [("r-1",)]
    assert rows_of(tmp_path, TOTAL) == rows_of(tmp_path, COUNTED)
