"""Files of earlier releases, brought forward with everything that is in them."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from antiphon.drivers.migrations import SchemaError, Step, missing, steps_of
from antiphon.drivers.rows import write_echo
from antiphon.drivers.sqlite import migrating
from antiphon.drivers.sqlite.cache import SqliteCache
from antiphon.drivers.sqlite.database import Database, inspect
from antiphon.drivers.sqlite.kept_secrets import SqliteSecrets
from antiphon.drivers.sqlite.responses import SqliteResponses
from antiphon.recording.codec import encode
from antiphon.turn.history import Context
from drivers.sqlite.at_once import run_at_once
from drivers.sqlite.opening import NOW, change, entry_of, kept_of, opened, recording_of, rows_of, run
from usage_rows import ROW

KNOWN = len(migrating.STEPS)
SCHEMA_1 = Path(__file__).with_name("version_1.sql").read_text("utf-8")
RECORDING = "INSERT INTO recordings (id, data, size, created_at) VALUES (?, ?, ?, ?)"
ENTRY = """
REPLACE INTO cache_entries
(digest, identity, recording_id, public_id, echo, tags, stored_at, expires_at, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
RESPONSE = """
REPLACE INTO responses (id, owner, recording_id, created_at, echo, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
USAGE = f"INSERT INTO usage VALUES ({', '.join('?' * len(ROW))})"
LATE_TABLES = ("secrets", "deleted_recordings", "upstream_responses")
TABLES = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


def written_by_version_1(folder, *, without=()):
    """Make a file with the tables and the statements of version 1, without what its early files lacked."""
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as connection:
        connection.executescript(SCHEMA_1 + "PRAGMA user_version = 1;")
        for table in without:
            connection.execute(f"DROP TABLE {table}")
        keep_in_version_1(connection, "resp_1", recording_of("r-1"))
        entry = entry_of("a", recording_of("r-1"))
        row = (entry.digest, entry.identity, "r-1", entry.public_id, write_echo(entry.echo), "one\ntwo")
        connection.execute(ENTRY, (*row, entry.stored_at, entry.expires_at, entry.size))
        connection.execute(USAGE, ROW)
        if "secrets" not in without:
            connection.execute("INSERT INTO secrets VALUES ('sealing', ?)", (b"old",))
        connection.commit()


def keep_in_version_1(connection, name, recording):
    data = encode(recording)
    connection.execute(RECORDING, (recording.id, data, len(data), recording.ended_at))
    connection.execute(
        RESPONSE, (name, "alice", recording.id, 1_700_000_000, write_echo({"user": b'"u"'}), NOW + 100)
    )


@pytest.mark.parametrize("without", [(), LATE_TABLES])
def test_nothing_is_lost(tmp_path, without):
    """Responses, cache entries, the ledger and secrets; what early files lacked is there now."""
    written_by_version_1(tmp_path, without=without)

    async def test():
        async with opened(tmp_path) as database:
            responses, cache = SqliteResponses(database, lambda: NOW), SqliteCache(database, 10**9)
            kept = await responses.get("resp_1", "alice")
            assert (kept.recording, kept.echoed, kept.head) == (recording_of("r-1"), {"user": b'"u"'}, None)
            entry = await cache.get(entry_of("a").digest)
            assert (entry.recording, entry.tags) == (recording_of("r-1"), ("one", "two"))
            assert await SqliteSecrets(database).stored("sealing") == (None if without else b"old")
            responses.put(kept_of("resp_2", context=Context(None, (b"{}",))))
            await responses.delete("resp_2", "alice")

    run(test())
    assert rows_of(tmp_path, "SELECT * FROM usage") == [tuple(ROW)]
    assert rows_of(tmp_path, "SELECT * FROM history") == []


def test_a_file_brought_forward_is_like_a_new_one(tmp_path):
    """Table by table, whatever it began with."""
    folders = [tmp_path / name for name in ("new", "old", "early")]
    for folder in folders:
        folder.mkdir()
    written_by_version_1(folders[1])
    written_by_version_1(folders[2], without=LATE_TABLES)

    async def test():
        for folder in folders:
            async with opened(folder):
                pass

    run(test())
    new, *others = [
        [(kind, name, " ".join(sql.split()).replace("IF NOT EXISTS ", "")) for kind, name, sql in rows]
        for rows in (rows_of(folder, TABLES) for folder in folders)
    ]
    assert others == [new, new]
    assert [number for (number,) in rows_of(folders[1], "SELECT number FROM schema_steps")] == list(
        range(1, KNOWN + 1)
    )


def test_a_worker_of_version_1_goes_on(tmp_path):
    """It finds the version that it knows, and what it deletes leaves nothing behind."""
    written_by_version_1(tmp_path)

    async def test():
        async with opened(tmp_path) as database:
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db")) as old:
                assert old.execute("PRAGMA user_version").fetchone() == (1,)
                keep_in_version_1(old, "resp_2", recording_of("r-2"))
                old.commit()
                responses = SqliteResponses(database, lambda: NOW)
                assert (await responses.get("resp_2", "alice")).recording == recording_of("r-2")

                responses.put(kept_of("resp_3", context=Context(None, (b'{"a":1}', b'{"b":2}'))))
                await database.written(lambda connection: None)
                old.execute("DELETE FROM responses WHERE expires_at < ?", (NOW + 1000,))
                old.commit()
                responses.sweep(NOW)
                await database.written(lambda connection: None)

    run(test())
    assert rows_of(tmp_path, "SELECT count(*) FROM history") == [(0,)]


def test_processes_bring_a_file_forward_at_once(tmp_path):
    """Each step is done once, and all of them go on to work."""
    written_by_version_1(tmp_path, without=LATE_TABLES)
    program = f"""
from pathlib import Path
from antiphon.drivers.sqlite.database import Database

input(".")
database = Database(Path({str(tmp_path)!r}) / "antiphon.db")
database.do_at_start(lambda connection: connection.execute("SELECT history FROM responses").fetchall())
"""
    run_at_once([program] * 4)
    done = rows_of(tmp_path, "SELECT number FROM schema_steps")
    assert done == [(number,) for number in range(1, KNOWN + 1)]
    assert rows_of(tmp_path, "SELECT id FROM responses") == [("resp_1",)]


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    """Whoever mends what was wrong starts again from there."""
    written_by_version_1(tmp_path)
    steps = steps_of("antiphon.drivers.sqlite")
    broken = "CREATE TABLE a (b);\nSELECT 1 FROM nowhere;\n"
    first, second, *later = steps
    monkeypatch.setattr(migrating, "STEPS", (first, Step(2, 1, second.sql + broken), *later))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Database(tmp_path / "antiphon.db")
    assert rows_of(tmp_path, "SELECT number FROM schema_steps") == [(1,)]
    assert rows_of(tmp_path, "SELECT name FROM sqlite_master WHERE name IN ('a', 'history')") == []
    monkeypatch.undo()

    async def test():
        async with opened(tmp_path) as database:
            assert await SqliteResponses(database, lambda: NOW).get("resp_1", "alice") is not None

    run(test())


@pytest.mark.parametrize("version", [KNOWN + 1, 99])
def test_a_file_that_wants_a_newer_program_is_refused(tmp_path, version):
    """Saying what it wants and what is known; not a byte of it changes."""
    written_by_version_1(tmp_path)
    change(tmp_path, f"PRAGMA user_version = {version}")
    refused(tmp_path, f"version {version} and wants a program that knows {version} .* knows {KNOWN}")


def test_a_file_of_another_program_is_refused(tmp_path):
    """Whether it has a version or none."""
    change(tmp_path, "CREATE TABLE responses (whatever)")
    refused(tmp_path, "another program")
    change(tmp_path, "PRAGMA user_version = -1")
    refused(tmp_path, "another program")


def test_a_newer_file_that_older_programs_may_use_is_used(tmp_path):
    """A release later than this one has only added to it."""

    async def test():
        async with opened(tmp_path):
            pass
        change(tmp_path, "INSERT INTO schema_steps VALUES (97, 0)")
        assert inspect(tmp_path / "antiphon.db")
        async with opened(tmp_path):
            pass

    run(test())
    change(tmp_path, "PRAGMA user_version = 96")
    refused(tmp_path, f"version 97 and wants a program that knows 96 .* knows {KNOWN}")


def test_steps_never_let_an_older_program_in_again():
    """Whoever was shut out by a step stays out, and nobody is asked to know more than there is."""
    steps = steps_of("antiphon.drivers.sqlite")
    oldest = [step.oldest for step in steps]
    assert oldest == sorted(oldest)
    assert all(step.oldest <= step.number for step in steps)
    assert missing(steps, 0, 0) == steps
    assert missing(steps, len(steps) + 3, 1) == ()


def refused(folder, why):
    path = folder / "antiphon.db"
    before = path.read_bytes()
    for look in (Database, inspect):
        with pytest.raises(SchemaError, match=why):
            look(path)
    assert path.read_bytes() == before
