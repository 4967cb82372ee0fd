"""Two gateways on one file that tell each other over Redis what has moved on."""

import asyncio

import pytest
from msgspec.structs import replace

from antiphon.drivers.simulator import Answer
from antiphon.drivers.sqlite.runs import SqliteRuns
from antiphon.engine.runs import logs, working
from antiphon.settings import Redis
from e2e.plain_client import plain_client
from e2e.samples import responses_frames
from e2e.scenes import play, scene
from e2e.test_background import events_of
from serving import serving

PATH = "/v1/responses"
ASKED = {"model": "p/m", "input": "Hi", "background": True}
FRAMES = responses_frames()
TEXT = next(place for place, frame in enumerate(FRAMES) if b"output_text.delta" in frame) + 1


async def deaf(self, changed):
    """Storage says nothing of what others write."""
    await asyncio.Event().wait()


async def followed(client, response_id):
    """Follow a run until its text begins; return what was told, and the head."""
    client.send("GET", f"{PATH}/{response_id}?stream=true", b"")
    _, head = await client.head()
    told = []
    while not told or told[-1]["type"] != "response.output_text.delta":
        told += events_of(await client.chunk())
    return told, head


def test_a_tail_elsewhere_hears_at_once(tmp_path, monkeypatch, redis_server):
    """Nobody looks by himself, and storage does not hint: what comes has been heard of over Redis."""
    monkeypatch.setattr(SqliteRuns, "watch", deaf)
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 3600.0)

    async def run():
        gate = asyncio.Event()
        answer = Answer(frames=FRAMES, gate_at=TEXT, gate=gate)
        async with (
            scene(tmp_path, answer, p="openai", redis=Redis(url=redis_server.url)) as at,
            serving(at.gateway.application.settings) as second,
            plain_client(second.port) as other,
        ):
            made = (await at.client.post(PATH, ASKED)).json()
            told, head = await followed(other, made["id"])
            gate.set()
            told += events_of(await other.rest(head))
            assert told[-1]["type"] == "response.completed"
            assert [event["sequence_number"] for event in told] == list(range(len(told)))

    play(run())


def test_what_is_queued_elsewhere_is_begun_at_once(tmp_path, monkeypatch, redis_server):
    """An api accepts; a worker that never looks by itself has it from the hint."""
    monkeypatch.setattr(SqliteRuns, "watch", deaf)
    monkeypatch.setattr(working, "_CLAIM_SECONDS", 3600.0)

    async def run():
        async with scene(
            tmp_path, Answer(frames=FRAMES), p="openai", redis=Redis(url=redis_server.url)
        ) as at:
            settings = at.gateway.application.settings
            api = replace(settings, server=replace(settings.server, role="api"))
            async with serving(api) as second, plain_client(second.port) as other:
                other.send("POST", PATH, ASKED | {"stream": True})
                _, head = await other.head()
                assert events_of(await other.rest(head))[-1]["type"] == "response.completed"

    play(run())


@pytest.mark.parametrize("when", ["before", "in the middle"])
def test_without_redis_all_goes_on(tmp_path, redis_server, when):
    """It is killed before the answer is asked for, or while it is made and followed elsewhere."""

    async def run():
        gate = asyncio.Event()
        answer = Answer(frames=FRAMES, gate_at=TEXT, gate=gate)
        if when == "before":
            redis_server.kill()
        async with (
            scene(tmp_path, answer, p="openai", redis=Redis(url=redis_server.url)) as at,
            serving(at.gateway.application.settings) as second,
            plain_client(second.port) as other,
        ):
            made = (await at.client.post(PATH, ASKED)).json()
            told, head = await followed(other, made["id"])
            redis_server.kill()
            gate.set()
            told += events_of(await other.rest(head))
            assert told[-1]["type"] == "response.completed"
            assert (await other.get("/readyz")).status == 200
            got = (await at.client.get(f"{PATH}/{made['id']}")).json()
            assert got["status"] == "completed"

    play(run())
