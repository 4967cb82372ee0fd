"""The disk takes nothing, or the file is locked: nothing is promised that cannot be kept, nothing is lost, nothing lies."""

import asyncio
import contextlib
import json
import resource
import sqlite3

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Timeout
from antiphon.wire.errors import StoreFault
from cli.test_serve import serving
from e2e.plain_client import plain_client
from e2e.samples import responses_body, responses_frames
from runs.test_processes import ASKED, ask, checked, get, logged, play
from runs.workers import LOGGED, PATH, SHOWN, Follower, Mortal, host, text_of
from waiting import PATIENCE, eventually

PLAIN = {"model": "up/gpt-test", "input": "plain"}


class Upstream:
    """Holds what is asked in the background until its gate opens; answers all else at once."""

    def __init__(self):
        self.gate = asyncio.Event()

    def __call__(self, received):
        if not json.loads(received.body).get("stream"):
            return Answer(body=responses_body())
        return Answer(frames=responses_frames(), gate=self.gate, gate_at=SHOWN)


@contextlib.contextmanager
def no_room(served):
    """Let every write to a file fail, of that process."""
    pid = served.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def given_up(served):
    """How many runs storage has not taken."""
    return sum(int(said.split()[0]) for said in served.events("") if "runs are given up" in said)


async def post(port, body):
    async with plain_client(port) as client:
        return await client.post(PATH, body)


async def readiness(port):
    async with plain_client(port) as client:
        return (await client.get("/readyz")).status


def test_while_the_disk_takes_nothing_only_what_needs_none_is_answered(tmp_path):
    async def run():
        upstream = Upstream()
        async with Simulator(upstream) as simulator, serving(tmp_path, simulator.base_url) as served:
            shown = Follower()
            reading = asyncio.ensure_future(shown.follow(served, asking=ASKED | {"input": "shown"}))
            await eventually(lambda: len(shown.frames) >= LOGGED)
            polled = await ask(served.port, "polled")
            await eventually(lambda: logged(tmp_path, polled["id"]) >= LOGGED)
            kept = (await post(served.port, PLAIN)).json()
            seen = len(shown.frames)
            with no_room(served):
                refused = await post(served.port, ASKED)
                assert (refused.status, refused.json()["error"]["code"]) == (503, "storage_unavailable")
                assert int(refused.headers["retry-after"]) > 0
                refused = await post(served.port, PLAIN)
                assert (refused.status, "retry-after" in refused.headers) == (503, True)
                assert (await post(served.port, PLAIN | {"store": False})).status == 200
                assert await readiness(served.port) == 503
                upstream.gate.set()
                await eventually(lambda: given_up(served) == 2)
                assert len(shown.frames) == seen
                assert (await get(served.port, kept["id"]))["status"] == "completed"
                assert text_of(await get(served.port, polled["id"])) == "Hello"

            async def is_ready():
                return await readiness(served.port) == 200

            await eventually(is_ready)
            final = await checked(served, polled["id"])
            assert (final["status"], text_of(final)) == ("completed", "Hello there")
            async with asyncio.timeout(PATIENCE):
                await reading
            final = await checked(served, shown.response_id, shown)
            assert (final["status"], text_of(final)) == ("failed", "Hello")
            assert (await post(served.port, PLAIN)).status == 200
            assert text_of(await get(served.port, kept["id"])) == "Hello there"

    play(run())


def test_what_was_promised_to_be_kept_is_written_when_there_is_room_again(tmp_path):
    """The answer was under way when the disk filled up: until it is written it is kept in memory."""

    async def run():
        upstream = Upstream()
        async with (
            Simulator(upstream) as simulator,
            serving(tmp_path, simulator.base_url) as served,
            plain_client(served.port) as client,
        ):
            client.send("POST", PATH, PLAIN | {"stream": True})
            await simulator.wait_for_calls(1)
            with no_room(served):
                upstream.gate.set()
                got = await client.answer()
                (response_id,) = {
                    json.loads(line[6:])["response"]["id"]
                    for line in got.body.decode().splitlines()
                    if line.startswith("data: {") and '"response":' in line
                }
                assert (await get(served.port, response_id))["status"] == "completed"

            def is_written():
                with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db")) as connection:
                    return connection.execute("SELECT count(*) FROM responses").fetchone()[0] == 1

            await eventually(is_written)
            served.process.kill()
        async with serving(tmp_path, "http://127.0.0.1:1") as served:
            assert (await get(served.port, response_id))["status"] == "completed"

    play(run())


def test_while_another_process_holds_the_file_nothing_is_accepted(tmp_path):
    async def run():
        async with host(tmp_path) as at:
            worker = await at.worker()
            worker.application.storage.database._busy_seconds = 0.1
            path = tmp_path / "antiphon.db"
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                refused = await worker.ask()
                assert refused["error"]["code"] == "storage_unavailable"
                other.execute("ROLLBACK")
            asked = await worker.ask()
            await at.check(worker, asked["id"])

    play(run())


class Unrenewed(Mortal):
    """Takes everything but renewals: they fail, or are never answered."""

    hangs = False
    is_broken = True

    async def before(self, name):
        if name == "renew" and self.is_broken:
            if self.hangs:
                await asyncio.Event().wait()
            raise StoreFault("It does not work.")


class Hanging(Unrenewed):
    hangs = True


async def give_up_unrenewed(folder, mortal):
    async with host(folder, lease=Timeout(3)) as at:
        worker = await at.worker(mortal)
        at.hold(SHOWN)
        loop = asyncio.get_running_loop()
        asked = await worker.ask()
        await at.logged(worker, asked["id"], LOGGED)
        began = loop.time()
        await eventually(lambda: at.simulator.calls[0].aborted)
        assert loop.time() - began < 3
        assert worker.application.runs.running == 0
        worker.store.is_broken = False
        # Its clock stands still: the lease does not run out, but is let go.
        seen = await at.check(worker, asked["id"])
        assert text_of(seen.final) == "Hello there"


def test_a_worker_whose_renewals_fail_stops_before_its_leases_run_out(tmp_path):
    play(give_up_unrenewed(tmp_path, Unrenewed))


def test_a_worker_whose_renewals_are_not_answered_stops_before_its_leases_run_out(tmp_path):
    play(give_up_unrenewed(tmp_path, Hanging))
