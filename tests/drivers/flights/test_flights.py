"""What every place has to do where processes share requests in flight."""

import asyncio
import contextlib

from antiphon.drivers.sqlite.flights import SqliteFlights
from antiphon.ports.flights import Claim, Page, Standing, Wanted
from drivers.flights.conftest import heard
from waiting import PATIENCE, eventually

LEASE = 20.0
SHORT = 0.05
FLIGHT = b"f" * 32
MINE, THEIRS = Claim(FLIGHT, "mine"), Claim(FLIGHT, "theirs")
ALL = 1000


def run(test):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(within_reason())


@contextlib.asynccontextmanager
async def processes(hall, count=2):
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(hall.process()) for _ in range(count)]


async def read(flights, claim, position=0, most=ALL):
    (page,) = await flights.read([Wanted(claim, position, most)])
    return Page([bytes(piece) for piece in page.pieces], page.is_led)


@contextlib.asynccontextmanager
async def listening(flights):
    """Yield what is heard."""
    said = []
    async with heard(flights.listen(said.append)):
        await eventually(lambda: None in said)
        yield said


def test_the_first_leads_and_the_others_follow(hall):
    async def test():
        async with processes(hall, 3) as (leader, *others):
            assert await leader.claim(MINE, LEASE) is None
            for number, other in enumerate(others):
                assert await other.claim(Claim(FLIGHT, f"theirs-{number}"), LEASE) == "mine"
            assert await leader.claim(Claim(b"another" * 4, "mine too"), LEASE) is None

    run(test())


def test_of_many_that_claim_at_once_one_leads(hall):
    async def test():
        async with processes(hall, 3) as flights:
            claims = [flights[number % 3].claim(Claim(FLIGHT, str(number)), LEASE) for number in range(30)]
            led = await asyncio.gather(*claims)
            (leader,) = [str(number) for number, epoch in enumerate(led) if epoch is None]
            assert {epoch for epoch in led if epoch is not None} == {leader}

    run(test())


def test_a_claim_that_is_repeated_is_the_same(hall):
    """Its reply may have been lost."""

    async def test():
        async with processes(hall, 1) as (leader,):
            assert [await leader.claim(MINE, LEASE) for _ in range(2)] == [None, None]

    run(test())


def test_who_leads_is_told_whether_somebody_follows(hall):
    async def test():
        async with processes(hall) as (leader, follower):
            await leader.claim(MINE, LEASE)
            assert await leader.renew([MINE, Claim(b"x", "y")], LEASE) == [Standing.ALONE, Standing.LOST]
            await follower.claim(THEIRS, LEASE)
            assert await leader.renew([MINE], LEASE) == [Standing.FOLLOWED]
            await follower.leave(MINE)
            assert await leader.renew([MINE], LEASE) == [Standing.ALONE]

    run(test())


def test_what_is_told_is_read_from_any_position(hall):
    async def test():
        async with processes(hall) as (leader, follower):
            await leader.claim(MINE, LEASE)
            await follower.claim(THEIRS, LEASE)
            assert await read(follower, MINE) == Page([], True)
            assert await leader.append(MINE, 0, [b"0", b"1"], LEASE)
            assert await leader.append(MINE, 2, [b"\x00\xff2"], LEASE)
            assert await read(follower, MINE) == Page([b"0", b"1", b"\x00\xff2"], True)
            assert await read(follower, MINE, 2) == Page([b"\x00\xff2"], True)
            assert await read(follower, MINE, 3) == Page([], True)
            assert await read(follower, MINE, 0, 2) == Page([b"0", b"1"], True)
            assert await read(follower, MINE, 0, 0) == Page([], True)

    run(test())


def test_several_are_read_at_once(hall):
    async def test():
        async with processes(hall) as (leader, follower):
            claims = [Claim(bytes([number]) * 32, f"e{number}") for number in range(5)]
            for claim in claims:
                await leader.claim(claim, LEASE)
                await follower.claim(Claim(claim.flight, "other"), LEASE)
                await leader.append(claim, 0, [claim.epoch.encode()], LEASE)
            pages = await follower.read([Wanted(claim, 0, ALL) for claim in reversed(claims)])
            told = [[bytes(piece) for piece in page.pieces] for page in pages]
            assert told == [[claim.epoch.encode()] for claim in reversed(claims)]

    run(test())


def test_what_was_told_is_not_told_again(hall):
    """The reply to an append may have been lost, and more may have gathered meanwhile."""

    async def test():
        async with processes(hall) as (leader, follower):
            await leader.claim(MINE, LEASE)
            await follower.claim(THEIRS, LEASE)
            assert await leader.append(MINE, 0, [b"0", b"1"], LEASE)
            assert await leader.append(MINE, 0, [b"0", b"1"], LEASE)
            assert await leader.append(MINE, 2, [b"2"], LEASE, "next")
            assert await leader.append(MINE, 2, [b"2"], LEASE, "next")
            assert await read(follower, MINE) == Page([b"0", b"1", b"2"], False)

    run(test())


