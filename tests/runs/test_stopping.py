"""SIGTERM: what ends in time is finished, what can be handed over is, and clients can come back."""

import asyncio

from antiphon.drivers.simulator import Answer
from e2e.samples import responses_frames
from e2e.scenes import play
from invariants import violations
from runs.workers import LOGGED, SHOWN, Follower, host, text_of
from waiting import eventually


def test_what_ends_in_time_is_finished(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(SHOWN)
            asked = await first.ask()
            await at.logged(first, asked["id"], LOGGED)
            stopping = asyncio.ensure_future(first.stop(10))
            await eventually(lambda: first.server.stopping)
            at.gate.set()
            await stopping
            second = await at.worker()
            seen = await at.check(second, asked["id"], upstream_calls=1, max_attempts=1)
            assert seen.final["status"] == "completed"

    play(run())


def test_nothing_is_begun_any_more(tmp_path):
    async def run():
        async with host(tmp_path, concurrency=1) as at:
            first = await at.worker()
            at.hold(SHOWN)
            await first.ask()
            queued = await first.ask()
            stopping = asyncio.ensure_future(first.stop(10))
            await eventually(lambda: first.server.stopping)
            at.gate.set()
            await stopping
            assert len(at.simulator.calls) == 1
            second = await at.worker()
            seen = await at.check(second, queued["id"])
            assert seen.final["status"] == "completed"

    play(run())


def test_what_nobody_has_seen_is_queued_again_and_run_elsewhere_at_once(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first, second = await at.worker(), await at.worker()
            at.hold(2)
            follower = Follower()
            reading = asyncio.ensure_future(follower.follow(first, asking={}))
            await at.simulator.wait_for_calls(1)
            await first.stop(0.1)
            await reading
            assert len(follower.frames) == 3
            assert not follower.is_whole
            await follower.follow(second)
            seen = await at.check(second, follower.response_id, follower)
            assert (seen.final["status"], text_of(seen.final)) == ("completed", "Hello there")
            assert at.simulator.calls[0].aborted

    play(run())


def test_what_was_shown_to_a_stream_fails_truthfully_and_its_client_hears_it(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(SHOWN)
            follower = Follower()
            reading = asyncio.ensure_future(follower.follow(first, asking={}))
            await eventually(lambda: len(follower.frames) >= LOGGED)
            await first.stop(0.1)
            await reading
            assert follower.is_whole
            second = await at.worker()
            seen = await at.check(second, follower.response_id, follower)
            assert (seen.final["status"], text_of(seen.final)) == ("failed", "Hello")
            assert seen.final["error"]["code"] == "server_error"
            assert "let it go" in seen.final["error"]["message"]

    play(run())


def test_who_follows_a_run_of_another_worker_is_let_go_at_once(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first, second = await at.worker(), await at.worker()
            at.hold(SHOWN)
            asked = await first.ask()
            await at.logged(first, asked["id"], LOGGED)
            follower = Follower(asked["id"])
            reading = asyncio.ensure_future(follower.follow(second))
            await eventually(lambda: len(follower.frames) >= LOGGED)
            stopping = asyncio.ensure_future(second.stop(10))
            await reading
            await stopping
            assert not follower.is_whole
            reading = asyncio.ensure_future(follower.follow(first))
            at.gate.set()
            await reading
            seen = await at.witnessed(first, asked["id"], follower)
            assert (violations(seen), seen.final["status"]) == ([], "completed")

    play(run())


def test_a_run_that_was_handed_over_again_and_again_still_counts_its_attempts(tmp_path):
    async def run():
        async with host(tmp_path, max_attempts=2) as at:
            at.simulator.answer(Answer(frames=responses_frames(), gate=at.gate, gate_at=2))
            worker = await at.worker()
            asked = await worker.ask()
            for attempt in (1, 2):
                await at.simulator.wait_for_calls(attempt)
                await worker.stop(0.01)
                worker = await at.worker()
            seen = await at.check(worker, asked["id"])
            assert seen.final["status"] == "failed"

    play(run())
