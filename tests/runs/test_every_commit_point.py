"""A worker dies before and after each thing that it does with storage, and the next one makes a truthful end of it."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer
from e2e.samples import responses_frames
from e2e.scenes import read_rows
from invariants import violations
from runs.workers import PATH, Follower, Mortal, host, text_of
from waiting import PATIENCE, eventually

COMMITS = frozenset({"create", "claim", "append", "end", "restart", "settle", "publish", "release"})
FRAMES = responses_frames(("Hel", "lo", " there"))
LIVES = ("polled", "streamed", "cancelled", "taken over", "queued")


class Dying(Mortal):
    """Dies at a commit: the one with the number `at` of those that it makes, just before or just after it."""

    def __init__(self, store, at, when):
        super().__init__(store)
        self.left = at
        self.when = when
        self.commits = []
        self.died = asyncio.Event()

    async def before(self, name):
        if name in COMMITS and not self.is_dead:
            self.commits.append(name)
            if self.when == "before":
                self._count()

    async def after(self, name):
        if name in COMMITS and not self.is_dead and self.when == "after":
            self._count()

    def _count(self):
        if self.left == 0:
            self.is_dead = True
            self.died.set()
        self.left -= 1


async def live(worker, life, follower):
    """Ask for an answer, and see it through, as far as the worker lives."""
    if life == "streamed":
        await follower.follow(worker, asking={})
        return
    asked = await worker.ask()
    follower.response_id = asked["id"]
    if life == "queued":
        # The slot is taken by another, which ends.
        follower.response_id = (await worker.ask())["id"]
    if life == "cancelled":
        await worker.client.post(f"{PATH}/{asked['id']}/cancel", {})
    await worker.ended(follower.response_id)


async def prepare(at, life):
    """Set the scene; for a run that is taken over, let its first worker die."""
    at.simulator.answer(Answer(frames=FRAMES, gaps=0.002))
    if life == "taken over":
        at.gate = asyncio.Event()
        at.simulator.answer(Answer(frames=FRAMES, gate=at.gate, gate_at=5), Answer(frames=FRAMES, gaps=0.002))
        first = await at.worker()
        asked = await first.ask()
        await at.logged(first, asked["id"], 6)
        await first.die()
        return asked["id"]
    return None


async def one_death(folder, life, at_commit, when):
    """Let a worker die at one of its commits, and check what the next one makes of it; False if it did not die."""
    async with host(folder, concurrency=1 if life == "queued" else 8) as at:
        taken_over = await prepare(at, life)
        worker = await at.worker(lambda store: Dying(store, at_commit, when))
        follower = Follower(taken_over or "")
        living = asyncio.ensure_future(
            live(worker, life, follower) if taken_over is None else worker.ended(taken_over)
        )
        dying = asyncio.ensure_future(worker.store.died.wait())
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        # When it has lived, what is left is settling, in the background.
        await eventually(lambda: worker.store.is_dead or "settle" in worker.store.commits)
        has_died = worker.store.is_dead
        await worker.die()
        living.cancel()
        dying.cancel()
        await asyncio.gather(living, dying, return_exceptions=True)
        second = await at.worker()
        if follower.response_id and life == "streamed":
            await follower.follow(second)
            assert follower.is_whole
        for response_id in accepted(at):
            followers = [follower] if follower.response_id == response_id else []
            seen = await at.witnessed(second, response_id, *followers)
            found = violations(seen)
            assert found == [], (life, at_commit, when, worker.store.commits)
            status = seen.final["status"]
            if status == "completed":
                assert text_of(seen.final) == "Hello there"
            elif status == "failed":
                assert life == "streamed", (life, at_commit, when, seen.final["error"])
            else:
                assert status == life, (status, at_commit, when)
        return has_died


def accepted(at):
    """Return the ids of all answers that are in the file."""
    found = read_rows(at.folder, "SELECT id FROM runs UNION SELECT id FROM responses")
    return [row["id"] for row in found]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("life", LIVES)
def test_death_at_each_commit_has_a_truthful_end(tmp_path, life, when):
    async def run():
        at_commit = 0
        while True:
            folder = tmp_path / str(at_commit)
            folder.mkdir()
            if not await one_death(folder, life, at_commit, when):
                break
            at_commit += 1
        assert at_commit >= (2 if life == "cancelled" else 5)

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
