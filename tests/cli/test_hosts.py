"""Two hosts on one PostgreSQL: gateways that share nothing else but, perhaps, a Redis for hints."""

import contextlib

import pytest

from antiphon.drivers.simulator import Simulator
from cli.served import serving
from cli.test_roles import ASKED, PATH, has_text, held, play
from e2e.plain_client import plain_client
from e2e.test_background import events_of
from waiting import eventually


@contextlib.asynccontextmanager
async def hosts(folder, upstream, storage, **sections):
    """Start two gateways, with a client of each."""
    async with contextlib.AsyncExitStack() as opened:
        both = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            served = await opened.enter_async_context(
                serving(
                    folder / name,
                    upstream.base_url,
                    storage={"url": storage},
                    responses={"on_disconnect": "finish", "background": {"lease": 2}},
                    **sections,
                )
            )
            both.append((served, await opened.enter_async_context(plain_client(served.port))))
        yield both


async def text_of(client):
    """Read a stream until its text begins."""
    _, head = await client.head()
    told = []
    while not told or told[-1]["type"] != "response.output_text.delta":
        told += events_of(await client.chunk())
    return told, head


@pytest.mark.parametrize("hints", ["postgresql", "redis"])
def test_what_one_host_makes_the_other_tells(tmp_path, postgres_url, redis_server, hints):
    async def scenario():
        answer, gate = held()
        redis = {"redis": {"url": redis_server.url}} if hints == "redis" else {}
        async with (
            Simulator(answer) as upstream,
            hosts(tmp_path, upstream, postgres_url, **redis) as ((_, first), (_, second)),
        ):
            made = (await first.post(PATH, ASKED)).json()["id"]
            second.send("GET", f"{PATH}/{made}?stream=true", b"")
            told, head = await text_of(second)
            assert await has_text(first, f"{PATH}/{made}")
            gate.set()
            told += events_of(await second.rest(head))
            assert told[-1]["type"] == "response.completed"
            assert [event["sequence_number"] for event in told] == list(range(len(told)))
            for client in (first, second):
                assert events_of((await client.get(f"{PATH}/{made}?stream=true")).body) == told

    play(scenario())


def test_when_a_host_is_killed_the_other_makes_a_truthful_end_of_what_it_had(tmp_path, postgres_url):
    """What nobody was shown is made again; what somebody was shown has failed, with what was told."""

    async def scenario():
        answer, gate = held()
        async with (
            Simulator(answer) as upstream,
            hosts(tmp_path, upstream, postgres_url, cache={}) as ((one, first), (_, second)),
        ):
            queued = (await first.post(PATH, ASKED | {"input": "One"})).json()["id"]
            async with plain_client(one.port) as client:
                client.send("POST", PATH, ASKED | {"background": False, "stream": True, "input": "Two"})
                told, _ = await text_of(client)
            await has_text(first, f"{PATH}/{queued}")
            one.process.kill()
            await one.ended()
            gate.set()

            async def ended(response_id):
                got = (await second.get(f"{PATH}/{response_id}")).json()
                return got if got["status"] not in {"queued", "in_progress"} else None

            again = await eventually(lambda: ended(queued))
            assert (again["status"], again["output"][-1]["content"][0]["text"]) == (
                "completed",
                "Hello there",
            )
            failed = await eventually(lambda: ended(told[0]["response"]["id"]))
            assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
            assert failed["output"][-1]["content"][0]["text"] == "Hello"

    play(scenario())