def test_the_end_begins_the_next_epoch(hall):
    """Who follows reads on what was told; who comes now is told by the leader anew."""

    async def test():
        async with processes(hall, 3) as (leader, follower, late):
            await leader.claim(MINE, LEASE)
            await follower.claim(THEIRS, LEASE)
            assert await leader.append(MINE, 0, [b"all"], LEASE, "next")
            assert await leader.renew([Claim(FLIGHT, "next"), MINE], LEASE) == [Standing.ALONE, Standing.LOST]
            assert await late.claim(THEIRS, LEASE) == "next"
            assert await read(late, Claim(FLIGHT, "next")) == Page([], True)
            assert await read(follower, MINE) == Page([b"all"], False)
            assert await leader.renew([Claim(FLIGHT, "next")], LEASE) == [Standing.FOLLOWED]

    run(test())


def test_what_nobody_follows_is_let_go(hall):
    async def test():
        async with processes(hall) as (leader, other):
            await leader.claim(MINE, LEASE)
            assert await leader.release([MINE], even_if_followed=False) == [Standing.ALONE]
            assert await other.claim(THEIRS, LEASE) is None
            assert await leader.release([MINE], even_if_followed=True) == [Standing.LOST]
            assert await other.renew([THEIRS], LEASE) == [Standing.ALONE]

    run(test())


def test_what_is_followed_is_let_go_only_if_that_is_meant(hall):
    async def test():
        async with processes(hall) as (leader, follower):
            await leader.claim(MINE, LEASE)
            await follower.claim(THEIRS, LEASE)
            assert await leader.release([MINE], even_if_followed=False) == [Standing.FOLLOWED]
            assert (await read(follower, MINE)).is_led
            assert await leader.release([MINE], even_if_followed=True) == [Standing.ALONE]
            assert await read(follower, MINE) == Page([], False)

    run(test())


def test_a_lease_that_ran_out_frees_the_flight(hall):
    """And who led it is fenced: what it tells nobody reads."""

    async def test():
        async with processes(hall, 3) as (leader, second, third):
            await leader.claim(MINE, SHORT)
            await second.claim(THEIRS, LEASE)

            async def is_free():
                return not (await read(second, MINE)).is_led

            await eventually(is_free)
            assert await second.claim(THEIRS, LEASE) is None
            assert await leader.append(MINE, 0, [b"too late"], LEASE) is False
            assert await leader.renew([MINE], LEASE) == [Standing.LOST]
            assert await leader.release([MINE], even_if_followed=True) == [Standing.LOST]
            assert await third.claim(Claim(FLIGHT, "third"), LEASE) == "theirs"
            assert await read(third, THEIRS) == Page([], True)
            assert await second.renew([THEIRS], LEASE) == [Standing.FOLLOWED]

    run(test())


def test_each_hears_what_concerns_it(hall):
    async def test():
        async with (
            processes(hall, 3) as (leader, follower, stranger),
            listening(leader) as by_leader,
            listening(follower) as by_follower,
            listening(stranger) as by_stranger,
        ):
            await leader.claim(MINE, LEASE)
            await follower.claim(THEIRS, LEASE)
            await eventually(lambda: by_leader.count(FLIGHT) == 1)
            await leader.append(MINE, 0, [b"0"], LEASE)
            await eventually(lambda: by_follower.count(FLIGHT) == 1)
            await leader.release([MINE], even_if_followed=True)
            await eventually(lambda: by_follower.count(FLIGHT) == 2)
            await stranger.claim(Claim(FLIGHT, "last"), LEASE)
            await follower.claim(THEIRS, LEASE)
            await eventually(lambda: by_stranger.count(FLIGHT) == 1)
            await follower.leave(Claim(FLIGHT, "last"))
            await eventually(lambda: by_stranger.count(FLIGHT) == 2)
            assert by_leader.count(FLIGHT) == 1

    run(test())


def test_many_processes_may_begin_at_once(tmp_path):
    """None of them finds the file in a state that it cannot use."""

    async def test():
        for number in range(5):
            flights = [SqliteFlights(tmp_path / f"flights-{number}") for _ in range(8)]
            claims = [each.claim(Claim(FLIGHT, str(index)), LEASE) for index, each in enumerate(flights)]
            led = await asyncio.gather(*claims)
            assert led.count(None) == 1
            for each in flights:
                await each.close()

    run(test())
