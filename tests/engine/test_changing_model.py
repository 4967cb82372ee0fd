"""Several workers that put, get, purge and pin, against what must be true of all of them together.

Time is the test's own, so that a worker may be frozen at any place: between a read and its use, between an answer and
its write, for as long as it likes.
"""

import asyncio
import dataclasses
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from antiphon.cache.changes import UNKNOWN, Change, Kind
from antiphon.cache.selecting import Selector
from antiphon.drivers import memory
from antiphon.drivers.memory import MemoryCache
from antiphon.engine import changing
from antiphon.engine.changing import Changing
from antiphon.engine.tasks import Tasks
from antiphon.ports.changing import Look
from drivers.sqlite.opening import entry_of, recording_of

TRUST = 2.0
KEYS = "ab"
WORKERS = range(3)
SELECTORS = {
    "all": Selector(),
    "spare": Selector(spares_pinned=True),
    "a": Selector(digest=entry_of("a").digest),
    "tagged": Selector(tag="tag"),
    "recording": Selector(recording_id="r-1"),
}


class Log:
    """A log of changes in which everything takes a while."""

    pause = 1.0

    def __init__(self):
        self.written = []
        self.readers = {}

    async def enter(self, reader, trust):
        await asyncio.sleep(0)
        self.readers[reader] = [0, trust]

    async def look(self, reader, after):
        await asyncio.sleep(0)
        latest = len(self.written)
        look = Look(self.written[after:], latest, reader in self.readers)
        await asyncio.sleep(0)
        return look

    async def acknowledge(self, reader, position):
        await asyncio.sleep(0)
        if reader not in self.readers:
            return False
        self.readers[reader][0] = max(position, self.readers[reader][0])
        return True

    async def append(self, change):
        await asyncio.sleep(0)
        self.written.append(dataclasses.replace(change, number=len(self.written) + 1))
        number = len(self.written)
        await asyncio.sleep(0)
        return number

    async def behind(self, number):
        await asyncio.sleep(0)
        return [trust for position, trust in self.readers.values() if position < number]

    async def strike(self, number):
        await asyncio.sleep(0)
        self.readers = {name: told for name, told in self.readers.items() if told[0] >= number}


class Level:
    """A second level that all share."""

    def __init__(self):
        self.entries = {}

    async def remove(self, selector):
        await asyncio.sleep(0)
        meant = [digest for digest, entry in self.entries.items() if selector.matches(entry)]
        for digest in meant:
            del self.entries[digest]
        return len(meant)

    async def expire(self, selector, at):
        await asyncio.sleep(0)
        return 0

    async def pin(self, digest, *, is_pinned):
        await asyncio.sleep(0)
        if digest in self.entries:
            self.entries[digest] = dataclasses.replace(self.entries[digest], is_pinned=is_pinned)


@dataclass
class Call:
    """An answer under way, or one that was given: `began` counts purges that were ordered until then."""

    key: str
    number: int
    began: int
    as_of: int
    tags: tuple


@dataclass
class Purge:
    """One that was ordered as the `ordered`-th; `is_done` when that was said."""

    selector: Selector
    ordered: int
    task: object
    is_done: bool = False


@dataclass
class Worker:
    """One process."""

    memory: MemoryCache
    changing: Changing
    calls: list = field(default_factory=list)
    unwritten: list = field(default_factory=list)
    reads: list = field(default_factory=list)


