"""The log of changes: one order for all, and who has heard of what."""

import asyncio

from antiphon.cache.changes import Change, Kind
from antiphon.cache.selecting import Selector
from drivers.sqlite.opening import entry_of, run
from drivers.stores.place import LEVELS, NOW, RedisPlace, committed, opened
from waiting import eventually

EVERYTHING = Selector(
    digest=b"\x00\xff",
    recording_id="r",
    public_id="resp_1",
    scope="",
    model="p/m",
    tag="a tag",
    prompt='line\nline "é"',
    stored_before=NOW,
    spares_pinned=True,
)


def purge(selector=None, kind=Kind.PURGE):
    return Change(kind, selector or Selector(), NOW)


@LEVELS
def test_changes_come_back_in_order_as_they_were_written(place):
    async def test():
        async with opened(place) as one, opened(place) as other:
            written = [purge(EVERYTHING), purge(), purge(Selector(tag="t"), Kind.EXPIRE)]
            numbers = [
                await log.changes.append(change)
                for log, change in zip((one, other, one), written, strict=True)
            ]
            assert numbers == sorted(set(numbers))
            look = await other.changes.look("nobody", 0)
            assert [change.number for change in look.changes] == numbers
            assert [change.selector for change in look.changes] == [change.selector for change in written]
            assert [change.kind for change in look.changes] == [change.kind for change in written]
            assert (look.latest, look.is_entered) == (numbers[-1], False)
            look = await one.changes.look("nobody", numbers[0])
            assert [change.number for change in look.changes] == numbers[1:]
            assert (await one.changes.look("nobody", numbers[-1])).changes == []

    run(test())


@LEVELS
def test_numbers_are_seen_in_their_order_however_many_write_at_once(place):
    """Whoever has seen one has seen all below it: a look from there misses none."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            writing = asyncio.gather(
                *(log.changes.append(purge(Selector(tag=str(n)))) for n in range(20) for log in (one, other))
            )
            seen, position = [], 0
            while not writing.done() or len(seen) < 40:
                look = await one.changes.look("nobody", position)
                seen += [change.number for change in look.changes]
                position = look.latest
                await asyncio.sleep(0)
            assert seen == sorted(await writing)

    run(test())


@LEVELS
def test_readers_are_waited_for_until_they_have_heard(place):
    async def test():
        async with opened(place) as one, opened(place) as other:
            await one.changes.enter("first", 0.0)
            await one.changes.leave("first")
            await one.changes.enter("a", 5.0)
            await other.changes.enter("b", 7.0)
            assert (await one.changes.look("a", 0)).is_entered
            number = await one.changes.append(purge())
            await eventually(lambda: _are_behind(other, number, [5.0, 7.0]))
            assert await one.changes.acknowledge("a", number)
            assert await other.changes.behind(number) == [7.0]
            await one.changes.strike(number)
            assert await one.changes.behind(number) == []
            # Who was struck off is told, and has to enter again; who has heard was not.
            assert not (await other.changes.look("b", 0)).is_entered
            assert not await other.changes.acknowledge("b", number)
            assert await one.changes.acknowledge("a", number)
            await other.changes.enter("b", 7.0)
            assert await one.changes.behind(number) == [7.0]
            await other.changes.leave("b")
            assert await one.changes.behind(number) == []

    run(test())


@LEVELS
def test_an_acknowledgement_never_goes_back(place):
    async def test():
        async with opened(place) as storage:
            await storage.changes.enter("a", 0.0)
            number = await storage.changes.append(purge())
            assert await storage.changes.acknowledge("a", number)
            assert await storage.changes.acknowledge("a", number - 1)
            await eventually(lambda: _are_behind(storage, number, []))

    run(test())


def test_old_changes_are_forgotten_but_never_the_latest(place):
    """So that numbers go on where they were."""

    async def test():
        async with opened(place) as storage:
            for at in (NOW, NOW + 1, NOW + 2):
                number = await storage.changes.append(Change(Kind.PURGE, Selector(), at))
            storage.changes.sweep(NOW + 1)
            await committed(storage)
            assert len((await storage.changes.look("nobody", 0)).changes) == 2
            storage.changes.sweep(NOW + 100)
            await committed(storage)
            look = await storage.changes.look("nobody", 0)
            assert ([change.number for change in look.changes], look.latest) == ([number], number)
        async with opened(place) as storage:
            assert await storage.changes.append(purge()) > number

    run(test())


async def _are_behind(storage, number, trusts):
    return sorted(await storage.changes.behind(number)) == trusts


def _beside(storage):
    """What else has to go on, so that one is told."""
    runs = getattr(storage, "runs", None)
    return () if runs is None else (runs.watch(lambda _: None),)


@LEVELS
def test_a_writer_on_another_host_is_heard_at_once(place):
    """Where the driver tells it: where not, one looks more often."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            if one.changes.pause < 1:
                return
            heard = asyncio.Event()
            listening = asyncio.gather(other.changes.listen(heard.set), *_beside(other))
            try:
                await heard.wait()  # who begins to listen may have missed something
                heard.clear()
                await one.changes.append(purge())
                async with asyncio.timeout(5):
                    await heard.wait()
            finally:
                listening.cancel()

    run(test())


