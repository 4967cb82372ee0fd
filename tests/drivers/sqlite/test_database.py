"""One file, written by one thread and read by another."""

import asyncio
import contextlib
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from antiphon.drivers.sqlite import database as sqlite_database
from antiphon.drivers.sqlite.database import Database, inspect
from antiphon.wire.errors import StoreFault
from drivers.sqlite.at_once import run_at_once
from drivers.sqlite.opening import change, committed, held, opened, rows_of, run
from waiting import PATIENCE, eventually

INSERT = "REPLACE INTO worker_metrics (worker, time, snapshot) VALUES (?, 0, x'')"
WORKERS = "SELECT worker FROM worker_metrics ORDER BY worker"


def insert(name):
    return lambda connection: connection.execute(INSERT, (name,)) and None


def workers_in(folder):
    return [worker for (worker,) in rows_of(folder, WORKERS)]


def fail(connection):
    raise RuntimeError("a defect")


def test_what_is_written_can_be_read(tmp_path):
    """By another thread, as soon as it is committed; `written` gives back what the work returned."""

    async def test():
        async with opened(tmp_path) as database:
            number = await database.written(lambda connection: connection.execute(INSERT, ("a",)).rowcount)
            read = await database.read(lambda connection: connection.execute(WORKERS).fetchall())
            assert (number, read) == (1, [("a",)])

    run(test())


