"""Claims of two processes on one file, in any order, against a plain model."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from antiphon.drivers.sqlite.claims import SqliteClaims
from antiphon.drivers.sqlite.database import Database
from antiphon.ports.idempotency import Claimed, Ended, Held, Outcome, Reused
from antiphon.settings import Idempotency, Timeout
from serving import Clock

LEASE, TTL = 10.0, 100.0
KEY = b"k"
WHO = st.integers(0, 1)
WHAT = st.sampled_from([b"a", b"b"])


class Claims(RuleBasedStateMachine):
    """One key. The model knows who holds it until when, what for, and what it was answered with."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self.clock = Clock(1000.0)
        path = Path(self._folder.name) / "antiphon.db"
        limits = Idempotency(ttl=Timeout(TTL))
        self.databases = [Database(path), Database(path)]
        self.stores = [SqliteClaims(database, limits, self.clock) for database in self.databases]
        self.holder = None
        self.until = 0.0
        self.what = None
        self.ended = None
        self.expires = 0.0
        self.ids = 0
        self.id = ""
        self.handled = 0
        """How often somebody was let in since the key was new."""

    def teardown(self):
        for database, store in zip(self.databases, self.stores, strict=True):
            self._runner.run(database.close())
            store.leave()
        self._runner.close()
        self._folder.cleanup()

    def _is_held(self, by_other_than=None):
        return self.holder not in {None, by_other_than} and self.until > self.clock.now

    def _is_forgotten(self, who):
        return self.what is None or (self.expires <= self.clock.now and not self._is_held(who))

    @rule(who=WHO, what=WHAT)
    def claim(self, who, what):
        self.ids += 1
        new = f"resp_{self.ids}"
        found = self._runner.run(self.stores[who].claim(KEY, what, new, LEASE))
        if self._is_forgotten(who):
            assert found == Claimed(new, is_again=False)
            self.what, self.id, self.ended, self.handled = what, new, None, 0
        elif what != self.what:
            assert found == Reused()
            return
        elif self.ended is not None:
            assert found == Ended(self.ended[0])
            return
        elif self._is_held(who):
            assert found == Held(self.id)
            return
        else:
            assert found == Claimed(self.id, is_again=True)
        self.holder, self.until, self.handled = who, self.clock.now + LEASE, self.handled + 1
        self.expires = self.clock.now + TTL

    def _write(self, write):
        async def written():
            done = asyncio.Event()
            write(done.set)
            await done.wait()

        self._runner.run(written())

    @rule(
        who=WHO, outcome=st.one_of(st.none(), st.binary(max_size=5).map(lambda body: Outcome(200, (), body)))
    )
    def finish(self, who, outcome):
        self._write(lambda done: self.stores[who].finish(KEY, outcome, done))
        if self.holder == who and self.ended is None:
            self.holder, self.ended, self.expires = None, (outcome,), self.clock.now + TTL

    @rule(who=WHO, was_begun=st.booleans())
    def release(self, who, was_begun):
        self._write(lambda done: self.stores[who].release(KEY, done, was_begun=was_begun))
        if self.holder == who and self.ended is None:
            self.holder = None
            if not was_begun:
                self.what = None

    @rule(who=WHO)
    def prolong(self, who):
        if self.stores[who]._name:
            self._runner.run(self.stores[who].prolong([KEY], LEASE))
        if self.holder == who and self.ended is None:
            self.until, self.expires = self.clock.now + LEASE, self.clock.now + TTL

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1, TTL / 2, TTL + 1]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(who=WHO)
    def sweep(self, who):
        """Nothing goes that would still be told, or that somebody is at."""

        def write(done):
            self.stores[who].sweep(self.clock.now)
            self.databases[who].write(lambda _: None, on_done=done)

        self._write(write)
        if max(self.expires, self.until) < self.clock.now:
            self.holder = self.what = self.ended = None

    @rule(who=WHO)
    def forget(self, who):
        if self.id:
            self._runner.run(self.stores[who].forget(self.id))
            if self.what is not None:
                self.holder, self.ended = None, (None,)

    @invariant()
    def what_was_answered_lets_nobody_in(self):
        assert self.ended is None or self.holder is None


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
