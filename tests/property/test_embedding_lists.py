"""Any lists of inputs, asked for in any order, against a plain model of what is kept and what is fetched.

Every answer must be the one that the upstream would have given to the whole request, and the upstream must have been
asked for exactly what the model says is missing: each input once, in one call.
"""

import asyncio
import contextlib
import json
import random
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from antiphon.settings import MemoryLevel
from embedder import Embedder, tokens, vector
from engine.scene import SMALL, gateway, send, upstream
from serving import Clock
from waiting import PATIENCE

EMBEDDINGS = "/v1/embeddings"
TTL = 100.0
OPTIONS = [{}, {"dimensions": 2}, {"encoding_format": "base64"}, {"encoding_format": "float"}]

texts = st.lists(st.sampled_from(["", "a", "b", "é", '"q"', "a:1", "1", "[1]", "\n"]), min_size=1, max_size=6)
lists_of_tokens = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 100_000]), min_size=1, max_size=2), min_size=1, max_size=5
)
inputs = texts | lists_of_tokens
options = st.sampled_from(OPTIONS)


def spelt(value):
    return json.dumps(value, sort_keys=True)


class Machine(RuleBasedStateMachine):
    """A gateway on a socket, and what a user would expect of it."""

    def __init__(self, memory):
        super().__init__()
        self.memory = memory
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.embedder = Embedder()
        self.embedder.chance = random.Random(1)
        self.kept = {}
        """By options and input: until when it is fresh."""
        self.loop = asyncio.Runner()
        self.opened = contextlib.AsyncExitStack()
        self.simulator = self.wait(self.opened.enter_async_context(upstream(self.embedder)))
        self.serving = contextlib.AsyncExitStack()
        self.restart()

    def wait(self, work):
        async def within_reason():
            async with asyncio.timeout(PATIENCE):
                return await work

        return self.loop.run(within_reason())

    def teardown(self):
        self.wait(self.serving.aclose())
        self.wait(self.opened.aclose())
        self.loop.close()
        self.folder.cleanup()

    # What the model says.

    def missing(self, items, chosen):
        """Return which inputs are to be fetched: each once, in the order in which they stand."""
        distinct = {spelt(item): item for item in items}
        now = self.clock.now
        return [item for text, item in distinct.items() if self.kept.get((spelt(chosen), text), 0) <= now]

    def expect(self, got, body, items):
        assert got.status == 200, got.body
        answer = got.json()
        count = sum(map(tokens, items))
        assert sorted(answer["data"], key=lambda entry: entry["index"]) == [
            {"object": "embedding", "index": index, "embedding": vector(item, body)}
            for index, item in enumerate(items)
        ]
        assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
        assert (answer["object"], answer["model"]) == ("list", self.embedder.model)

    def keep(self, items, chosen):
        for item in items:
            self.kept[spelt(chosen), spelt(item)] = self.clock.now + TTL

    # What a user does.

    @rule(items=inputs, chosen=options, is_alone=st.booleans(), refresh=st.integers(0, 5))
    def ask(self, items, chosen, is_alone, refresh):
        """Ask for a list, or for its first input alone; now and then for fresh vectors."""
        if is_alone:
            items = items[:1]
        body = {"model": "up/small", "input": items[0] if is_alone else items, **chosen}
        headers = {"Cache_Control": "no-cache"} if refresh == 0 else {}
        missing = self.missing(items, {} if headers else chosen)
        if headers:
            missing = list({spelt(item): item for item in items}.values())
        self.embedder.asked.clear()
        got = self.wait(self.there.client.post(EMBEDDINGS, body, **headers))

        self.expect(got, body, items)
        self.check_status(got.cache_status, items, missing, is_bypass=bool(headers))
        expected = [body["input"] if len(items) == 1 else missing] if missing else []
        assert self.embedder.asked == expected
        self.keep(missing, chosen)

    def check_status(self, status, items, missing, *, is_bypass):
        distinct = {spelt(item) for item in missing}
        there = sum(spelt(item) not in distinct for item in items)
        if is_bypass:
            assert status == "antiphon; fwd=bypass; stored; detail=no-cache"
        elif not missing:
            assert status.startswith("antiphon; hit; ttl=")
        elif there:
            assert status == f'antiphon; fwd=partial; stored; detail="{there}/{len(items)}"'
        else:
            assert status in {"antiphon; fwd=miss; stored", "antiphon; fwd=stale; stored"}

    @rule(first=inputs, second=inputs, chosen=options)
    def ask_two_at_once(self, first, second, chosen):
        """Overlapping or equal lists: what is fetched twice or shared is not said, what comes is."""

        async def both():
            async with self.there.clients(2) as clients:
                for client, items in zip(clients, (first, second), strict=True):
                    send(client, EMBEDDINGS, model="up/small", input=items, **chosen)
                return [await client.answer() for client in clients]

        for got, items in zip(self.wait(both()), (first, second), strict=True):
            self.expect(got, chosen, items)
            self.keep(self.missing(items, chosen), chosen)

    @rule(items=inputs, chosen=options)
    def ask_only_the_cache(self, items, chosen):
        body = {"model": "up/small", "input": items, **chosen}
        self.embedder.asked.clear()
        got = self.wait(self.there.client.post(EMBEDDINGS, body, Cache_Control="only-if-cached"))
        if self.missing(items, chosen):
            assert got.status == 504
        else:
            self.expect(got, body, items)
        assert self.embedder.asked == []

    @rule(seconds=st.sampled_from([10.0, 60.0, TTL]))
    def time_goes_by(self, seconds):
        self.clock.now += seconds

    @rule()
    def memory_is_lost(self):
        """What was written is read again from the second level."""
        self.wait(self.there.committed())
        self.there.application.memory.clear()

    @rule()
    def restart(self):
        """The gateway stops and starts again."""
        self.wait(self.serving.aclose())
        made = gateway(
            Path(self.folder.name),
            self.simulator,
            clock=self.clock,
            cache={"ttl": TTL, "memory": self.memory},
        )
        self.there = self.wait(self.serving.enter_async_context(made))

    @invariant()
    def nothing_is_left_in_flight(self):
        assert not self.there.application.producing.count

    @invariant()
    def writes_are_done(self):
        """So that what the model calls kept can be found."""
        self.wait(self.there.committed())


BOUNDS = settings(max_examples=12, stateful_step_count=25, deadline=None)


def test_lists_are_answered_as_if_each_were_asked_anew():
    run_state_machine_as_test(lambda: Machine(MemoryLevel()), settings=BOUNDS)


def test_lists_are_answered_right_from_storage_alone():
    """Memory has no room for anything."""
    run_state_machine_as_test(lambda: Machine(SMALL), settings=BOUNDS)
