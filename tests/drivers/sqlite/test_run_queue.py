"""Who is next: urgency, turns among owners, and bounds that hold for all workers together."""

import asyncio
from dataclasses import replace

import pytest

from antiphon.drivers.sqlite.runs import SqliteRuns
from antiphon.ports.runs import NewRun, QueueFull, RunLimits
from antiphon.turn.history import Context
from drivers.sqlite.opening import NOW, opened, run
from serving import Clock

NEW = NewRun(
    id="",
    owner="a",
    request=b"",
    context=Context(None, ()),
    frames=[b"created", b"queued"],
    begun=[b"in_progress"],
    is_public=False,
    created_at=NOW,
    queue_deadline=NOW + 600,
    deadline=NOW + 3600,
)


def scene(tmp_path, test):
    async def with_store():
        async with opened(tmp_path) as database:
            clock = Clock(NOW)
            await test(SqliteRuns(database, 15, clock), clock)

    run(with_store())


async def queue(store, *named, **changes):
    """Queue runs by name, of which the first letter is the owner, one second after the other."""
    for number, name in enumerate(named):
        new = replace(NEW, id=name, owner=name[0], created_at=NOW + number, **changes)
        await store.create(new, None)


async def claimed(store, limit=1, **limits):
    return [lease.run_id for lease in await store.claim("w", limit, RunLimits(**limits))]


def test_the_most_urgent_is_first_and_of_these_the_oldest(tmp_path):
    async def test(store, clock):
        await queue(store, "a1", "a2", "a3")
        await queue(store, "a4", "a5", priority=2)
        await queue(store, "a6", priority=-1)
        assert [(await claimed(store))[0] for _ in range(6)] == ["a4", "a5", "a1", "a2", "a3", "a6"]
        assert await claimed(store) == []

    scene(tmp_path, test)


def test_owners_take_turns_inside_one_priority(tmp_path):
    """Who queued a hundred does not keep the others waiting."""

    async def test(store, clock):
        await queue(store, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
        assert sorted(await claimed(store, 3)) == ["a1", "b1", "c1"]
        assert sorted(await claimed(store, 2)) == ["a2", "b2"]
        assert sorted(await claimed(store, 9)) == ["a3", "a4"]

    scene(tmp_path, test)


def test_no_owner_has_more_in_progress_than_may_be(tmp_path):
    """Whichever worker claims; what has ended makes room."""

    async def test(store, clock):
        await queue(store, "a1", "a2", "a3", "b1")
        assert sorted(await claimed(store, 9, in_progress_per_owner=2)) == ["a1", "a2", "b1"]
        assert await claimed(store, 9, in_progress_per_owner=2) == []
        await store.end("a1", "cancelled")
        assert await claimed(store, 9, in_progress_per_owner=2) == ["a3"]

    scene(tmp_path, test)


def test_claims_that_race_take_each_run_once(tmp_path):
    """And together no more than an owner may have."""

    async def test(store, clock):
        await queue(store, *(f"a{number}" for number in range(20)))
        claims = (claimed(store, 3, in_progress_per_owner=7) for _ in range(6))
        taken = [run_id for each in await asyncio.gather(*claims) for run_id in each]
        assert len(taken) == len(set(taken)) == 7

    scene(tmp_path, test)


@pytest.mark.parametrize(
    ("waiting", "running", "priority", "begins"),
    [
        ((), (), 0, True),
        ((), ("a8",), 0, True),
        ((), ("a8", "a9"), 0, False),
        (("b1",), (), 0, False),
        (("b1",), (), 1, True),
        (("b1",), ("b8", "b9"), 0, True),
    ],
)
def test_a_run_is_begun_at_once_only_if_nobody_is_passed_over(tmp_path, waiting, running, priority, begins):
    """Nothing as urgent waits that could be claimed, and its owner has room."""

    async def test(store, clock):
        for name in running:
            await store.create(replace(NEW, id=name, owner=name[0]), "w")
        await queue(store, *waiting)
        new = replace(NEW, id="new", priority=priority)
        lease = await store.create(new, "w", RunLimits(in_progress_per_owner=2))
        page = await store.read("new", -1)
        assert (lease is not None) == begins
        assert page.frames == [b"created", b"queued", b"in_progress"][: 3 if begins else 2]
        assert page.state.status == ("in_progress" if begins else "queued")
        assert lease is None or (lease.epoch, lease.last_seq) == (1, 2)

    scene(tmp_path, test)


def test_only_so_many_wait(tmp_path):
    """In all, and of one owner; what is begun at once does not wait."""

    async def test(store, clock):
        limits = RunLimits(queued=3, queued_per_owner=2)
        await queue(store, "a1", "a2", "b1")
        for owner, is_owners in (("a", True), ("b", False)):
            with pytest.raises(QueueFull) as raised:
                await store.create(replace(NEW, id="new", owner=owner), None, limits)
            assert raised.value.is_owners == is_owners
        await claimed(store)
        await queue(store, "a3")
        await claimed(store)
        with pytest.raises(QueueFull) as raised:
            await store.create(replace(NEW, id="new", owner="a"), None, limits)
        assert raised.value.is_owners
        assert await store.create(replace(NEW, id="urgent", owner="a", priority=9), "w", limits)
        assert await store.state("new", "a") is None

    scene(tmp_path, test)


def test_who_holds_what_is_asked_without_prolonging(tmp_path):
    """A run that was cancelled, or that is another's, is not mine."""

    async def test(store, clock):
        for name in ("a1", "a2", "a3"):
            await store.create(replace(NEW, id=name), "w")
        await store.end("a2", "cancelled")
        assert await store.mine([("a1", 1), ("a2", 1), ("a3", 2), ("gone", 1)]) == {"a1"}
        clock.now += 16
        assert {stale.id for stale in await store.stale(9)} == {"a1", "a2", "a3"}

    scene(tmp_path, test)
