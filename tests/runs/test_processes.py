"""`antiphon serve` killed, frozen, stopped and started again on the same file, with background answers under way."""

import asyncio
import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from cli.served import serving
from e2e.plain_client import plain_client
from e2e.samples import responses_frames
from invariants import Witnessed, violations
from runs.workers import LOGGED, PATH, SHOWN, Follower, text_of
from waiting import PATIENCE, eventually

ASKED = {"model": "up/gpt-test", "input": "Hi", "background": True}


def play(scenario):
    asyncio.run(asyncio.wait_for(scenario, PATIENCE))


class Upstream:
    """Holds each answer at its gate; what it is asked a second time it answers at once."""

    def __init__(self):
        self.gates = {}
        self.held = 0

    def __call__(self, received):
        asked = json.loads(received.body)
        where = asked["input"] if isinstance(asked["input"], str) else asked["input"][0]["content"]
        where = where if isinstance(where, str) else where[0]["text"]
        if where in self.gates or where == "free":
            return Answer(frames=responses_frames())
        gate = self.gates[where] = asyncio.Event()
        return Answer(frames=responses_frames(), gate=gate, gate_at=2 if where == "unshown" else SHOWN)


async def ask(port, where, **changes):
    async with plain_client(port) as client:
        return (await client.post(PATH, ASKED | {"input": where} | changes)).json()


async def get(port, response_id):
    async with plain_client(port) as client:
        return (await client.get(f"{PATH}/{response_id}")).json()


async def ended(port, response_id):
    async def poll():
        try:
            got = await get(port, response_id)
        except (OSError, asyncio.IncompleteReadError):
            return None  # nobody is there at the moment
        return got if got["status"] not in {"queued", "in_progress"} else None

    return await eventually(poll)


async def checked(served, response_id, *followers):
    final = await ended(served.port, response_id)
    again = Follower(response_id)
    await again.follow(served)
    readings = [reading for follower in followers for reading in follower.readings]
    seen = Witnessed(response_id, again.frames, final, [*readings, *again.readings])
    assert violations(seen) == []
    return final


async def is_idle(served):
    async with plain_client(served.port) as client:
        return b"antiphon_runs_in_progress 0.0\n" in (await client.get("/metrics")).body


def logged(folder, response_id):
    with sqlite3.connect(folder / "antiphon.db") as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM run_events WHERE id = ?", (response_id,)
        ).fetchone()
    connection.close()
    return count


def slots(count, **background):
    return {"background": {"concurrency": count, **background}}


def test_a_killed_gateway_that_is_started_again_makes_a_truthful_end_of_everything(tmp_path):
    async def run():
        async with Simulator(Upstream()) as upstream:
            async with serving(tmp_path, upstream.base_url, responses=slots(3)) as first:
                following = Follower()
                reading = asyncio.ensure_future(following.follow(first, asking=ASKED | {"input": "shown"}))
                await eventually(lambda: len(following.frames) >= LOGGED)
                unshown = await ask(first.port, "unshown")
                polled = await ask(first.port, "polled")
                await eventually(lambda: logged(tmp_path, polled["id"]) >= LOGGED)
                queued = await ask(first.port, "free")
                assert (await get(first.port, queued["id"]))["status"] == "queued"
                first.process.kill()
                await reading
            async with serving(tmp_path, upstream.base_url, responses=slots(3)) as second:
                await following.follow(second)
                assert following.is_whole
                final = await checked(second, following.response_id, following)
                assert (final["status"], text_of(final)) == ("failed", "Hello")
                assert final["error"]["code"] == "server_error"
                for asked in (unshown, polled, queued):
                    final = await checked(second, asked["id"])
                    assert (final["status"], text_of(final)) == ("completed", "Hello there")

    play(run())


def children(pid):
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in told.split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_killed_worker_among_several_is_replaced_long_before_its_lease_runs_out(tmp_path):
    async def run():
        server = {"port": 0, "workers": 2}
        async with (
            Simulator(Upstream()) as upstream,
            serving(tmp_path, upstream.base_url, server=server, responses=slots(4, lease=60)) as served,
        ):
            asked = [await ask(served.port, f"held {number}") for number in range(4)]
            await upstream.wait_for_calls(4)
            for response in asked:
                await eventually(lambda response=response: logged(tmp_path, response["id"]) >= LOGGED)
            for pid in children(served.process.pid):
                os.kill(pid, signal.SIGKILL)
            for response in asked:
                final = await checked(served, response["id"])
                assert (final["status"], text_of(final)) == ("completed", "Hello there")

    play(run())


def test_a_frozen_gateway_that_wakes_up_writes_nothing(tmp_path):
    async def run():
        async with (
            Simulator(Upstream()) as upstream,
            serving(tmp_path, upstream.base_url, responses=slots(4, lease=1)) as first,
        ):
            following = Follower()
            reading = asyncio.ensure_future(following.follow(first, asking=ASKED | {"input": "shown"}))
            await eventually(lambda: len(following.frames) >= LOGGED)
            polled = await ask(first.port, "polled")
            await eventually(lambda: logged(tmp_path, polled["id"]) >= LOGGED)
            first.process.send_signal(signal.SIGSTOP)
            second_folder = tmp_path / "second"
            second_folder.mkdir()
            storage = {"url": f"sqlite:///{tmp_path}/antiphon.db"}
            async with serving(
                second_folder, upstream.base_url, storage=storage, responses=slots(4, lease=1)
            ) as second:
                final = await ended(second.port, following.response_id)
                assert (final["status"], text_of(final)) == ("failed", "Hello")
                assert (await ended(second.port, polled["id"]))["status"] == "completed"
                first.process.send_signal(signal.SIGCONT)
                for gate in upstream._choose.gates.values():
                    gate.set()
                await reading
                assert following.is_whole
                await checked(second, following.response_id, following)
                final = await checked(first, polled["id"])
                assert text_of(final) == "Hello there"
                await eventually(lambda: is_idle(first))
                assert len(upstream.calls) == 3

    play(run())
