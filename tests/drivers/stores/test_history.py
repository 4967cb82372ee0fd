"""What models were shown, against a plain model: whoever still leads to an item finds it, and nothing else is kept."""

import asyncio
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.turn.history import Context, Head
from drivers.stores.place import NOW, committed, kept_of, new_run, opened

OWNERS = ("alice", "bob")
ITEMS = st.lists(st.sampled_from([b"1", b"2", b"3"]), max_size=3)
PICK = st.integers(0, 20)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.sampled_from(OWNERS), st.none() | PICK, ITEMS),
        st.tuples(st.just("run"), st.sampled_from(OWNERS), st.none() | PICK, ITEMS),
        st.tuples(st.sampled_from(["settle", "forget", "forget", "expire", "replace"]), PICK),
    ),
    max_size=25,
)


@dataclass
class Known:
    """Something that was shown a history."""

    name: str
    owner: str
    items: tuple[bytes, ...]
    head: Head | None
    is_run: bool


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_histories_are_as_a_plain_model_has_them(place, loop, steps):
    """Kept with responses and runs, continued from any of them, and let go in any order."""
    loop.run_until_complete(place.empty())
    loop.run_until_complete(_against_a_model(place, steps))


async def _against_a_model(place, steps):
    known: list[Known] = []
    names = (f"resp_{number}" for number in itertools.count())
    async with opened(place) as storage:
        for what, *rest in steps:
            if what in ("keep", "run"):
                owner, parent, items = rest
                of_owner = [each for each in known if each.owner == owner and each.head is not None]
                before = of_owner[parent % len(of_owner)] if of_owner and parent is not None else None
                known.append(await _shown(storage, what == "run", next(names), owner, before, tuple(items)))
            elif known:
                await _changed(storage, known, known[rest[0] % len(known)], what, next(names))
        await committed(storage)
        for each in known:
            if each.head is not None:
                assert await storage.responses.history(each.head.id) == each.items
                assert (each.head.depth, each.head.size) == (len(each.items), sum(map(len, each.items)))
        left = {(each.owner, each.items[:end]) for each in known for end in range(1, len(each.items) + 1)}
        assert await place.rows("SELECT count(*) FROM history") == [(len(left),)]


async def _shown(storage, is_run, name, owner, before, items):
    context = Context(before and before.head, items)
    every = (before.items if before else ()) + items
    if is_run:
        lease = await storage.runs.create(new_run(name, owner=owner, context=context), "me")
        # A run tells its last item alone.
        size = sum(map(len, every))
        head = None if lease.history is None else Head(lease.history, len(every), size)
    else:
        storage.responses.put(kept_of(name, owner=owner, context=context))
        await committed(storage)
        head = (await storage.responses.get(name, owner)).head
    return Known(name, owner, every, head, is_run)


async def _changed(storage, known, chosen, what, name):
    if what == "settle" and chosen.is_run:
        await storage.runs.end(chosen.name, "failed")
        assert await storage.runs.settle(kept_of(chosen.name, owner=chosen.owner))
        chosen.is_run = False
        assert (await storage.responses.get(chosen.name, chosen.owner)).head == chosen.head
    elif what == "replace" and not chosen.is_run:
        known.remove(chosen)
        known.append(await _shown(storage, False, chosen.name, chosen.owner, None, (name.encode(),)))
    elif what == "forget":
        if chosen.is_run:
            assert await storage.runs.delete(chosen.name, chosen.owner)
        else:
            assert await storage.responses.delete(chosen.name, chosen.owner)
        known.remove(chosen)
    elif what == "expire":
        storage.sweep(NOW + 101)  # all responses expire together; runs stay
        await committed(storage)
        known[:] = [each for each in known if each.is_run]
