"""Runs whose upstream carries their answers itself: a second gateway is that upstream, and goes on whoever dies."""

import asyncio
import contextlib
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Background, Provider, Responses
from e2e.samples import message_item, response, responses_frames
from e2e.scenes import play
from runs.workers import LOGGED, SHOWN, Follower, events_of, host, text_of
from serving import settings_for
from waiting import eventually


def at_far(asked_at):
    return f"http://127.0.0.1:{asked_at.port}/v1"


async def begun(near, far, worker, *, stream=True):
    """Ask for an answer of which the upstream's upstream holds back the second half."""
    far.hold(SHOWN)
    follower = Follower()
    if stream:
        reading = asyncio.ensure_future(follower.follow(worker, asking={"model": "p/p/m"}))
    else:
        follower.response_id = (await worker.ask(model="p/p/m"))["id"]
        reading = asyncio.ensure_future(asyncio.sleep(0))
    await eventually(lambda: follower.response_id)
    await near.logged(worker, follower.response_id, LOGGED)
    return follower, reading


@contextlib.asynccontextmanager
async def two_gateways(folder):
    for name in ("near", "far"):
        (folder / name).mkdir()
    async with host(folder / "far") as far:
        upstream = await far.worker()
        async with host(folder / "near") as near:
            provider = Provider(type="openai", base_url=at_far(upstream), background=True, models=())
            near.settings = settings_for(
                folder / "near", "", providers={"p": provider}, responses=Responses(background=Background())
            )
            yield near, far, upstream


@pytest.mark.parametrize("stream", [True, False])
def test_a_new_worker_goes_on_where_the_dead_one_was(tmp_path, stream):
    async def run():
        async with two_gateways(tmp_path) as (near, far, _):
            first = await near.worker()
            follower, reading = await begun(near, far, first, stream=stream)
            await first.die()
            await reading
            second = await near.worker()
            await eventually(lambda: second.application.runs.running)
            far.gate.set()
            if stream:
                await follower.follow(second)
            seen = await near.check(second, follower.response_id, follower)
            assert (seen.final["status"], text_of(seen.final)) == ("completed", "Hello there")
            deltas = [event["delta"] for event in events_of(seen.stored) if "delta" in event]
            assert deltas == ["Hello", " there"]
            assert len(far.simulator.calls) == 1
            assert seen.final["id"] == follower.response_id

    play(run())


def test_a_gateway_that_is_stopped_hands_over_without_a_gap(tmp_path):
    async def run():
        async with two_gateways(tmp_path) as (near, far, _):
            first, second = await near.worker(), await near.worker()
            follower, reading = await begun(near, far, first)
            await first.stop(0.05)
            await reading
            assert not follower.is_whole
            far.gate.set()
            await follower.follow(second)
            seen = await near.check(second, follower.response_id, follower)
            assert (seen.final["status"], text_of(seen.final)) == ("completed", "Hello there")
            assert len(far.simulator.calls) == 1

    play(run())


def test_cancelling_reaches_the_upstream(tmp_path):
    async def run():
        async with two_gateways(tmp_path) as (near, far, _):
            worker = await near.worker()
            follower, reading = await begun(near, far, worker, stream=False)
            await reading
            got = (await worker.client.post(f"/v1/responses/{follower.response_id}/cancel", {})).json()
            assert got["status"] == "cancelled"
            await eventually(lambda: far.simulator.calls[0].aborted)
            await near.check(worker, follower.response_id)

    play(run())


class Scripted:
    """An upstream that begins an answer, breaks off, refuses to be listened to again, and has ended when asked."""

    def __init__(self, *, resumes):
        self.resumes = resumes
        self.asked = []
        self.cancels_refused = 0

    def __call__(self, received):
        self.asked.append(received.path)
        frames = responses_frames()
        if received.path == "/v1/responses":
            body = json.loads(received.body)
            assert (body["background"], body["store"], body["stream"]) == (True, True, True)
            return Answer(frames=frames[: SHOWN + 1])
        if received.path.endswith("/cancel"):
            self.cancels_refused -= 1
            return Answer(status=503 if self.cancels_refused >= 0 else 200, body=b"{}")
        if "stream=true" in received.path:
            after = int(received.path.rpartition("=")[2])
            if self.resumes:
                return Answer(frames=frames[after + 1 :])
            error = {"error": {"message": "Too late.", "code": "x"}}
            return Answer(status=400, body=json.dumps(error).encode())
        return Answer(body=json.dumps(response([message_item("Hello there")])).encode())


@pytest.mark.parametrize("resumes", [True, False])
def test_an_upstream_that_breaks_off_is_listened_to_again_or_polled(tmp_path, resumes):
    async def run():
        upstream = Scripted(resumes=resumes)
        async with host(tmp_path, provider={"background": True}) as at:
            at.simulator._choose = upstream
            worker = await at.worker()
            follower = Follower()
            await follower.follow(worker, asking={})
            seen = await at.check(worker, follower.response_id, follower)
            assert (seen.final["status"], text_of(seen.final)) == ("completed", "Hello there")
            assert sum(path == "/v1/responses" for path in upstream.asked) == 1
            assert f"/v1/responses/resp_up1?stream=true&starting_after={SHOWN}" in upstream.asked
            assert ("/v1/responses/resp_up1" in upstream.asked) is not resumes

    play(run())


def test_a_cancel_that_the_upstream_does_not_hear_is_said_again(tmp_path):
    async def run():
        upstream = Scripted(resumes=True)
        upstream.cancels_refused = 2
        async with host(tmp_path, provider={"background": True}) as at:
            gate = asyncio.Event()
            frames = responses_frames()

            def answer(received):
                told = upstream(received)
                if received.path == "/v1/responses":
                    return Answer(frames=frames, gate=gate, gate_at=SHOWN)
                return told

            at.simulator._choose = answer
            worker = await at.worker()
            asked = await worker.ask()
            await at.logged(worker, asked["id"], LOGGED)
            await worker.client.post(f"/v1/responses/{asked['id']}/cancel", {})
            cancels = lambda: sum(path.endswith("/cancel") for path in upstream.asked)  # noqa: E731
            await eventually(lambda: cancels() == 1)
            for _ in range(2):
                at.clock.now += 20
                await worker.look()
            assert cancels() == 3
            await worker.look()
            assert cancels() == 3
            await at.check(worker, asked["id"])

    play(run())


def test_an_upstream_that_has_lost_the_answer_makes_it_fail_with_what_was_told(tmp_path):
    async def run():
        def answer(received):
            if received.path == "/v1/responses":
                return Answer(frames=responses_frames()[:SHOWN])
            return Answer(status=404, body=b'{"error":{"message":"Not found"}}')

        async with host(tmp_path, provider={"background": True}) as at:
            at.simulator._choose = answer
            worker = await at.worker()
            asked = await worker.ask()
            seen = await at.check(worker, asked["id"])
            assert (seen.final["status"], text_of(seen.final)) == ("failed", "Hello")
            assert "no longer has" in seen.final["error"]["message"]

    play(run())


def test_others_are_asked_as_ever(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            worker = await at.worker()
            asked = await worker.ask()
            await at.check(worker, asked["id"])
            assert "background" not in json.loads(at.simulator.calls[0].body)

    play(run())