class Workers(RuleBasedStateMachine):
    """What any of them may do next."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(memory, "elapsed", lambda: self.now)
        self.patch.setattr(changing, "elapsed", lambda: self.now)
        self.loop = asyncio.new_event_loop()
        self.loop.time = lambda: self.now
        self.log, self.level = Log(), Level()
        self.answers = {}
        self.purges = []
        self.workers = []
        for _ in WORKERS:
            held = MemoryCache(1 << 20)
            part = Changing(self.log, held, self.level, Tasks(), trust=TRUST, wall_clock=lambda: self.now)
            self.workers.append(Worker(held, part))
            self.do(part.enter())

    def teardown(self):
        for purge in self.purges:
            purge.task.cancel()
        self.do(asyncio.sleep(0))
        self.loop.close()
        self.patch.undo()

    def do(self, work):
        """Run something to its end; the clock stands still."""
        return self.loop.run_until_complete(work)

    async def turn(self, times):
        for _ in range(times):
            await asyncio.sleep(0)

    @rule(at=st.sampled_from(WORKERS), key=st.sampled_from(KEYS), is_tagged=st.booleans())
    def ask(self, at, key, is_tagged):
        """A worker asks its upstream."""
        worker = self.workers[at]
        number = len(self.answers) + 1
        call = Call(key, number, len(self.purges), worker.changing.mark, ("tag",) if is_tagged else ())
        self.answers[number] = call
        worker.calls.append(call)

    @precondition(lambda self: any(worker.calls for worker in self.workers))
    @rule(data=st.data())
    def answer(self, data):
        """An answer ends, and is stored if it may be; the second level gets it later."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.calls]))
        call = worker.calls.pop(data.draw(st.integers(0, len(worker.calls) - 1)))
        entry = entry_of(
            call.key,
            recording_of(f"r-{call.number}"),
            public_id=str(call.number),
            tags=call.tags,
            as_of=call.as_of,
            stored_at=self.now,
        )
        if worker.changing.admits(entry, call.as_of):
            worker.memory.put(entry)
            worker.unwritten.append(dataclasses.replace(entry))

    @precondition(lambda self: any(worker.unwritten for worker in self.workers))
    @rule(data=st.data())
    def write(self, data):
        """What waited comes into the second level."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.unwritten]))
        entry = worker.unwritten.pop(0)
        before = self.level.entries.get(entry.digest)
        self.level.entries[entry.digest] = dataclasses.replace(
            entry, is_pinned=before is not None and before.is_pinned
        )

    @rule(at=st.sampled_from(WORKERS), key=st.sampled_from(KEYS))
    def read(self, at, key):
        """A worker reads from the second level; what it has read it uses later."""
        worker = self.workers[at]
        row = self.level.entries.get(entry_of(key).digest)
        if row is not None:
            worker.reads.append((dataclasses.replace(row, renditions={}), worker.changing.mark))

    @precondition(lambda self: any(worker.reads for worker in self.workers))
    @rule(data=st.data())
    def use(self, data):
        """What was read is served, and put into memory, if it may be."""
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.reads]))
        entry, mark = worker.reads.pop(0)
        if worker.changing.serves(entry, mark):
            self.is_served(entry)
            worker.memory.put(entry)

    @rule(at=st.sampled_from(WORKERS), name=st.sampled_from(sorted(SELECTORS)))
    def purge(self, at, name):
        """Somebody orders a purge; it takes as long as it takes."""
        selector = SELECTORS[name]
        work = self.workers[at].changing.change(Kind.PURGE, selector)
        purge = Purge(selector, len(self.purges) + 1, self.loop.create_task(work))
        self.purges.append(purge)
        self.do(self.turn(3))

    @rule(
        at=st.sampled_from(WORKERS), key=st.sampled_from(KEYS), kind=st.sampled_from([Kind.PIN, Kind.UNPIN])
    )
    def pin(self, at, key, kind):
        """Somebody pins."""
        work = self.workers[at].changing.change(kind, Selector(digest=entry_of(key).digest))
        self.purges.append(Purge(None, len(self.purges) + 1, self.loop.create_task(work)))
        self.do(self.turn(3))

    @rule(at=st.sampled_from(WORKERS))
    def look(self, at):
        """A worker looks at the log."""
        self.do(self.workers[at].changing._look())

    @rule(seconds=st.sampled_from([0.05, 0.2, 1.0, 2.5]))
    def wait(self, seconds):
        """Time passes, and what waits for it goes on."""
        self.now += seconds
        self.do(self.turn(10))

    @rule(awake=st.sets(st.sampled_from(WORKERS), min_size=1))
    def go_on(self, awake):
        """Some go on as usual for a while, the others are frozen."""
        for _ in range(5):
            for at in awake:
                self.do(self.workers[at].changing._look())
            self.wait(0.5)

    @invariant()
    def what_is_found_may_be(self):
        """Whatever any of them finds now, in its memory or in the second level."""
        for purge in self.purges:
            if purge.task.done() and not purge.is_done:
                purge.task.result()
                purge.is_done = True
        for worker in self.workers:
            for key in KEYS:
                meant = entry_of(key)
                held = worker.memory.get(meant.digest, meant.identity)
                if held is not None:
                    self.is_served(held)
                row = self.level.entries.get(meant.digest)
                if row is not None:
                    row = dataclasses.replace(row, renditions={})
                    if worker.changing.serves(row, worker.changing.mark):
                        self.is_served(row)

    def is_served(self, entry):
        """No purge that is done may mean what was asked for before it was ordered."""
        call = self.answers[int(entry.public_id)]
        for purge in self.purges:
            if purge.is_done and purge.selector is not None and purge.ordered > call.began:
                # Whether it was pinned just then is anybody's guess.
                selector = purge.selector
                assert selector.spares_pinned or not selector.matches(entry), (call, purge)


def test_what_a_purge_means_is_served_by_nobody_once_it_is_done():
    run_state_machine_as_test(
        Workers, settings=settings(max_examples=150, stateful_step_count=30, deadline=None)
    )


def test_an_entry_that_nobody_purged_is_found():
    """The other half: a cache that never finds anything would be right too."""
    machine = Workers()
    try:
        machine.ask(0, "a", is_tagged=False)
        worker = machine.workers[0]
        call = worker.calls.pop()
        entry = entry_of("a", public_id=str(call.number), as_of=call.as_of)
        machine.purges = []
        purge = machine.loop.create_task(
            machine.workers[1].changing.change(Kind.PURGE, Selector(tag="another"))
        )
        machine.do(machine.turn(3))
        for other in machine.workers:
            machine.do(other.changing._look())
        machine.now += 0.05
        machine.do(machine.turn(10))
        assert purge.done()
        assert worker.changing.admits(entry, call.as_of)
        worker.memory.put(entry)
        assert worker.memory.get(entry.digest, entry.identity) is entry
        read = dataclasses.replace(entry, renditions={})
        assert machine.workers[2].changing.serves(read, machine.workers[2].changing.mark)
        assert machine.workers[2].changing.serves(dataclasses.replace(read, as_of=UNKNOWN), UNKNOWN)
    finally:
        machine.teardown()


def test_changes_are_written_and_read_as_they_are():
    for kind in Kind:
        change = Change(kind, SELECTORS["spare"], 5.0, 7)
        assert Change.read(change.write(), 7) == change
    # What is not understood must not be passed over.
    later = Change.read(b'{"kind": "melt", "at": 1}', 8)
    assert (later.kind, later.selector, later.number) == (Kind.PURGE, Selector(), 8)
