"""PostgreSQL that goes away and comes back, and addresses at which it is not."""

import asyncio
import contextlib

import pytest

from antiphon.drivers.storage import inspect_storage, open_storage
from antiphon.ports.storage import StorageUnusable
from antiphon.settings import Settings
from antiphon.settings import Storage as StorageSettings
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import run
from drivers.stores.place import PostgresPlace, append_of, committed, kept_of, new_run, opened
from waiting import eventually


@pytest.fixture
def place(postgres_url):
    return PostgresPlace(postgres_url)


def test_events_go_on_after_a_crash(place, postgres_server):
    """In the middle of writing: each is there once, in order, and each that was committed is there."""

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run(), "me")
            written, faults = 2, 0
            crash = asyncio.ensure_future(asyncio.to_thread(postgres_server.restart))
            while not crash.done() or written < 100:
                frames = tuple(b"%d" % number for number in range(written, written + 3))
                try:
                    done = await storage.runs.append([append_of(lease, frames, last_seq=written - 1)])
                    assert done == [True]
                    written += len(frames)
                except StoreFault:
                    faults += 1
                    await asyncio.sleep(0.01)
            await crash
            assert faults > 0
            page = await storage.runs.read("resp_1", -1)
            assert page.frames == [b"%d" % number for number in range(written)]

    run(test())


def test_what_nobody_waits_for_is_written_when_it_is_back(place, postgres_server):
    """Meanwhile this process still has it."""

    async def test():
        async with opened(place) as storage:
            await asyncio.to_thread(postgres_server.stop)
            try:
                assert storage.responses.is_waited_for
                storage.responses.put(kept_of("resp_1"))
                assert await storage.responses.get("resp_1", "alice") is not None
                await eventually(lambda: not storage.responses.is_waited_for)
                with pytest.raises(StoreFault) as caught:
                    await storage.check()
                assert (caught.value.status, caught.value.headers) == (503, ((b"retry-after", b"5"),))
                with pytest.raises(StoreFault):
                    await storage.runs.create(new_run(), "me")
            finally:
                await asyncio.to_thread(postgres_server.start)
            await committed(storage)
            assert storage.responses.is_waited_for
            assert storage.failed == 0
            assert await place.rows("SELECT id FROM responses") == [("resp_1",)]

    run(test())


def test_hints_tell_what_others_have_written_and_come_again_after_a_loss(place):
    """Who listens learns when the line was cut: anything may have happened meanwhile."""

    async def test():
        async with opened(place) as here, opened(place) as there:
            heard = []
            listening = asyncio.ensure_future(here.runs.watch(heard.append))
            try:
                await eventually(lambda: heard == [()])
                lease = await here.runs.create(new_run("mine"), "me")
                await here.runs.append([append_of(lease)])
                assert await there.runs.end("mine", "cancelled")
                await eventually(lambda: heard[1:] == [["mine"]])
                heard.clear()
                await place.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                )
                await eventually(lambda: heard == [()])
                assert await there.runs.delete("mine", "alice")
                await eventually(lambda: heard[1:] == [["mine"]])
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening

    run(test())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://someone:passw0rd@127.0.0.1:1/db", "database db at 127.0.0.1"),
        ("postgresql://someone:passw0rd@127.0.0.1:passw0rd/db", "expected postgresql://"),
    ],
)
def test_where_there_is_none_that_is_said_without_the_password(url, says):
    pytest.importorskip("asyncpg")
    settings = Settings(storage=StorageSettings(url=url))

    async def test():
        for use in (open_storage, inspect_storage):
            with pytest.raises(StorageUnusable) as caught:
                await use(settings)
            assert says in str(caught.value)
            assert "passw0rd" not in str(caught.value)

    run(test())


def test_looking_leaves_everything_as_it_is(place):
    settings = Settings(storage=StorageSettings(url=place.url))

    async def test():
        assert "would be made" in await inspect_storage(settings)
        assert await place.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
        async with opened(place):
            pass
        assert "can be used" in await inspect_storage(settings)

    run(test())
