"""The second level of the cache in Redis: what is special about it, and what becomes of it when the server is not well."""

import asyncio
import contextlib

import pytest
from msgspec.structs import replace

from antiphon.cache.selecting import Selector
from antiphon.drivers.redis.cache import RedisCache
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import entry_of, recording_of, run
from serving import Clock
from waiting import eventually

NOW = 1_800_000_000.0
A = entry_of("a")
KEY = "antiphon:entry:" + A.digest.hex()


@contextlib.asynccontextmanager
async def opened(settings, **options):
    cache = RedisCache(settings, Clock(NOW), **options)
    try:
        yield cache
    finally:
        await cache.close()


async def written(cache):
    await eventually(lambda: cache.queued == 0)


async def is_there(cache, digest=A.digest):
    """Whether an entry is found, and the server there at all."""
    with contextlib.suppress(StoreFault):
        return await cache.get(digest) is not None
    return False


def test_an_entry_is_found_over_each_kind_of_connection(server):
    """And those that are asked for at once are found with one another."""

    async def test():
        entries = [entry_of(f"{number}") for number in range(50)]
        async with opened(server.settings) as cache:
            for entry in entries:
                cache.put(entry)
            await written(cache)
            found = await asyncio.gather(*(cache.get(entry.digest) for entry in entries))
            assert [each.identity for each in found] == [entry.identity for entry in entries]
            assert await cache.remove(Selector(tag="one")) == 50

    run(test())


def test_what_redis_holds_goes_by_itself(redis_server):
    """An hour after it has expired; and what is pinned does not."""

    async def test():
        async with opened(redis_server.settings) as cache:
            cache.put(A)
            cache.put(entry_of("b", is_pinned=True))
            cache.put(entry_of("c", expires_at=NOW - 3599.95))
            await written(cache)
            assert 3600 < int(redis_server.ask("TTL", KEY)[1:]) <= 3700
            assert 3600 < int(redis_server.ask("TTL", "antiphon:recording:r-a")[1:]) <= 3700
            assert int(redis_server.ask("TTL", KEY.replace("61", "62", 1))[1:]) == -1

            async def is_gone():
                return not await is_there(cache, entry_of("c").digest)

            await eventually(is_gone)

    run(test())


def test_gateways_with_another_prefix_know_nothing_of_each_other(redis_server):
    async def test():
        settings = redis_server.settings
        async with opened(settings) as one, opened(replace(settings, prefix="an*[t]?:")) as other:
            for cache in (one, other):
                cache.put(A)
                await written(cache)
            assert await other.remove(Selector()) == 1
            assert (await is_there(one), await is_there(other)) == (True, False)

    run(test())


