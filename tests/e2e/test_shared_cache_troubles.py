"""The shared level is killed, says nothing, or is full, in the middle of traffic: clients notice nothing of it."""

import asyncio
import contextlib

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from e2e.levels import gateways, shared_by, written
from e2e.plain_client import plain_client
from e2e.samples import PATHS, REQUESTS, chat_body
from e2e.scenes import play
from waiting import eventually

LOOK_UP = 0.5
"""Seconds for a look-up: much longer than one takes, much less than a server that says nothing."""
SOME = range(6)


class Killed:
    """It is killed, and started again later."""

    def __init__(self, server):
        self._stop = server.kill if hasattr(server, "kill") else lambda: server.stop(3)
        self._start = server.start

    async def begin(self):
        await asyncio.to_thread(self._stop)

    async def end(self):
        await asyncio.to_thread(self._start)


class Paused:
    """It takes connections and requests, and says nothing."""

    def __init__(self, server):
        self._server = server

    async def begin(self):
        self._server.pause()

    async def end(self):
        await asyncio.to_thread(self._server.resume)


class Locked:
    """Somebody else has the table of the entries."""

    def __init__(self, url):
        self._url = url

    async def begin(self):
        import asyncpg

        self._connection = await asyncpg.connect(self._url)
        await self._connection.execute("BEGIN; LOCK TABLE cache_entries IN ACCESS EXCLUSIVE MODE")

    async def end(self):
        await self._connection.close()


def trouble_of(request, kind, name):
    if kind == "postgres":
        if name == "silent":
            return Locked(request.getfixturevalue("postgres_url"))
        return Killed(request.getfixturevalue("postgres_server"))
    server = request.getfixturevalue({"redis": "redis_server", "cluster": "redis_cluster"}[kind])
    return Killed(server) if name == "killed" else Paused(server)


async def ask(gateway, prompt):
    """Ask, and say whether it was a hit."""
    async with plain_client(gateway.port) as client:
        asked = REQUESTS["chat"] | {"messages": [{"role": "user", "content": prompt}]}
        got = await client.post(PATHS["chat"], asked)
        assert got.status == 200, got.body
        return got.is_hit


async def parts_of(gateway):
    async with plain_client(gateway.port) as client:
        got = await client.get("/readyz")
        return got.status, got.json()


async def metric(gateway, name):
    async with plain_client(gateway.port) as client:
        page = (await client.get("/metrics")).body.decode()
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"antiphon_{name} "))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("redis", "killed"),
        ("redis", "silent"),
        ("cluster", "killed"),
        ("cluster", "silent"),
        ("postgres", "killed"),
        ("postgres", "silent"),
    ],
)
def test_while_the_shared_level_is_away_memory_goes_on(tmp_path, request, kind, name):
    """It is said, in `/readyz` and metrics; and afterwards all is as it was, also what was answered meanwhile."""
    shared = shared_by(request, kind)
    trouble = trouble_of(request, kind, name)

    async def run():
        async with (
            Simulator([Answer(body=chat_body())] * 100) as simulator,
            gateways(tmp_path, simulator, 2, lookup_timeout=LOOK_UP, **shared) as (one, other),
        ):
            for each in (one, other):
                # The first look-up connects, to every node of a cluster, which may take longer than one is given.
                await eventually(each.application.second_level.check)
            assert not await ask(one, "before")
            await written(one)
            assert await ask(other, "before")
            await trouble.begin()
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(trouble.end)
                for number in SOME:
                    hits = [await ask(one, f"meanwhile {number}"), await ask(one, f"meanwhile {number}")]
                    assert hits == [False, True]
                failed = one.application.second_level.outcomes
                assert 1 <= failed["timeout"] + failed["fault"] <= 3  # the others did not wait at all
                status, said = await parts_of(one)
                assert said["parts"]["cache"] == "not available"
                if kind != "postgres" or name == "silent":
                    assert (status, said["status"]) == (200, "degraded")
                assert await metric(one, "cache_level_available") == 0

            async def is_back():
                return (await parts_of(one))[1]["status"] == (await parts_of(other))[1]["status"] == "ok"

            await eventually(is_back)
            assert await metric(one, "cache_level_available") == 1
            await written(one)
            calls = len(simulator.calls)
            for number in SOME:
                assert await ask(other, f"meanwhile {number}")
            assert len(simulator.calls) == calls

    play(run())


def test_a_full_redis_costs_nobody_anything(tmp_path, redis_server):
    """What it cannot take is dropped, and counted; it is asked all the same."""

    async def run():
        async with (
            Simulator([Answer(body=chat_body())] * 100) as simulator,
            gateways(tmp_path, simulator, 2, redis=redis_server.settings) as (one, other),
        ):
            assert not await ask(one, "before")
            await written(one)
            redis_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
            redis_server.ask("CONFIG", "SET", "maxmemory", "1")
            for number in SOME:
                assert not await ask(one, f"meanwhile {number}")
                assert await ask(one, f"meanwhile {number}")
            assert await ask(other, "before")
            await written(one)
            assert await metric(one, "cache_level_dropped_writes") == len(SOME)
            assert await parts_of(one) == (200, {"status": "ok", "parts": {"storage": "ok", "cache": "ok"}})

    play(run())


def test_a_gateway_that_starts_without_its_redis_answers(tmp_path, redis_server):
    """And uses it when it comes."""

    async def run():
        redis_server.kill()
        async with (
            Simulator([Answer(body=chat_body())] * 100) as simulator,
            gateways(tmp_path, simulator, 2, redis=redis_server.settings) as (one, other),
        ):
            assert not await ask(one, "early")
            assert await ask(one, "early")
            await asyncio.to_thread(redis_server.start)
            await written(one)
            await eventually(lambda: other.application.second_level.is_available)
            assert await ask(other, "early")

    play(run())
