"""Several processes on one file: what one accepts another runs, and any of them tells."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from cli.served import serving
from e2e.plain_client import plain_client
from e2e.samples import responses_frames
from e2e.test_background import events_of
from waiting import PATIENCE, eventually

PATH = "/v1/responses"
ASKED = {"model": "up/gpt-test", "input": "Hi", "background": True}
FRAMES = responses_frames()


def play(scenario):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await scenario

    asyncio.run(within_reason())


def held():
    gate = asyncio.Event()
    at = next(place for place, frame in enumerate(FRAMES) if b"output_text.delta" in frame) + 1
    return Answer(frames=FRAMES, gate_at=at, gate=gate), gate


async def has_text(client, path):
    async def poll():
        got = (await client.get(path)).json()
        return got["output"] and got["output"][-1]["content"]

    return await eventually(poll)


async def connected_to(port, count):
    """Connect until so many workers have taken a connection of ours; return one client for each."""
    clients, stack = {}, []
    async with asyncio.timeout(PATIENCE):
        while len(clients) < count:
            context = plain_client(port)
            client = await context.__aenter__()
            stack.append(context)
            refused = await client.post(PATH, b"{")
            clients.setdefault(refused.headers["x-request-id"][:20], client)
    return list(clients.values()), stack


def test_any_worker_of_a_host_polls_tails_and_cancels_what_another_runs(tmp_path):
    """Three workers share a port; each request is made to another of them, by its own connection."""

    async def scenario():
        answer, gate = held()
        async with (
            Simulator(answer) as upstream,
            serving(tmp_path, upstream.base_url, "--workers", "3") as served,
        ):
            (first, second, third), stack = await connected_to(served.port, 3)
            asked = [ASKED | {"input": text} for text in ("One", "Two")]
            made, dropped = [(await first.post(PATH, each)).json()["id"] for each in asked]
            third.send("GET", f"{PATH}/{made}?stream=true", b"")
            _, head = await third.head()
            told = []
            while not told or told[-1]["type"] != "response.output_text.delta":
                told += events_of(await third.chunk())
            await has_text(second, f"{PATH}/{made}")
            await has_text(second, f"{PATH}/{dropped}")
            got = (await second.post(f"{PATH}/{dropped}/cancel", {})).json()
            assert (got["status"], got["output"][-1]["content"][0]["text"]) == ("cancelled", "Hello")
            await eventually(lambda: sum(call.aborted for call in upstream.calls) == 1, within=1)
            gate.set()
            told += events_of(await third.rest(head))
            assert [event["sequence_number"] for event in told] == list(range(len(told)))
            assert told[-1]["type"] == "response.completed"
            for client in (first, second, third):
                again = await client.get(f"{PATH}/{made}?stream=true")
                assert events_of(again.body) == told
                assert (await client.get(f"{PATH}/{dropped}")).json()["status"] == "cancelled"
            assert len(upstream.calls) == 2
            for context in stack:
                await context.__aexit__(None, None, None)

    play(scenario())


def test_an_api_accepts_what_a_worker_runs(tmp_path):
    """An api by itself runs nothing; a worker answers no client; together they do both."""

    async def scenario():
        async with (
            Simulator(Answer(frames=FRAMES)) as upstream,
            serving(tmp_path, upstream.base_url, "--role", "api") as api,
            plain_client(api.port) as client,
        ):
            queued = (await client.post(PATH, ASKED)).json()
            client.send("POST", PATH, ASKED | {"stream": True, "input": "Another"})
            _, head = await client.head()
            told = events_of(await client.chunk())
            async with serving(tmp_path, upstream.base_url, "--role", "worker", "--workers", "2") as worker:
                told += events_of(await client.rest(head))
                assert told[-1]["type"] == "response.completed"
                assert [event["sequence_number"] for event in told] == list(range(len(told)))

                async def completed():
                    return (await client.get(f"{PATH}/{queued['id']}")).json()["status"] == "completed"

                await eventually(completed)
                async with plain_client(worker.port) as other:
                    for path in ("/healthz", "/readyz", "/metrics"):
                        assert (await other.get(path)).status == 200
                    for path in ("/v1/models", f"{PATH}/{queued['id']}"):
                        assert (await other.get(path)).status == 404
                    assert (await other.post(PATH, ASKED)).status == 404
                    assert (await other.post("/v1/chat/completions", {})).status == 404
                assert await worker.stop() == 0
            assert (await client.get(f"{PATH}/{queued['id']}")).json()["status"] == "completed"

    play(scenario())


@pytest.mark.parametrize("role", ["api", "worker"])
def test_the_role_is_a_setting_too(tmp_path, role):
    async def scenario():
        async with (
            Simulator(Answer(frames=FRAMES)) as upstream,
            serving(tmp_path, upstream.base_url, server={"port": 0, "role": role}) as served,
            plain_client(served.port) as client,
        ):
            status = (await client.post(PATH, ASKED)).status
            assert status == (200 if role == "api" else 404)

    play(scenario())


def test_an_unknown_role_is_one_line(tmp_path):
    async def scenario():
        with pytest.raises(ValueError):  # it says that nothing answers
            async with serving(tmp_path, "http://127.0.0.1:1/v1", server={"port": 0, "role": "boss"}):
                pass

    play(scenario())


def test_e8_an_answer_whose_gateway_was_killed_is_failed_with_what_was_told(tmp_path):
    """A foreground answer that was to be finished; the next gateway on the file says what became of it."""

    async def scenario():
        answer, _ = held()
        async with Simulator(answer) as upstream:
            finish = {"responses": {"on_disconnect": "finish"}}
            async with (
                serving(tmp_path, upstream.base_url, **finish) as first,
                plain_client(first.port) as client,
            ):
                client.send("POST", PATH, ASKED | {"background": False, "stream": True})
                await client.head()
                told = []
                while not told or told[-1]["type"] != "response.output_text.delta":
                    told += events_of(await client.chunk())
                first.process.kill()
                await first.ended()
            async with serving(tmp_path, upstream.base_url) as second, plain_client(second.port) as client:
                path = f"{PATH}/{told[0]['response']['id']}"

                async def failed():
                    got = (await client.get(path)).json()
                    return got if got["status"] == "failed" else None

                got = await eventually(failed)
                assert (got["error"]["code"], got["background"]) == ("server_error", False)
                assert got["output"][-1]["content"][0]["text"] == "Hello"
                again = events_of((await client.get(f"{path}?stream=true")).body)
                assert again[: len(told)] == told
                assert [event["type"] for event in again[len(told) :]] == ["response.failed"]

    play(scenario())