CORRUPTIONS = {
    "cut off": lambda value: value[:-1],
    "cut in its attributes": lambda value: value[:40],
    "empty": lambda value: b"",
    "of another version": lambda value: value[:2] + b"\x7f" + value[3:],
    "of another kind": lambda value: b"\x80\x04\x95\x03",
    "without attributes": lambda value: value[:12] + b"\0\0\0\0" + value[16:],
    "with a huge length": lambda value: value[:12] + b"\xff\xff\xff\xff" + value[16:],
    "flipped in the middle": lambda value: value[:-60] + bytes((value[-60] ^ 1,)) + value[-59:],
    "text in the place of attributes": lambda value: value[:16] + b"\xc1" * 50 + value[66:],
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_a13_what_cannot_be_read_is_none(redis_server, corrupt):
    """It is counted, and a fresh entry takes its place."""

    async def test():
        async with opened(redis_server.settings) as cache:
            cache.put(A)
            await written(cache)
            value = await cache._client.get(KEY)
            await cache._client.set(KEY, corrupt(value))
            assert (await cache.get(A.digest), cache.unreadable) == (None, 1)
            assert await cache.select(Selector(), 10) == []
            cache.put(A)
            await written(cache)
            assert await is_there(cache)

    run(test())


def test_a13_what_is_no_string_and_what_is_anothers_is_none(redis_server):
    async def test():
        async with opened(redis_server.settings) as cache:
            redis_server.ask("LPUSH", KEY, "x")
            with pytest.raises(StoreFault):
                await cache.get(A.digest)
            cache.put(entry_of("b"))
            await written(cache)
            redis_server.ask("RENAME", KEY.replace("61", "62", 1), KEY)
            assert (await cache.get(A.digest), cache.unreadable) == (None, 1)

    run(test())


def test_more_attributes_than_are_read_at_first_are_found_all_the_same(redis_server):
    async def test():
        tags = tuple(f"tag-{number}-{'x' * 50}" for number in range(100))
        async with opened(redis_server.settings) as cache:
            cache.put(entry_of("a", tags=tags))
            assert await cache.remove(Selector(tag=tags[-1])) == 1

    run(test())


def test_a_recording_is_removed_though_the_way_to_its_entry_was_thrown_out(server):
    """A full server throws out what it likes: then all entries are looked at."""

    async def test():
        async with opened(server.settings) as cache:
            cache.put(A)
            await written(cache)
            await cache._client.delete("antiphon:recording:r-a")
            assert await cache.remove(Selector(recording_id="r-a")) == 1
        async with opened(server.settings) as cache:
            assert not await is_there(cache)

    run(test())


def test_what_is_pinned_stays_and_what_takes_its_place_too(redis_server):
    async def test():
        async with opened(redis_server.settings) as cache:
            cache.put(A)
            await cache.pin(A.digest, is_pinned=True)
            assert int(redis_server.ask("TTL", KEY)[1:]) == -1
            cache.put(entry_of("a", recording_of("newer")))
            await written(cache)
            found = await cache.get(A.digest)
            assert (found.is_pinned, found.recording.id) == (True, "newer")
            assert int(redis_server.ask("TTL", KEY)[1:]) == -1
            await cache.pin(A.digest, is_pinned=False)
            assert not (await cache.get(A.digest)).is_pinned
            assert 3600 < int(redis_server.ask("TTL", KEY)[1:]) <= 3700
            for is_pinned in (True, False):
                await cache.pin(b"another", is_pinned=is_pinned)
            assert await cache.count(Selector()) == 1

    run(test())


def test_what_is_expired_is_stale_from_then_on(server):
    """Those that are meant, if they were not stale before."""

    async def test():
        entries = [entry_of("a"), entry_of("b", expires_at=NOW - 5), entry_of("c", tags=())]
        async with opened(server.settings) as cache:
            for entry in entries:
                cache.put(entry)
            assert await cache.expire(Selector(tag="one"), NOW) == 2
            found = [await cache.get(entry.digest) for entry in entries]
            assert [each.expires_at for each in found] == [NOW, NOW - 5, NOW + 100]

    run(test())


def test_what_has_gone_meanwhile_is_not_brought_back_by_a_change(redis_server):
    """Not even as a piece of it."""

    async def test():
        async with opened(redis_server.settings) as cache:
            await cache._overwrite(A.digest, 4, b"12345678")
            assert redis_server.ask("EXISTS", KEY) == ":0\r\n"

    run(test())


def test_a_full_server_drops_what_it_cannot_take(redis_server):
    """Counted, and no error; what is there is still found, and may be removed."""

    async def test():
        async with opened(redis_server.settings) as cache:
            cache.put(A)
            await written(cache)
            redis_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
            redis_server.ask("CONFIG", "SET", "maxmemory", "1")
            cache.put(entry_of("b"))
            cache.put(entry_of("c"))
            await written(cache)
            assert (cache.dropped, cache.failed) == (2, 0)
            assert await is_there(cache)
            assert await cache.remove(Selector()) == 1
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
            cache.put(A)
            await written(cache)
            assert (await is_there(cache), cache.dropped) == (True, 2)

    run(test())


def test_what_waits_for_a_server_that_is_gone_is_bounded(redis_server):
    """What fits is written when it is back."""

    async def test():
        async with opened(redis_server.settings, max_queued_bytes=3 * A.size) as cache:
            redis_server.kill()
            with pytest.raises(StoreFault):
                await cache.get(A.digest)
            for name in "abcde":
                cache.put(entry_of(name))
            assert (cache.queued, cache.dropped) == (3, 2)
            redis_server.start()
            await written(cache)
            found = [await is_there(cache, entry_of(name).digest) for name in "abcde"]
            assert (found, cache.failed) == ([True] * 3 + [False] * 2, 0)

    run(test())


def test_a_stop_does_not_wait_long_for_a_server_that_is_gone(redis_server, monkeypatch):
    async def test():
        monkeypatch.setattr("antiphon.drivers.redis.writing._CLOSING_SECONDS", 0.1)
        async with opened(redis_server.settings) as cache:
            redis_server.kill()
            cache.put(A)
            cache.put(entry_of("b"))
            await cache.close()
            assert (cache.queued, cache.failed) == (0, 2)

    run(test())


def test_after_it_was_away_it_is_used_again(server):
    """A new server knows nothing of what there was."""

    async def test():
        async with opened(server.settings) as cache:
            cache.put(A)
            await written(cache)
            await asyncio.to_thread(server.kill)
            assert not await is_there(cache)
            await asyncio.to_thread(server.start)

            async def is_kept():
                cache.put(A)
                await written(cache)
                return await is_there(cache)

            await eventually(is_kept)

    run(test())


def test_a_server_that_says_nothing_is_hung_up_on(redis_server, monkeypatch):
    """Nobody waits for ever, and what comes late is nobody else's."""

    async def test():
        monkeypatch.setattr("antiphon.drivers.redis.pipe._SILENT_SECONDS", 0.1)
        async with opened(redis_server.settings) as cache:
            cache.put(A)
            await written(cache)
            redis_server.pause()
            with pytest.raises(StoreFault):
                await cache.get(A.digest)
            redis_server.resume()
            assert await is_there(cache)

    run(test())


def test_one_node_that_hangs_holds_up_nobody_for_long(redis_cluster, monkeypatch):
    """After a while its keys fail at once; those of the others are found all the time."""

    async def test():
        entries = [entry_of(f"{number}") for number in range(30)]
        async with opened(redis_cluster.settings) as cache:
            for entry in entries:
                cache.put(entry)
            await written(cache)
            assert len(await cache.get_many([entry.digest for entry in entries])) == 30
            redis_cluster.nodes[0].pause()
            asked = [asyncio.ensure_future(is_there(cache, entry.digest)) for entry in entries]
            await asyncio.wait(asked, timeout=0.2)
            waiting = [entry for entry, each in zip(entries, asked, strict=True) if not each.done()]
            assert 0 < len(waiting) < 30
            assert all(each.result() for each in asked if each.done())
            pipe = cache._pipes._pipes[f"127.0.0.1:{redis_cluster.nodes[0].port}"]
            monkeypatch.setattr(pipe, "_is_stuck", True)
            with pytest.raises(TimeoutError):
                await pipe.ask(b"PING")
            redis_cluster.nodes[0].resume()
            await asyncio.gather(*asked)
            for entry in entries:
                assert await is_there(cache, entry.digest)

    run(test())


def test_a_look_up_that_nobody_waits_for_any_more_disturbs_no_other(redis_server):
    async def test():
        async with opened(redis_server.settings) as cache:
            for name in "ab":
                cache.put(entry_of(name))
            await written(cache)
            given_up = asyncio.ensure_future(cache.get(A.digest))
            other = asyncio.ensure_future(cache.get(entry_of("b").digest))
            await asyncio.sleep(0)
            given_up.cancel()
            assert (await other).identity == entry_of("b").identity

    run(test())


@pytest.mark.parametrize("wholly", [True, False], ids=["moved", "on its way"])
def test_a_slot_that_has_moved_is_followed(redis_cluster, wholly):
    """Nodes say where it is now."""

    async def test():
        async with opened(redis_cluster.settings) as cache:
            cache.put(A)
            await written(cache)
            slot = redis_cluster.nodes[0].ask("CLUSTER", "KEYSLOT", KEY)[1:].strip()
            source, target = sorted(
                redis_cluster.nodes, key=lambda node: node.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == ":0\r\n"
            )[:2]
            await asyncio.to_thread(redis_cluster.move, slot, source, target, wholly=wholly)
            assert await is_there(cache)
            assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == ":1\r\n"

    run(test())


def test_a_recording_of_a_megabyte_does_not_hold_up_the_loop_while_it_is_deflated(redis_server):
    """It is on another thread meanwhile."""

    async def test():
        async with opened(redis_server.settings) as cache:
            entry = entry_of("large", recording_of("r-large", text=b"0123456789abcdef" * 65536))
            cache.put(entry)
            await written(cache)
            assert (await cache.get(entry.digest)).recording == entry.recording

    run(test())
