"""Hints over a real Redis: heard by others, by others alone, and again after it was away."""

import asyncio
import contextlib
import logging

import pytest

from antiphon.drivers.redis import listening
from antiphon.drivers.redis.client import open_channels
from antiphon.drivers.redis.hints import RedisHints
from antiphon.engine.tasks import Tasks
from antiphon.settings import Redis
from waiting import eventually


@contextlib.asynccontextmanager
async def speaking(settings, count=2):
    """Let so many processes speak; yield them, and what each of them has heard."""
    all_of_them = [RedisHints(settings) for _ in range(count)]
    heard = [[] for _ in range(count)]
    tasks = Tasks()
    for each, to in zip(all_of_them, heard, strict=True):
        tasks.start(each.send(), "send")
        tasks.start(each.watch(lambda run_ids, to=to: to.append(sorted(run_ids))), "watch")
    try:
        await eventually(lambda: all(heard))
        yield all_of_them, heard
    finally:
        await tasks.stop()
        for each in all_of_them:
            await each.close()


def test_others_hear_which_runs_have_moved_on(server):
    async def run():
        async with speaking(server.settings, 3) as ((one, *_), heard):
            assert heard == [[[]]] * 3  # whoever begins to listen may have missed something
            one.publish(["resp_a"])
            one.publish(["resp_b", "resp_a"])
            await eventually(lambda: all(["resp_a", "resp_b"] in each for each in heard[1:]))
            assert heard[0] == [[]]

    asyncio.run(run())


def test_so_many_that_it_may_be_any(redis_server):
    async def run():
        async with speaking(redis_server.settings) as ((one, _), heard):
            one.publish([f"resp_{number}" for number in range(1000)])
            await eventually(lambda: len(heard[1]) == 2)
            assert heard[1] == [[], []]

    asyncio.run(run())


def test_after_it_was_away_they_hear_each_other_again(redis_server, caplog):
    """Which is said once by each, however often it was tried meanwhile."""

    async def run():
        async with speaking(redis_server.settings) as ((one, _), heard):
            redis_server.kill()
            one.publish(["resp_lost"])
            await eventually(lambda: min(map(tried.count, tried)) >= 4)
            redis_server.start()
            await eventually(lambda: len(heard[0]) == len(heard[1]) == 2)
            one.publish(["resp_a"])
            await eventually(lambda: ["resp_a"] in heard[1])

    tried = []

    async def counted(client):
        tried.append(client)
        return await open_channels(client)

    with caplog.at_level(logging.INFO), pytest.MonkeyPatch.context() as patch:
        patch.setattr(listening, "open_channels", counted)
        asyncio.run(run())
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    told = "hints of other processes about runs are"
    assert sorted(said) == [f"{told} heard again"] * 2 + [f"{told} not heard"] * 2


def test_valkey_is_an_address_too(redis_server):
    async def run():
        async with speaking(Redis(url=redis_server.url.replace("redis", "valkey"))) as ((one, _), heard):
            one.publish(["resp_a"])
            await eventually(lambda: ["resp_a"] in heard[1])

    asyncio.run(run())
