"""Lists of inputs in flight on several hosts, of which some are cached already."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer
from embedder import Embedder, vector
from engine.scene import EMBEDDINGS, run, upstream
from flights.hosts import ask_later, following, hosts
from waiting import eventually

LIST = {"model": "up/small", "input": ["a", "b"]}


@pytest.mark.parametrize("known", [True, False], ids=["some cached", "nothing cached"])
def test_two_hosts_fetch_what_is_missing_of_a_list_once(tmp_path, place, known):
    """Both answer with the whole list, and both have its inputs afterwards."""
    embedder, gate = Embedder(), asyncio.Event()

    def answer(received):
        answered = embedder(received)
        return Answer(body=answered.body, gate=gate) if b"[" in received.body else answered

    async def test():
        async with upstream(answer) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            if known:
                await first.ask(EMBEDDINGS, **LIST | {"input": "a"})
                await eventually(lambda: is_there(second, "a"))
            ask_later(first, EMBEDDINGS, **LIST)
            await simulator.wait_for_calls(1 + known)
            ask_later(second, EMBEDDINGS, **LIST)
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]

            assert embedder.asked == (["a", ["b"]] if known else [["a", "b"]])
            assert [entry["embedding"] for entry in got[0].json()["data"]] == [
                vector(each, {}) for each in "ab"
            ]
            assert got[0].json() == got[1].json()
            assert ["collapsed" in each.cache_status for each in got] == [False, True]
            for host in (first, second):
                await eventually(lambda host=host: is_there(host, ["b", "a"]))

    async def is_there(host, inputs):
        got = await host.ask(
            EMBEDDINGS, **LIST | {"input": inputs}, headers={"Cache_Control": "only-if-cached"}
        )
        return got.status == 200 and got.is_hit

    run(test())
