"""Equal requests in flight on several hosts share one upstream call."""

import asyncio

import pytest

from engine.scene import CHAT, RESPONSES, upstream
from engine.test_coalescing import answer_for, plain, text_in
from flights.hosts import DRIVERS, ask_later, following, hosts, place_of

MIXES = {
    "JSON and JSON": (False, False),
    "stream and stream": (True, True),
    "JSON and stream": (False, True),
    "stream and JSON": (True, False),
}


@pytest.fixture(params=DRIVERS)
def place(request):
    return place_of(request, request.param)


def run(test):
    async def within_reason():
        async with asyncio.timeout(20):
            await test

    asyncio.run(within_reason())


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_two_hosts_share_one_call(tmp_path, place, path, mix):
    """The upstream is asked in the form of the first, which alone is not `collapsed`."""
    streams = MIXES[mix]
    gate = asyncio.Event()

    async def test():
        answer = answer_for(path, stream=streams[0], gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, path, stream=streams[0])
            await simulator.wait_for_calls(1)
            ask_later(second, path, stream=streams[1])
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]

            assert len(simulator.calls) == 1
            assert [each.status for each in got] == [200, 200]
            assert ["collapsed" in each.cache_status for each in got] == [False, True]
            assert text_in(got[0]) == text_in(got[1])
            if streams[0] is streams[1]:
                assert plain(got[0].body) == plain(got[1].body)

    run(test())
