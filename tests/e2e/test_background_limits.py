"""Bounds on background answers, and what is urgent."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Background, Key, Responses, Secret
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, scene
from e2e.test_background import ASKED, PATH, ended
from serving import Clock
from waiting import eventually

KEYS = tuple(Key(name=name, key=Secret(f"sk-{name}")) for name in ("alice", "bob"))
ALICE, BOB = ({"Authorization": f"Bearer sk-{name}"} for name in ("alice", "bob"))
STREAM = answer_of("responses", stream=True)


def background(**changes):
    return {"responses": Responses(background=Background(**changes)), "p": "openai"}


async def status_of(at, queued, **headers):
    return (await at.client.get(f"{PATH}/{queued['id']}", **headers)).json()["status"]


def test_what_waits_is_begun_by_its_urgency(tmp_path):
    """The header says how urgent, else the service tier; of equals the first is first."""
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate=gate)
        async with scene(tmp_path, held, *[STREAM] * 5, **background(concurrency=1)) as at:
            first = (await at.client.post(PATH, ASKED)).json()
            for number, (tier, urgency) in enumerate(
                (("flex", None), (None, None), ("priority", None), (None, "5"), ("priority", "-10"))
            ):
                asked = ASKED | {"input": str(number)} | ({"service_tier": tier} if tier else {})
                headers = {"X-Antiphon-Priority": urgency} if urgency else {}
                await at.client.post(PATH, asked, **headers)
            gate.set()
            await ended(at, first["id"])
            await eventually(lambda: at.calls == 6)
            order = [json.loads(call.body)["input"][0]["content"] for call in at.simulator.calls[1:]]
            assert order == ["3", "2", "1", "0", "4"]

    play(run())


@pytest.mark.parametrize("told", ["11", "-11", "high", "", "1.5", "٣"])
def test_an_urgency_that_is_none_is_refused(tmp_path, told):
    async def run():
        async with scene(tmp_path, STREAM, **background()) as at:
            got = await at.client.post(
                PATH, ASKED, **{"X-Antiphon-Priority": told.encode().decode("latin-1")}
            )
            assert (got.status, got.json()["error"]["code"]) == (400, "invalid_value")

    play(run())


def test_a_key_has_so_many_at_a_time_and_others_go_on(tmp_path):
    """Free slots do not help who has enough."""
    gate = asyncio.Event()

    async def run():
        held = [Answer(frames=responses_frames(), gate=gate)] * 3
        async with scene(tmp_path, *held, keys=KEYS, **background(concurrency_per_key=1)) as at:
            first, second = [(await at.client.post(PATH, ASKED, **ALICE)).json() for _ in range(2)]
            other = (await at.client.post(PATH, ASKED, **BOB)).json()
            await eventually(lambda: at.calls == 2)
            assert await status_of(at, first, **ALICE) == "in_progress"
            assert await status_of(at, second, **ALICE) == "queued"
            assert await status_of(at, other, **BOB) == "in_progress"
            gate.set()

            async def both_are_complete():
                return await status_of(at, second, **ALICE) == "completed"

            await eventually(both_are_complete)

    play(run())


def test_when_too_many_wait_more_are_refused(tmp_path):
    """With the time after which to try again; the metrics say how many wait."""
    gate = asyncio.Event()

    async def run():
        held = [Answer(frames=responses_frames(), gate=gate)] * 3
        settings = background(concurrency=1, max_queued=2, max_queued_per_key=1)
        async with scene(tmp_path, *held, keys=KEYS, **settings) as at:
            assert (await at.client.post(PATH, ASKED, **ALICE)).status == 200
            assert (await at.client.post(PATH, ASKED, **ALICE)).status == 200
            for headers, whose in ((ALICE, "of this key"), (BOB, None), (BOB, "of this key")):
                got = await at.client.post(PATH, ASKED, **headers)
                if whose is None:
                    assert got.status == 200
                    continue
                error = got.json()["error"]
                assert (got.status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "requests")
                assert whose in error["message"]
                assert int(got.headers["retry-after"]) > 0
            page = (await at.client.get("/metrics")).body.decode()
            assert "antiphon_runs_queued 2.0" in page
            assert "antiphon_runs_in_progress 1.0" in page
            gate.set()

    play(run())


@pytest.mark.parametrize(
    ("after", "message"), [(601, "It waited too long to be begun"), (3601, "It took too long")]
)
def test_what_waits_or_takes_too_long_has_failed(tmp_path, after, message):
    """The one that waits, and the one that runs: whose upstream is closed."""
    clock = Clock()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate_at=3, gate=gate)
        async with scene(tmp_path, held, clock=clock, **background(concurrency=1, lease=1e6)) as at:
            running = (await at.client.post(PATH, ASKED)).json()
            waiting = (await at.client.post(PATH, ASKED)).json()
            await eventually(lambda: at.calls == 1)
            clock.now += after
            await at.gateway.application.runs.look_after()
            late = waiting if after < 3600 else running
            got = await ended(at, late["id"])
            assert (got["status"], got["error"]["code"]) == ("failed", "server_error")
            assert message in got["error"]["message"]
            if late is running:
                await eventually(lambda: at.simulator.calls[0].aborted)
            else:
                assert await status_of(at, running) == "in_progress"

    play(run())