def test_whoever_was_there_before_redis_lost_everything_is_waited_for(redis_server):
    async def test():
        async with opened(RedisPlace(redis_server.settings)) as storage:
            changes = storage.changes
            await changes.enter("a", 1.0)
            number = await changes.append(purge())
            assert await changes.acknowledge("a", number)
            assert await changes.behind(number) == [1.0]
            await changes.strike(number + 1)
            await eventually(lambda: _are_behind(storage, number, []))

    run(test())


def test_whoever_misses_something_is_told(redis_server):
    """Where the server has lost what it had; numbers grow all the same."""

    async def test():
        async with opened(RedisPlace(redis_server.settings)) as storage:
            changes = storage.changes
            await changes.enter("a", 5.0)
            first = await changes.append(purge())
            assert (await changes.look("a", 0)).is_whole
            await changes._client.flushall()
            look = await changes.look("a", first)
            assert (look.latest, look.is_entered) == (0, False)
            second = await changes.append(purge())
            assert second > first
            await changes._client.delete(changes._keys[1])
            assert not (await changes.look("a", first)).is_whole
            third = await changes.append(purge())
            assert not (await changes.look("a", first)).is_whole
            assert (await changes.look("a", second)).is_whole
            assert [change.number for change in (await changes.look("a", 0)).changes] == [third]

    run(test())


@LEVELS
def test_entries_are_made_stale_pinned_and_counted(place):
    async def test():
        async with opened(place) as storage:
            cache = storage.cache
            for name in "abc":
                cache.put(entry_of(name, as_of=7, tags=(name,)))
            await cache.pin(entry_of("a").digest, is_pinned=True)
            assert await cache.count(Selector()) == 3
            assert await cache.count(Selector(spares_pinned=True)) == 2
            assert await cache.count(Selector(public_id="resp_b")) == 1
            assert await cache.expire(Selector(tag="b"), NOW + 1) == 1
            (a,), (b,) = [await cache.select(Selector(tag=name), 1) for name in "ab"]
            assert (a.is_pinned, b.is_pinned, b.expires_at, a.as_of) == (True, False, NOW + 1, 7)
            totals = await cache.totals()
            assert (totals.all.entries, totals.all.pinned) == (3, 1)
            # A new answer in its place is pinned too, and what was unpinned stays so.
            cache.put(entry_of("a", stored_at=NOW + 1))
            await cache.pin(entry_of("b").digest, is_pinned=False)
            cache.put(entry_of("b", stored_at=NOW + 2))
            await committed(storage)
            (a,), (b,) = [await cache.select(Selector(digest=entry_of(name).digest), 1) for name in "ab"]
            assert (a.is_pinned, a.stored_at, b.is_pinned) == (True, NOW + 1, False)
            assert await cache.remove(Selector(spares_pinned=True)) == 2
            assert await cache.remove(Selector()) == 1

    run(test())
