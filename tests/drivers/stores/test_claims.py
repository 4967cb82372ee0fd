"""Claims of idempotency keys: held by one process at a time, finished once, and remembered until their time is over."""

import asyncio
import contextlib

import pytest

from antiphon.drivers.storage import open_storage
from antiphon.ports.idempotency import Claimed, Ended, Held, Outcome, Reused
from antiphon.settings import Idempotency, Settings, Size, Timeout
from antiphon.settings import Storage as StorageSettings
from drivers.sqlite.opening import run
from drivers.stores.place import NOW, Clock, committed

WHO, OTHER = b"w" * 20, b"o" * 20
WHAT, ELSE = b"a" * 20, b"b" * 20
LEASE, TTL = 15.0, 3600.0
OUTCOME = Outcome(200, ((b"content-type", b"text/plain"), (b"x-request-id", b"\xff")), b"\x00body" * 1000)


@contextlib.asynccontextmanager
async def opened(place, clock, **changes):
    """Open storage as one of several processes does."""
    settings = Settings(
        storage=StorageSettings(url=place.url), idempotency=Idempotency(**{"ttl": Timeout(TTL), **changes})
    )
    storage = await open_storage(settings, clock)
    try:
        yield storage
    finally:
        await storage.close()


@contextlib.asynccontextmanager
async def two(place, **changes):
    clock = Clock(NOW)
    async with opened(place, clock, **changes) as one, opened(place, clock, **changes) as other:
        yield one, other, clock


async def claimed(storage, *, identity=WHO, fingerprint=WHAT, answer_id="resp_new"):
    return await storage.claims.claim(identity, fingerprint, answer_id, LEASE)


async def finished(storage, outcome=OUTCOME, identity=WHO):
    done = asyncio.Event()
    storage.claims.finish(identity, outcome, done.set)
    await done.wait()


async def released(storage, *, was_begun):
    done = asyncio.Event()
    storage.claims.release(WHO, done.set, was_begun=was_begun)
    await done.wait()


FIRST = Claimed("resp_new", is_again=False)


def test_one_holds_it_and_others_are_told_who_and_for_what(place):
    async def test():
        async with two(place) as (one, other, _):
            assert await claimed(one) == FIRST
            assert await claimed(other, answer_id="resp_2") == Held("resp_new")
            assert await claimed(other, fingerprint=ELSE) == Reused()
            assert await claimed(other, identity=OTHER, fingerprint=ELSE) == FIRST

    run(test())


def test_of_many_who_come_at_once_one_gets_it(place):
    async def test():
        async with two(place) as (one, other, _):
            for round_ in range(10):
                identity = b"%020d" % round_
                found = await asyncio.gather(
                    claimed(one, identity=identity, answer_id="resp_1"),
                    claimed(other, identity=identity, answer_id="resp_2"),
                )
                (first,) = [each for each in found if isinstance(each, Claimed)]
                assert [each for each in found if each is not first] == [Held(first.answer_id)]

    run(test())


@pytest.mark.parametrize("outcome", [OUTCOME, Outcome(500, (), b"short"), Outcome(200, (), b""), None])
def test_what_has_ended_is_told_to_everybody_until_its_time_is_over(place, outcome):
    """Also to processes that come later; then the key is new."""

    async def test():
        clock = Clock(NOW)
        async with opened(place, clock) as one:
            await claimed(one)
            clock.now += 10
            await finished(one, outcome)
            assert await claimed(one) == Ended(outcome)
        async with opened(place, clock) as other:
            clock.now += TTL - 1
            assert await claimed(other, fingerprint=ELSE) == Reused()
            assert await claimed(other) == Ended(outcome)
            clock.now += 2
            assert await claimed(other, fingerprint=ELSE, answer_id="resp_2") == Claimed(
                "resp_2", is_again=False
            )

    run(test())


def test_who_does_not_prolong_it_loses_it_and_can_finish_no_more(place):
    """The next one is told that somebody was there, and of which id."""

    async def test():
        async with two(place) as (one, other, clock):
            await claimed(one)
            clock.now += LEASE - 1
            await one.claims.prolong([WHO], LEASE)
            clock.now += LEASE - 1
            assert await claimed(other) == Held("resp_new")
            clock.now += 2
            again = await claimed(other, answer_id="resp_2")
            assert again == Claimed("resp_new", is_again=True)
            await finished(one)
            await released(one, was_begun=False)
            await one.claims.prolong([WHO], 10 * LEASE)
            assert await claimed(one) == Held("resp_new")
            await finished(other, None)
            assert await claimed(one) == Ended(None)

    run(test())


@pytest.mark.parametrize("was_begun", [True, False])
def test_what_is_let_go_is_free_at_once(place, was_begun):
    """What was begun stays with its request; what was not is as if it had never been."""

    async def test():
        async with two(place) as (one, other, _):
            await claimed(one)
            await released(one, was_begun=was_begun)
            if was_begun:
                assert await claimed(other, fingerprint=ELSE) == Reused()
                assert await claimed(other, answer_id="resp_2") == Claimed("resp_new", is_again=True)
            else:
                found = await claimed(other, fingerprint=ELSE, answer_id="resp_2")
                assert found == Claimed("resp_2", is_again=False)

    run(test())


def test_what_one_holds_without_knowing_is_free_for_it(place):
    """Its claim was committed, but it never heard of that."""

    async def test():
        async with two(place) as (one, other, _):
            await claimed(one)
            assert await claimed(other) == Held("resp_new")
            assert await claimed(one) == Claimed("resp_new", is_again=True)

    run(test())


def test_the_outcome_of_a_deleted_response_is_dropped(place):
    async def test():
        async with two(place) as (one, other, _):
            await claimed(one)
            await finished(one)
            await other.claims.forget("resp_other")
            assert await claimed(other) == Ended(OUTCOME)
            await other.claims.forget("resp_new")
            assert await claimed(one) == Ended(None)
            rows = await place.rows("SELECT outcome, size FROM idempotency")
            assert [(outcome, size < 1000) for outcome, size in rows] == [(None, True)]

    run(test())


def test_what_is_deleted_while_it_is_told_is_not_kept_either(place):
    async def test():
        async with two(place) as (one, other, _):
            await claimed(one)
            await other.claims.forget("resp_new")
            await finished(one)
            assert await claimed(other) == Ended(None)

    run(test())


def test_what_is_over_is_swept_and_what_is_held_is_not(place):
    async def test():
        async with two(place) as (one, _, clock):
            await claimed(one)
            await finished(one)
            await claimed(one, identity=OTHER)
            clock.now += TTL + 1
            await one.claims.prolong([OTHER], LEASE)
            one.sweep(clock.now)
            await committed(one)
            rows = await place.rows("SELECT identity FROM idempotency")
            assert [bytes(identity) for (identity,) in rows] == [OTHER]

    run(test())


def test_beyond_the_bound_the_oldest_go(place):
    async def test():
        incompressible = bytes(range(256)) * 4
        async with two(place, max_bytes=Size(4000)) as (one, _, clock):
            for number in range(5):
                identity = b"%020d" % number
                await claimed(one, identity=identity)
                await finished(one, Outcome(200, (), incompressible), identity)
                clock.now += 1
            one.sweep(clock.now)
            await committed(one)
            rows = await place.rows("SELECT identity FROM idempotency ORDER BY identity")
            assert [bytes(identity) for (identity,) in rows] == [b"%020d" % number for number in (2, 3, 4)]

    run(test())
