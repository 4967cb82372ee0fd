"""Who has read the end of a stored answer finds it by its id, whichever process is asked."""

import asyncio
import contextlib
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.drivers.simulator.samples import responses_frames
from antiphon.engine import keeping
from antiphon.settings import Provider
from drivers.sqlite.opening import held
from e2e.scenes import play
from engine.scene import RESPONSES, answering, upstream
from flights.hosts import hosts, place_of
from waiting import eventually

STORES = pytest.mark.parametrize("kind", ["sqlite", "postgres"])
MODELS = pytest.mark.parametrize("model", ["up/m", "chat/m"])
FORMS = pytest.mark.parametrize("stream", [False, True])
ROUNDS = 8


@contextlib.asynccontextmanager
async def two(tmp_path, place, *answers):
    async with upstream(answers or None) as simulator, hosts(tmp_path, simulator, place) as (first, other):
        yield first, other


@pytest.fixture
def sqlite(request):
    return place_of(request, "sqlite")


def response_of(got):
    if got.headers["content-type"] == "application/json":
        return got.json()
    assert got.body.count(b"event: response.completed\n") == 1
    return json.loads(got.body.split(b"event: response.completed\ndata: ")[1].split(b"\n\n")[0])["response"]


def pending(host):
    return host.application.storage.responses._pending._responses


@STORES
@MODELS
@FORMS
def test_another_process_finds_an_answer_as_soon_as_its_end_was_told(request, tmp_path, kind, model, stream):
    """What was fetched, and what was replayed from the cache under an id of its own; and the chain goes on there."""

    place = place_of(request, kind)

    async def run():
        async with two(tmp_path, place) as (first, other):
            for number in range(ROUNDS):
                told = await first.ask(RESPONSES, model=model, input=f"Hi {number // 2}", stream=stream)
                assert told.is_hit == (number % 2 == 1)
                response = response_of(told)
                got = await other.client.get(f"{RESPONSES}/{response['id']}")
                assert (got.status, got.json()["output"]) == (200, response["output"])
                after = {"previous_response_id": response["id"], "stream": stream, "model": model}
                assert (await other.ask(RESPONSES, **after)).status == 200

    play(run())


@STORES
@FORMS
@pytest.mark.parametrize("store", [False, True])
def test_another_process_sees_what_an_answer_has_added_to_a_conversation(
    request, tmp_path, kind, stream, store
):
    """Kept or not; and nobody is told that an answer is still being made for it."""
    place = place_of(request, kind)

    async def run():
        async with two(tmp_path, place) as both:
            conversation = (await both[0].client.post("/v1/conversations", {})).json()["id"]
            for number in range(ROUNDS):
                first, other = both[number % 2], both[(number + 1) % 2]
                asked = {"conversation": conversation, "store": store, "stream": stream}
                assert (await first.ask(RESPONSES, **asked)).status == 200
                items = await other.client.get(f"/v1/conversations/{conversation}/items?limit=100")
                roles = [item["role"] for item in items.json()["data"]]
                assert roles == ["assistant", "user"] * (number + 1)

    play(run())


@STORES
@FORMS
def test_another_process_knows_which_provider_keeps_an_answer(request, tmp_path, kind, stream):
    """Of what providers keep themselves a gateway knows whose it is, and nothing else."""
    place = place_of(request, kind)

    async def run():
        async with upstream() as simulator:
            provider = Provider(type="openai", base_url=simulator.base_url, state="upstream", models=())
            async with hosts(tmp_path, simulator, place, providers={"up": provider}) as (first, other):
                for _ in range(ROUNDS):
                    response = response_of(await first.ask(RESPONSES, stream=stream))
                    simulator.answer(Answer(body=json.dumps(response).encode()))
                    assert (await other.client.get(f"{RESPONSES}/{response['id']}")).json() == response
                    simulator._choose = lambda received: answering(received, len(simulator.calls))

    play(run())


@FORMS
@pytest.mark.parametrize("is_hit", [False, True])
def test_the_end_waits_for_storage(tmp_path, sqlite, stream, is_hit):
    """And nothing but the end: of a stream that is live the rest has long been told."""
    frames, gate = responses_frames(10), asyncio.Event()
    live = Answer(frames=frames, gate_at=len(frames) - 1, gate=gate)

    async def run():
        async with two(tmp_path, sqlite, *([live] if stream else ())) as (first, other):
            if is_hit:
                gate.set()
                await first.ask(RESPONSES, stream=stream)
            database = first.application.storage.database
            async with asyncio.TaskGroup() as group:
                with held(database):
                    first.client.send("POST", RESPONSES, {"model": "up/m", "input": "Hi", "stream": stream})
                    if stream and not is_hit:
                        await first.client.reader.readuntil(b"response.output_text.delta")
                        gate.set()
                    await eventually(lambda: pending(first))
                    last = b"event: response.completed" if stream else b'"completed"'
                    end = group.create_task(first.client.reader.readuntil(last))
                    ((response_id, _),) = pending(first)
                    assert (await other.client.get(f"{RESPONSES}/{response_id}")).status == 404
                    assert not end.done()
            assert (await other.client.get(f"{RESPONSES}/{response_id}")).status == 200

    play(run())


@FORMS
@pytest.mark.parametrize("is_hit", [False, True])
def test_storage_that_is_away_keeps_nobody_waiting_for_long(tmp_path, sqlite, stream, is_hit, monkeypatch):
    async def run():
        async with two(tmp_path, sqlite) as (first, _):
            if is_hit:
                await first.ask(RESPONSES, stream=stream)
            monkeypatch.setattr(keeping, "_MOST_SECONDS", 0.01)
            with held(first.application.storage.database):
                response = response_of(await first.ask(RESPONSES, stream=stream))
                assert (await first.client.get(f"{RESPONSES}/{response['id']}")).status == 200

    play(run())


@FORMS
@pytest.mark.parametrize("is_hit", [False, True])
def test_a_client_that_leaves_meanwhile_harms_nobody(tmp_path, sqlite, stream, is_hit):
    async def run():
        async with two(tmp_path, sqlite) as (first, other):
            if is_hit:
                await other.ask(RESPONSES, stream=stream)
            with held(other.application.storage.database):
                other.client.send("POST", RESPONSES, {"model": "up/m", "input": "Hi", "stream": stream})
                await eventually(lambda: pending(other))
                ((response_id, _),) = pending(other)
                other.client.leave()
                await eventually(lambda: not other.running.server.connections)
            await eventually(lambda: not pending(other))
            assert (await first.client.get(f"{RESPONSES}/{response_id}")).status == 200

    play(run())
