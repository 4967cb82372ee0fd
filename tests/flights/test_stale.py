"""Expired answers on several hosts: one refresh, and all are stood in for when the upstream fails."""

import asyncio

from antiphon.drivers.simulator import Answer, Fault, samples
from antiphon.settings import Duration
from engine.scene import run, upstream
from engine.test_staleness import ttl_of
from flights.hosts import ask_later, following, hosts
from waiting import eventually

CACHE = {
    "ttl": Duration(3600),
    "stale_while_revalidate": Duration(3600),
    "stale_if_error": Duration(3600),
}
EXPIRED_AT_ONCE = {"cache": {"ttl": 0}}


async def is_there(host):
    """Whether a host finds the answer, expired or not, without asking anybody."""
    got = await host.ask(headers={"Cache-Control": "only-if-cached, max-stale"})
    return got.status == 200


def test_one_refresh_for_all_hosts(tmp_path, place):
    """The others follow, and find what it has brought."""
    gate = asyncio.Event()

    async def test():
        fresh = Answer(body=samples.chat_body(700), gate=gate)
        async with (
            upstream([Answer(body=samples.chat_body(700)), fresh]) as simulator,
            hosts(tmp_path, simulator, place, cache=CACHE) as (first, second),
        ):
            await first.ask(**EXPIRED_AT_ONCE)
            await eventually(lambda: is_there(second))
            assert ttl_of(await first.ask()) < 0
            await simulator.wait_for_calls(2)
            assert ttl_of(await second.ask()) < 0
            await following(second)
            gate.set()

            async def is_fresh_everywhere():
                return all([ttl_of(await host.ask()) > 0 for host in (first, second)])

            await eventually(is_fresh_everywhere)
            assert len(simulator.calls) == 2

    run(test())


def test_an_expired_answer_stands_in_on_all_hosts(tmp_path, place):
    """Also for those who follow another host."""
    gate = asyncio.Event()

    async def test():
        failure = Answer(frames=samples.chat_frames(3), gate=gate, fault=Fault.RESET_BETWEEN_FRAMES, at=0)
        async with (
            upstream([Answer(body=samples.chat_body(700)), failure]) as simulator,
            hosts(tmp_path, simulator, place, cache=CACHE) as (first, second),
        ):
            await first.ask(**EXPIRED_AT_ONCE)
            await eventually(lambda: is_there(second))
            wants_fresh = {"Cache-Control": "stale-while-revalidate=0"}
            ask_later(first, headers=wants_fresh)
            await simulator.wait_for_calls(2)
            ask_later(second, headers=wants_fresh)
            await following(second)
            gate.set()
            for host in (first, second):
                got = await host.client.answer()
                assert (got.status, "detail=stale-if-error" in got.cache_status) == (200, True)

    run(test())
