"""How turns see the second level of the cache: nobody waits for it for long, and what was purged stays purged."""

import asyncio
import contextlib
import time

import pytest

from antiphon.engine import second_level
from antiphon.engine.second_level import SecondLevel
from antiphon.engine.tasks import Tasks
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import entry_of
from waiting import PATIENCE, eventually

A, B = entry_of("a"), entry_of("b")
LONG = 10.0


class Level:
    """Entries that come when the test wants them to come."""

    unreadable = 0
    dropped = 0

    def __init__(self):
        self.entries = {entry.digest: entry for entry in (A, B)}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_gone = False
        self.put_entries = []

    def may_hold(self, digest):
        return True

    async def get(self, digest):
        self.asked += 1
        found = self.entries.get(digest)
        await self.answers.wait()
        if self.is_gone:
            raise StoreFault("gone")
        return found

    async def get_many(self, digests):
        found = [await self.get(digest) for digest in digests]
        return {entry.digest: entry for entry in found if entry is not None}

    def put(self, entry):
        self.put_entries.append(entry)

    def remove_recording(self, recording_id):
        self.entries = {k: entry for k, entry in self.entries.items() if entry.recording.id != recording_id}

    async def select(self, selector, limit):
        return [entry for entry in self.entries.values() if selector.matches(entry)][:limit]

    async def remove(self, selector):
        meant = await self.select(selector, 100)
        for entry in meant:
            del self.entries[entry.digest]
        return len(meant)


def play(test, timeout=LONG):
    """Run a test with a level, and what turns see of it."""

    async def run():
        tasks, level = Tasks(), Level()
        try:
            async with asyncio.timeout(PATIENCE):
                await test(level, SecondLevel(level, timeout=timeout, tasks=tasks))
        finally:
            await tasks.stop()

    asyncio.run(run())


def counted(seen):
    return {outcome: count for outcome, count in seen.outcomes.items() if count}


def test_what_comes_in_time_is_passed_on():
    async def test(level, seen):
        assert await seen.get(A.digest) is A
        assert await seen.get(b"another") is None
        assert await seen.get_many([A.digest, b"another", B.digest]) == {A.digest: A, B.digest: B}
        assert counted(seen) == {"hit": 3, "miss": 2}
        assert seen.is_available
        assert await seen.check()

    play(test)


def test_what_does_not_come_in_time_is_a_miss():
    """Whoever asks is told within the time for it, and what comes later is nobody's."""

    async def test(level, seen):
        level.answers.clear()
        began = time.monotonic()
        assert await seen.get(A.digest) is None
        assert 0.05 <= time.monotonic() - began < 2
        assert await seen.get_many([A.digest, B.digest]) == {}
        assert counted(seen) == {"timeout": 3}
        level.answers.set()
        assert await seen.get(A.digest) is A

    play(test, timeout=0.05)


def test_more_at_once_may_take_longer():
    async def test(level, seen):
        level.answers.clear()
        asyncio.get_running_loop().call_later(0.3, level.answers.set)
        assert len(await seen.get_many([A.digest, B.digest, *(b"%d" % n for n in range(2000))])) == 2

    play(test, timeout=0.1)


def test_a_process_that_was_late_itself_does_not_take_it_for_the_levels_fault():
    """The answer was there before the time was up, only nobody had looked."""

    async def test(level, seen):
        level.answers.clear()
        asking = asyncio.ensure_future(seen.get(A.digest))
        await eventually(lambda: level.asked)
        level.answers.set()
        time.sleep(0.1)  # noqa: ASYNC251 - the loop stands still
        assert await asking is A

    play(test, timeout=0.05)


@pytest.mark.parametrize("trouble", ["gone", "silent"])
def test_a_level_that_fails_again_and_again_is_not_asked_until_it_is_back(trouble):
    """It is probed beside the requests, and used as soon as it answers in time."""

    async def test(level, seen):
        if trouble == "gone":
            level.is_gone = True
        else:
            level.answers.clear()
        for _ in range(2):
            assert await seen.get(A.digest) is None
            assert seen.may_hold(A.digest)
        assert not await seen.check()  # whoever asks how it is counts too
        assert not seen.may_hold(A.digest)
        assert not seen.is_available
        assert not await seen.check()
        seen.put(A)
        assert level.put_entries == [A]
        await eventually(lambda: level.asked == 4)  # the probe
        level.is_gone = False
        level.answers.set()
        await eventually(lambda: seen.is_available)
        assert await seen.get(A.digest) is A

    play(test, timeout=0.05)


def test_what_answers_now_and_then_goes_on_to_be_asked():
    async def test(level, seen):
        for _ in range(5):
            level.is_gone = True
            for _ in range(2):
                assert await seen.get(A.digest) is None
            level.is_gone = False
            assert await seen.get(A.digest) is A
        assert seen.is_available
        assert counted(seen) == {"hit": 5, "fault": 10}

    play(test)


def test_a_level_that_hangs_is_probed_by_one_at_a_time(monkeypatch):
    """However long it takes: what waits for it does not pile up."""
    monkeypatch.setattr(second_level, "_FIRST_PROBE_SECONDS", 0.001)
    monkeypatch.setattr(second_level, "_LONGEST_PROBE_SECONDS", 0.001)

    async def test(level, seen):
        level.answers.clear()
        for _ in range(3):
            await seen.get(A.digest)
        await eventually(lambda: level.asked == 4)
        await asyncio.sleep(0.05)  # many times as long as a probe waits for the next
        assert level.asked == 4

    play(test, timeout=0.02)


class Purged:
    """What was purged, as `Changing` knows it."""

    def __init__(self):
        self.mark = 0
        self.since = {}

    def purge(self, entry):
        self.mark += 1
        self.since[entry.digest] = self.mark

    def serves(self, entry, mark):
        return self.since.get(entry.digest, 0) <= mark


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_what_was_purged_meanwhile_is_not_brought_back(many):
    """A look-up that was under way, and had found it, finds nothing."""

    async def test(level, seen):
        seen._changing = purged = Purged()
        level.answers.clear()
        asking = asyncio.ensure_future(seen.get_many([A.digest, B.digest]) if many else seen.get(A.digest))
        await eventually(lambda: level.asked)
        purged.purge(A)
        level.answers.set()
        assert await asking == ({B.digest: B} if many else None)
        assert counted(seen)["miss"] == 1
        assert await seen.get(A.digest) is A  # made anew

    play(test)


def test_a_defect_of_a_driver_is_a_miss(caplog):
    async def test(level, seen):
        async def get(digest):
            raise KeyError("a defect")

        level.get = get
        assert await seen.get(A.digest) is None
        assert counted(seen) == {"fault": 1}
        assert "a defect" in caplog.text

    play(test)


def test_whoever_leaves_while_it_is_looked_up_disturbs_nobody():
    async def test(level, seen):
        level.answers.clear()
        asking = asyncio.ensure_future(seen.get(A.digest))
        await eventually(lambda: level.asked)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        level.answers.set()
        assert await seen.get(A.digest) is A

    play(test)