def test_the_file_is_its_owners_alone(tmp_path):
    """The journals too, and a file that was there before with other rights."""
    path = tmp_path / "antiphon.db"
    path.touch(0o644)
    path.chmod(0o644)

    async def test():
        async with opened(tmp_path) as database:
            await database.written(insert("a"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
            assert modes == dict.fromkeys(["antiphon.db", "antiphon.db-wal", "antiphon.db-shm"], 0o600)

    run(test())


def test_writes_that_wait_are_committed_together(tmp_path):
    """A transaction each would cost more than the writes."""
    statements = []

    async def test():
        async with opened(tmp_path) as database:
            await database.written(lambda connection: connection.set_trace_callback(statements.append))
            with held(database):
                for number in range(100):
                    database.write(insert(f"w{number:03}"))
                assert database.queued == 101
            await committed(database)

    run(test())
    assert len(workers_in(tmp_path)) == 100
    assert 2 <= statements.count("BEGIN IMMEDIATE") <= 3


def test_closing_finishes_all_writes(tmp_path):
    """D7: what was handed over before is in the file afterwards."""

    async def test():
        async with opened(tmp_path) as database:
            for number in range(2000):
                database.write(insert(f"w{number:04}"), 10)
        await database.close()
        assert database.queued == 0

    run(test())
    assert len(workers_in(tmp_path)) == 2000


def test_a_closed_database_says_so(tmp_path):
    """Nobody waits for a writer that has gone."""

    async def test():
        async with opened(tmp_path) as database:
            pass
        assert not database.write(insert("a"))
        for asked in (database.written(insert("a")), database.read(lambda connection: None)):
            with pytest.raises(StoreFault):
                await asked

    run(test())


def test_a_full_queue_drops_what_may_be_dropped(tmp_path):
    """And counts it; the rest waits however long the queue is, and room comes back."""

    async def test():
        async with opened(tmp_path, max_queued_bytes=1000) as database:
            with held(database):
                assert database.write(insert("a"), 900, may_drop=True)
                assert not database.write(insert("b"), 200, may_drop=True)
                assert database.write(insert("c"), 100, may_drop=True)
                assert database.write(insert("d"), 5000)
                assert not database.write(insert("e"), 1, may_drop=True)
            await committed(database)
            await eventually(lambda: database.queued == 0)
            assert database.write(insert("f"), 900, may_drop=True)
            assert database.dropped == 2

    run(test())
    assert workers_in(tmp_path) == ["a", "c", "d", "f"]


@pytest.mark.parametrize("bad", ["trigger", "defect", "syntax", "overflow", "text"])
def test_a_write_that_fails_takes_no_others_with_it(tmp_path, bad):
    """Neither those of its batch nor those that come later, whatever went wrong."""
    works = {
        "trigger": insert("bad"),
        "defect": fail,
        "syntax": lambda connection: connection.execute("NONSENSE") and None,
        "overflow": lambda connection: connection.execute(INSERT, (2**64,)) and None,
        "text": lambda connection: connection.execute(INSERT, ("\ud83d",)) and None,
    }
    told = []

    async def test():
        async with opened(tmp_path) as database:
            change(
                tmp_path,
                "CREATE TRIGGER refuse BEFORE INSERT ON worker_metrics WHEN NEW.worker = 'bad' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
            with held(database):
                database.write(insert("a"), on_done=lambda: told.append("a"))
                database.write(works[bad], on_done=lambda: told.append("bad"))
                waiting = asyncio.ensure_future(database.written(works[bad]))
                await asyncio.sleep(0)
                database.write(insert("b"), on_done=lambda: told.append("b"))
            with pytest.raises(StoreFault) as caught:
                await waiting
            await database.written(insert("c"))
            assert database.failed == 2
            assert caught.value.status == 503
            assert dict(caught.value.headers) == {b"retry-after": b"5"}

    run(test())
    assert workers_in(tmp_path) == ["a", "b", "c"]
    assert told == ["a", "bad", "b"]


def test_a_half_done_write_is_undone(tmp_path):
    """Its statements count all or not at all."""

    async def test():
        async with opened(tmp_path) as database:

            def work(connection):
                insert("half")(connection)
                fail(connection)

            with pytest.raises(StoreFault):
                await database.written(work)
            await database.written(insert("whole"))

    run(test())
    assert workers_in(tmp_path) == ["whole"]


def test_a_file_that_is_locked_fails_only_what_waits_meanwhile(tmp_path):
    """Those are told at once and together; what comes later is written."""

    async def test():
        async with opened(tmp_path, busy_seconds=0.01) as database:
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                results = await asyncio.gather(
                    *(database.written(insert(f"w{number}")) for number in range(20)), return_exceptions=True
                )
                other.execute("ROLLBACK")
            assert {StoreFault} == set(map(type, results))
            await database.written(insert("later"))

    run(test())
    assert workers_in(tmp_path) == ["later"]


def test_what_nobody_waits_for_is_written_when_the_file_is_free(tmp_path):
    """In its order, and before the file is closed."""

    async def test():
        async with opened(tmp_path, busy_seconds=0.01) as database:
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                database.write(insert("a"))
                with pytest.raises(StoreFault):
                    await database.written(insert("b"))
                database.write(
                    lambda connection: connection.execute("UPDATE worker_metrics SET worker = 'c'")
                )
                await eventually(lambda: (database.queued, database.failed) == (2, 1))
                other.execute("ROLLBACK")

    run(test())
    assert workers_in(tmp_path) == ["c"]


def test_what_never_could_be_written_is_told(tmp_path):
    """When the file is closed, and not before."""
    told = []

    async def test():
        with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db", isolation_level=None)) as other:
            async with opened(tmp_path, busy_seconds=0.01) as database:
                other.execute("BEGIN IMMEDIATE")
                database.write(insert("a"), on_done=lambda: told.append("a"))
                with pytest.raises(StoreFault):
                    await database.written(insert("b"))
                assert told == []
            await eventually(lambda: told)
            assert (database.queued, database.failed) == (0, 2)  # it is closed: nobody counts any more

    run(test())


def test_a_full_disk_takes_writes_again_when_there_is_room(tmp_path, monkeypatch):
    """Who waits hears that it is full; the others wait, and what makes room is done before them."""
    monkeypatch.setattr(sqlite_database, "_RETRY_SECONDS", 0.01)
    fill = "INSERT INTO worker_metrics VALUES (?, 0, zeroblob(1000000))"

    async def test():
        async with opened(tmp_path) as database:
            await database.written(lambda connection: connection.execute(fill, ("old",)) and None)
            await database.written(
                lambda connection: (
                    connection.execute(
                        f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}"
                    )
                    and None
                )
            )
            database.write(lambda connection: connection.execute(fill, ("kept",)) and None)
            with pytest.raises(StoreFault):
                await database.written(lambda connection: connection.execute(fill, ("told",)) and None)
            await eventually(lambda: database.queued == 1)
            database.write_in_slices(
                lambda connection: (
                    connection.execute("DELETE FROM worker_metrics WHERE worker = 'old'").rowcount > 1
                )
            )
            await eventually(lambda: database.queued == 0)

    run(test())
    assert workers_in(tmp_path) == ["kept"]


def test_a_file_that_cannot_be_written_can_be_read(tmp_path):
    """Writes fail, each for itself, and reads go on."""

    async def test():
        async with opened(tmp_path) as database:
            await database.written(insert("a"))
            await database.written(lambda connection: connection.execute("PRAGMA query_only = ON") and None)
            with pytest.raises(StoreFault):
                await database.written(insert("b"))
            assert await database.read(lambda connection: connection.execute(WORKERS).fetchall()) == [("a",)]

    run(test())


def test_a_read_that_fails_is_a_fault_of_the_store(tmp_path):
    """Status 503, and the next one works."""

    async def test():
        async with opened(tmp_path) as database:
            with pytest.raises(StoreFault) as caught:
                await database.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
            assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
            assert await database.read(lambda connection: connection.execute(WORKERS).fetchall()) == []

    run(test())


def test_one_thread_alone_uses_a_connection_for_reading(tmp_path):
    """Also at start, whoever asks; two threads on one connection can bring the process down."""

    async def test():
        def thread(connection):
            return threading.get_ident()

        async with opened(tmp_path) as database:
            one = await database.read(thread)
            assert one not in (threading.get_ident(), await database.read(thread, is_long=True))
            assert (
                one == database.do_at_start(thread) == await asyncio.to_thread(database.do_at_start, thread)
            )

    run(test())


def test_a_long_read_holds_up_nobody_who_reads_a_little(tmp_path):
    """As one who continues a chain of thousands of items."""
    go_on = threading.Event()

    async def test():
        async with opened(tmp_path) as database:
            await database.written(insert("a"))
            long = asyncio.ensure_future(database.read(lambda connection: go_on.wait(PATIENCE), is_long=True))
            for _ in range(3):
                assert await database.read(lambda connection: connection.execute(WORKERS).fetchall()) == [
                    ("a",)
                ]
            assert not long.done()
            go_on.set()
            assert await long

    run(test())


def test_who_does_not_wait_any_more_harms_nobody(tmp_path):
    """The write is done all the same."""

    async def test():
        async with opened(tmp_path) as database:
            with held(database):
                waiting = asyncio.ensure_future(database.written(insert("a")))
                failing = asyncio.ensure_future(database.written(fail))
                await asyncio.sleep(0)
                waiting.cancel()
                failing.cancel()
            await database.written(insert("b"))

    run(test())
    assert workers_in(tmp_path) == ["a", "b"]


def test_a_loop_that_has_closed_harms_nobody(tmp_path):
    """What was written for it is in the file, and another loop goes on with the same database."""
    opening = []

    async def abandoned():
        database = Database(tmp_path / "antiphon.db")
        opening.append((database, held(database)))
        opening[0][1].__enter__()
        database.write(insert("a"), on_done=lambda: None)
        waiting = asyncio.ensure_future(database.written(insert("b")))
        await asyncio.sleep(0)
        waiting.cancel()

    async def test():
        database, holding = opening[0]
        holding.__exit__(None, None, None)
        await database.written(insert("c"))
        await database.close()

    run(abandoned())
    run(test())
    assert workers_in(tmp_path) == ["a", "b", "c"]


def test_what_is_no_database_is_refused(tmp_path):
    """And stays as it was."""
    path = tmp_path / "antiphon.db"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError):
        Database(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path):
    """As the operating system tells it."""
    with pytest.raises(FileNotFoundError):
        Database(tmp_path / "nowhere" / "antiphon.db")


def test_two_workers_share_a_file(tmp_path):
    """Each sees what the other has written, and both write at once."""

    async def test():
        async with opened(tmp_path) as one, opened(tmp_path) as other:
            await asyncio.gather(
                *(one.written(insert(f"one{number}")) for number in range(50)),
                *(other.written(insert(f"other{number}")) for number in range(50)),
            )
            for database in (one, other):
                assert (
                    len(await database.read(lambda connection: connection.execute(WORKERS).fetchall())) == 100
                )

    run(test())


def test_many_workers_start_at_once(tmp_path):
    """Whoever comes first makes the tables, in a file that is not there yet."""

    def start(number):
        async def write():
            async with opened(tmp_path) as database:
                await database.written(insert(f"w{number}"))

        asyncio.run(write())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    assert len(workers_in(tmp_path)) == 8


def test_processes_start_at_once(tmp_path):
    """As the workers of a gateway do."""
    program = f"""
import asyncio
from pathlib import Path
from antiphon.drivers.sqlite.database import Database

async def main():
    input(".")
    database = Database(Path({str(tmp_path)!r}) / "antiphon.db")
    await database.written(lambda connection: connection.execute({INSERT!r}, (str(id(database)),)) and None)
    await database.close()

asyncio.run(main())
"""
    run_at_once([program] * 3)
    assert workers_in(tmp_path)


def test_looking_whether_it_could_be_opened_changes_nothing(tmp_path):
    """Before there is a file, while it is open (its log is read too), and after it was closed."""
    path = tmp_path / "antiphon.db"
    assert inspect(path) is False
    assert list(tmp_path.iterdir()) == []

    async def test():
        async with opened(tmp_path) as database:
            await database.written(insert("a"))
            assert inspect(path) is True

    run(test())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert inspect(path) is True
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "no" / "folder.db")
