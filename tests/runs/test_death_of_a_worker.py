"""What becomes of a run whose worker dies: the table of failure semantics, row by row."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Timeout
from e2e.samples import frame, responses_frames
from e2e.scenes import play
from runs.workers import LOGGED, SHOWN, Follower, events_of, host, text_of
from waiting import eventually

OPENING = ["response.created", "response.queued", "response.in_progress"]


def test_a_queued_run_is_run_by_whoever_is_there(tmp_path):
    async def run():
        async with host(tmp_path, concurrency=1) as at:
            first = await at.worker()
            at.hold(0)
            await first.ask()
            queued = await first.ask()
            assert (await first.get(queued["id"]))["status"] == "queued"
            await first.die()
            second = await at.worker()
            seen = await at.check(second, queued["id"], statuses=["queued"])
            assert text_of(seen.final) == "Hello there"

    play(run())


@pytest.mark.parametrize("stream", [False, True])
def test_with_nothing_shown_it_is_started_again_in_silence(tmp_path, stream):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(2)
            follower = Follower()
            if stream:
                following = asyncio.ensure_future(follower.follow(first, asking={}))
                await eventually(lambda: len(follower.frames) == 3)
            else:
                follower.response_id = (await first.ask())["id"]
            await at.simulator.wait_for_calls(1)
            await first.die()
            if stream:
                await following
            second = await at.worker()
            if stream:
                await follower.follow(second)
                assert follower.is_whole
            seen = await at.check(second, follower.response_id, follower, upstream_calls=at_calls(at))
            assert text_of(seen.final) == "Hello there"
            assert [event["type"] for event in events_of(seen.stored)][:3] == OPENING
            assert at_calls(at) == 2

    play(run())


def test_when_nobody_was_promised_its_events_they_are_dropped_and_it_is_started_again(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(SHOWN, frames=responses_frames(("Bye", " bye")))
            asked = await first.ask()
            await at.logged(first, asked["id"], LOGGED)
            assert text_of(await first.get(asked["id"])) == "Bye"
            await first.die()
            second = await at.worker()
            seen = await at.check(second, asked["id"], statuses=["queued", "in_progress"])
            assert text_of(seen.final) == "Hello there"
            assert b"Bye" not in b"".join(seen.stored)

    play(run())


def test_while_it_waits_to_be_started_again_it_still_says_in_progress(tmp_path):
    async def run():
        async with host(tmp_path, concurrency=1) as at:
            first, second = await at.worker(), await at.worker()
            at.hold(SHOWN)
            at.simulator.answer(*([Answer(frames=responses_frames(), gate=at.gate, gate_at=SHOWN)] * 3))
            asked = await first.ask()
            await at.logged(first, asked["id"], LOGGED)
            await second.ask()
            await at.simulator.wait_for_calls(2)
            await first.die()
            await second.look()
            got = await second.get(asked["id"])
            assert (got["status"], got["output"]) == ("in_progress", [])
            at.gate.set()
            await at.check(second, asked["id"], statuses=["in_progress"])

    play(run())


@pytest.mark.parametrize("is_followed_later", [False, True])
def test_what_a_stream_has_shown_is_kept_and_it_fails(tmp_path, is_followed_later):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(SHOWN)
            follower = Follower()
            if is_followed_later:
                follower.response_id = (await first.ask())["id"]
            following = asyncio.ensure_future(
                follower.follow(first, asking=None if is_followed_later else {})
            )
            await eventually(lambda: b'"Hello"' in b"".join(follower.frames))
            await first.die()
            await following
            assert not follower.is_whole
            second = await at.worker()
            await follower.follow(second)
            assert follower.is_whole
            seen = await at.check(second, follower.response_id, follower)
            assert seen.final["status"] == "failed"
            assert seen.final["error"]["code"] == "server_error"
            assert "was lost" in seen.final["error"]["message"]
            assert text_of(seen.final) == "Hello"
            assert at_calls(at) == 1

    play(run())


def test_who_begins_to_follow_just_before_it_is_started_again_wins(tmp_path):
    """Between the look at a run and its restart somebody may be promised what it has told."""

    async def run():
        async with host(tmp_path) as at:
            first, second = await at.worker(), await at.worker()
            at.hold(SHOWN)
            asked = await first.ask()
            await at.logged(first, asked["id"], LOGGED)
            await first.die()
            store = second.store.store
            (stale,) = await store.stale(10)
            await store.publish(stale.id)
            assert not await store.restart(stale.id, stale.state, 3)
            await second.look()
            seen = await at.check(second, asked["id"])
            assert (seen.final["status"], text_of(seen.final)) == ("failed", "Hello")

    play(run())


def test_after_a_side_effect_it_is_never_started_again(tmp_path):
    item = {"type": "mcp_call", "id": "mcp_1", "name": "pay", "arguments": "", "server_label": "bank"}
    added = frame({"type": "response.output_item.added", "output_index": 0, "item": item})

    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()
            at.hold(3, frames=[*responses_frames()[:2], added, added])
            asked = await first.ask()
            await at.logged(first, asked["id"], 4)
            await first.die()
            second = await at.worker()
            seen = await at.check(second, asked["id"])
            assert (seen.final["status"], seen.final["error"]["code"]) == ("failed", "server_error")
            assert at_calls(at) == 1

    play(run())


def test_after_the_terminal_event_there_is_nothing_to_do(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first = await at.worker()

            async def die_before_it_is_settled(name):
                if name == "settle":
                    first.abandon()

            first.store.before = die_before_it_is_settled
            asked = await first.ask()
            await eventually(lambda: first.store.is_dead)
            await first.die()
            second = await at.worker()
            seen = await at.check(second, asked["id"])
            assert (seen.final["status"], at_calls(at)) == ("completed", 1)

    play(run())


def test_it_is_begun_so_many_times_and_no_more(tmp_path):
    async def run():
        async with host(tmp_path, max_attempts=2) as at:
            at.hold(2)
            at.simulator.answer(Answer(frames=responses_frames(), gate=at.gate, gate_at=2))
            worker = await at.worker()
            asked = await worker.ask()
            for attempt in (1, 2):
                await at.simulator.wait_for_calls(attempt)
                await worker.die()
                worker = await at.worker()
            seen = await at.check(worker, asked["id"], upstream_calls=at_calls(at), max_attempts=2)
            assert seen.final["status"] == "failed"
            assert "begun 2 times" in seen.final["error"]["message"]

    play(run())


def test_a_worker_that_only_fell_silent_is_replaced_when_its_lease_runs_out(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first, second = await at.worker(), await at.worker()
            at.hold(2)
            asked = await first.ask()
            await at.simulator.wait_for_calls(1)
            await first.die(is_seen=False)
            at.clock.now += 14.9
            assert await second.store.store.stale(10) == []
            at.clock.now += 0.2
            await second.look()
            seen = await at.check(second, asked["id"])
            assert text_of(seen.final) == "Hello there"

    play(run())


@pytest.mark.parametrize(
    ("setting", "concurrency", "told"), [("queue_timeout", 1, "waited too long"), ("timeout", 2, "too long")]
)
def test_what_is_too_late_fails_and_says_so(tmp_path, setting, concurrency, told):
    async def run():
        async with host(tmp_path, concurrency=concurrency, **{setting: Timeout(100)}) as at:
            worker = await at.worker()
            at.simulator.answer(Answer(frames=responses_frames(), gate=at.gate, gate_at=SHOWN))
            await worker.ask()
            asked = await worker.ask()
            if setting == "timeout":
                await at.logged(worker, asked["id"], LOGGED)
            at.clock.now += 101
            await worker.look()
            seen = await at.check(worker, asked["id"])
            assert seen.final["status"] == "failed"
            assert told in seen.final["error"]["message"]
            if setting == "timeout":
                await eventually(lambda: all(call.aborted for call in at.simulator.calls))

    play(run())


def test_several_workers_see_at_once_that_one_has_died(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            first, second, third = [await at.worker() for _ in range(3)]
            at.hold(2)
            asked = await first.ask()
            await at.simulator.wait_for_calls(1)
            assert await third.store.store.stale(10) == []
            await first.die()
            assert [stale.id for stale in await third.store.store.stale(10)] == [asked["id"]]
            await second.look()
            await at.check(third, asked["id"])

    play(run())


def test_e8_answers_left_in_progress_by_a_dead_process_do_not_stay_so(tmp_path):
    """They are taken over, or fail."""

    async def run():
        async with host(tmp_path) as at:
            at.simulator.answer(Answer(frames=responses_frames(), gate=at.gate, gate_at=SHOWN))
            first = await at.worker()
            shown = Follower()
            reading = asyncio.ensure_future(shown.follow(first, asking={}))
            asked = await first.ask()
            await eventually(lambda: len(shown.frames) >= LOGGED)
            await at.logged(first, asked["id"], LOGGED)
            await first.die()
            await reading
            at.gate.set()
            second = await at.worker()
            assert (await at.check(second, shown.response_id, shown)).final["status"] == "failed"
            assert (await at.check(second, asked["id"])).final["status"] == "completed"

    play(run())


def at_calls(at):
    return sum(json.loads(call.body).get("stream", False) for call in at.simulator.calls)
