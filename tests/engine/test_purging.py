"""Purging: what is meant is served by no worker any more, whatever was under way."""

import asyncio
import contextlib

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Admin, Cache, Key, MemoryLevel, Secret, Server, Storage, Timeout
from antiphon.wire.errors import StoreFault
from e2e.plain_client import plain_client
from engine.scene import CHAT, RESPONSES, Scene, gateway, number_in, outcome_of, run, send, upstream
from serving import Clock, serving, settings_for
from waiting import eventually

ADMIN = {"Authorization": "Bearer admin"}
SHARED = {"admin": Admin(key=Secret("admin")), "server": Server(port=0, workers=2)}


async def order(play, name, **members):
    """Order something as an administrator."""
    got = await play.client.post(f"/admin/v1/cache/{name}", members, **ADMIN)
    return got.status, got.json()


async def purged(play, **members):
    status, outcome = await order(play, "purge", **members)
    assert status == 200, outcome
    return outcome["expired" if members.get("soft") else "removed"]


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
    return Storage(url=request.getfixturevalue("postgres_url"))


@contextlib.asynccontextmanager
async def workers(folder, storage, count=3, answers=None, **changes):
    """Serve with several gateways that share storage and an upstream, and nothing else."""
    changes["cache"] = {"lookup_timeout": Timeout(10), **changes.get("cache", {})}
    async with contextlib.AsyncExitStack() as opened:
        simulator = await opened.enter_async_context(upstream(answers))
        yield [
            await opened.enter_async_context(
                gateway(folder, simulator, storage=storage, **{**SHARED, **changes})
            )
            for _ in range(count)
        ]


async def asked(play, *route, **changes):
    """Ask, and wait until the answer is where the other workers find it."""
    got = await play.ask(*route, **changes)
    await eventually(lambda: play.application.storage.queued == 0)
    return got


async def warm(plays, **changes):
    """Let every worker have the answer in its memory."""
    for play in plays:
        await asked(play, **changes)
    assert all(play.entries() for play in plays)


def key_of(got):
    return got.cache_status.partition('key="')[2].partition('"')[0]


def test_a_purge_reaches_the_memory_of_every_worker(tmp_path, storage):
    async def test():
        async with workers(tmp_path, storage) as plays:
            await warm(plays)
            assert plays[0].calls == 1
            assert await purged(plays[1], all=True) == 1
            assert [play.entries() for play in plays] == [[], [], []]
            assert outcome_of(await asked(plays[2])) == "miss"
            assert plays[0].calls == 2
            await warm(plays)
            assert plays[0].calls == 2

    run(test())


def test_a_purge_reaches_hosts_that_share_only_redis(tmp_path, redis_server):
    """Each has a file of its own."""
    trusting = MemoryLevel(trust=Timeout(1))
    shared = {
        "cache": Cache(store="redis", lookup_timeout=Timeout(10), memory=trusting),
        "redis": redis_server.settings,
    }

    async def test():
        async with contextlib.AsyncExitStack() as opened:
            simulator = await opened.enter_async_context(upstream())
            hosts = []
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
                settings = settings_for(tmp_path / name, simulator.base_url, **{**SHARED, **shared})
                running = await opened.enter_async_context(serving(settings))
                client = await opened.enter_async_context(plain_client(running.port))
                hosts.append(Scene(tmp_path / name, running, simulator, client))
            one, other = hosts
            for play in hosts:
                await play.ask()
                await eventually(lambda: one.application.redis_cache.queued == 0)
            assert (one.calls, len(other.entries())) == (1, 1)
            assert await purged(one, all=True) == 1
            assert other.entries() == []
            assert await other.outcome() == "miss"
            await eventually(lambda: other.application.redis_cache.queued == 0)
            await order(other, "pin", key=key_of(await one.ask()))
            assert await purged(other, all=True) == 0
            assert await purged(other, all=True, pinned=True) == 1

    run(test())


def test_each_way_to_say_what_is_meant(tmp_path):
    """And all of them together mean what matches every one."""

    async def test():
        async with workers(tmp_path, Storage(url=f"sqlite:///{tmp_path}/antiphon.db"), 2) as (one, other):
            tagged = {"headers": {"X_Antiphon_Cache_Tag": "red, blue"}}
            hello = {"messages": [{"role": "user", "content": "Hello there"}]}

            async def fill():
                for play in (one, other):
                    await play.ask(CHAT, **tagged)
                    await play.ask(CHAT, **hello)
                    await play.ask(RESPONSES)

            async def left():
                cached = {"Cache_Control": "only-if-cached"}
                outcomes = {
                    "tagged": await other.outcome(CHAT, headers={**tagged["headers"], **cached}),
                    "hello": await other.outcome(CHAT, **hello, headers=cached),
                    "response": await other.outcome(RESPONSES, headers=cached),
                }
                return [name for name, outcome in outcomes.items() if outcome == "hit"]

            await fill()
            key = key_of(await one.ask(CHAT, **hello))
            for members, expected in [
                ({"key": key}, ["tagged", "response"]),
                ({"tag": "red"}, ["hello", "response"]),
                ({"tag": "re"}, ["tagged", "hello", "response"]),
                ({"model": "up/m"}, ["tagged", "hello"]),
                ({"model": "chat/m"}, ["response"]),
                ({"prompt": "Hello"}, ["tagged", "response"]),
                ({"prompt": "Hi", "model": "chat/m"}, ["hello", "response"]),
                ({"scope": "key:alice"}, ["tagged", "hello", "response"]),
                ({"scope": "key:"}, []),
                ({"older_than": 3600}, ["tagged", "hello", "response"]),
                ({"older_than": "0s", "model": "up/m"}, ["tagged", "hello"]),
                ({"tag": "blue", "model": "up/m"}, ["tagged", "hello", "response"]),
                ({"all": True}, []),
            ]:
                await fill()
                meant = 3 - len(expected)
                assert (await order(one, "purge", **members, dry_run=True))[1] == {
                    "removed": meant,
                    "dry_run": True,
                }, members
                assert await left() == ["tagged", "hello", "response"], members
                assert await purged(one, **members) == meant, members
                assert await left() == expected, members

    run(test())


def test_a_response_is_purged_by_its_id_and_by_that_of_a_replay(tmp_path, storage):
    """Also one that is not kept, by the id that its first client saw."""

    async def test():
        async with workers(tmp_path, storage, 2) as (one, other):
            for path, body in (("first", {}), ("replay", {}), ("not kept", {"store": False})):
                first = (await asked(one, RESPONSES, **body)).json()["id"]
                again = (await asked(other, RESPONSES, **body)).json()["id"]
                assert first != again
                assert await purged(other, response=again if path == "replay" else first) == 1
                assert await one.outcome(RESPONSES, **body) == "miss"
                await purged(one, all=True)

    run(test())


UNCLEAR = [
    {},
    {"dry_run": True},
    {"all": False},
    {"all": True, "tag": "a"},
    {"all": "yes"},
    {"tag": ""},
    {"tag": 1},
    {"tag": "a\nb"},
    {"tag": "a\u0085b"},
    {"model": "p/m\0"},
    {"prompt": "a\x00"},
    {"prompt": "x" * 257},
    {"key": "xyz"},
    {"older_than": -1},
    {"older_than": "yesterday"},
    {"older_than": True},
    {"tags": "a"},
]


def test_what_is_not_said_clearly_purges_nothing(tmp_path):
    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, **SHARED) as play:
            await play.ask()
            for members in UNCLEAR:
                status, outcome = await order(play, "purge", **members)
                assert (status, outcome["error"]["code"]) == (400, "invalid_value"), members
            for body in (b"", b"[]", b"{", b'{"tag": "\\ud8"}', b'{"scope": "\\ud800"}', b"\xff"):
                got = await play.client.post("/admin/v1/cache/purge", body, **ADMIN)
                assert got.status == 400
            assert await play.outcome() == "hit"

    run(test())


def test_only_an_administrator_may(tmp_path):
    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, **SHARED) as play:
            for name in ("purge", "pin", "unpin", "wrong"):
                got = await play.client.post(
                    f"/admin/v1/cache/{name}", {"all": True}, Authorization="Bearer x"
                )
                assert got.status == 401
            async with gateway(tmp_path, simulator) as closed:
                got = await closed.client.post("/admin/v1/cache/purge", {"all": True}, **ADMIN)
                assert got.status == 403

    run(test())


def test_an_answer_that_was_under_way_is_not_stored(tmp_path, storage):
    """Neither where the purge came in, nor at another worker; and nobody joins it any more."""

    async def test():
        gate = asyncio.Event()
        held = Answer(body=b'{"id":"c","object":"chat.completion","choices":[]}', gate=gate)
        async with workers(tmp_path, storage, 2, answers=[held]) as (one, other):
            async with one.clients(1) as (client,):
                send(client)
                await one.simulator.wait_for_calls(1)
                await purged(other, all=True)
                async with one.clients(1) as (late,):
                    send(late)
                    await one.simulator.wait_for_calls(2)
                    gate.set()
                    assert outcome_of(await client.answer()) == "miss"
                    assert outcome_of(await late.answer()) == "miss"
            # The late one began after the purge: its answer is stored.
            assert await one.outcome() == "hit"
            assert one.calls == 2

    run(test())


def test_what_a_purge_does_not_mean_is_stored_and_joined_all_the_same(tmp_path, storage):
    async def test():
        gate = asyncio.Event()
        held = Answer(body=b'{"id":"c","object":"chat.completion","choices":[]}', gate=gate)
        async with workers(tmp_path, storage, 2, answers=[held]) as (one, other), one.clients(1) as (client,):
            send(client)
            await one.simulator.wait_for_calls(1)
            assert await purged(other, tag="another") == 0
            gate.set()
            assert outcome_of(await client.answer()) == "miss"
            assert await one.outcome() == "hit"

    run(test())


def test_what_was_read_from_the_second_level_just_before_is_not_served(tmp_path):
    """Nor put into memory."""

    async def test():
        async with workers(tmp_path, Storage(url=f"sqlite:///{tmp_path}/antiphon.db"), 2) as (one, other):
            await one.ask()
            await one.committed()
            read, go_on = asyncio.Event(), asyncio.Event()
            get = other.application.storage.cache.get

            async def slow_get(digest):
                entry = await get(digest)
                read.set()
                await go_on.wait()
                return entry

            other.application.storage.cache.get = slow_get
            async with other.clients(1) as (client,):
                send(client)
                await read.wait()
                await purged(one, all=True)
                go_on.set()
                assert outcome_of(await client.answer()) == "miss"
            # Nor is the new answer, which was asked for before the purge came.
            assert number_in(await other.ask()) == 3

    run(test())


def test_what_was_put_too_late_into_the_second_level_is_not_served(tmp_path):
    """By a worker that had not heard of the purge yet: it says as of when its answer is."""

    async def test():
        async with workers(tmp_path, Storage(url=f"sqlite:///{tmp_path}/antiphon.db"), 2) as (one, other):
            await one.ask()
            (entry,) = one.entries()
            await purged(one, all=True)
            one.application.storage.cache.put(entry)
            await one.committed()
            assert await other.outcome() == "miss"
            assert one.calls == 2

    run(test())


def test_a_worker_that_cannot_hear_of_purges_serves_nothing_from_the_cache(tmp_path):
    """A purge waits for it as long as it trusts its memory, and no longer; what it does then comes to it first."""

    async def test():
        trusting = {"cache": {"memory": MemoryLevel(trust=Timeout(0.4))}}
        storage = Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
        async with workers(tmp_path, storage, 2, **trusting) as (one, other):
            await warm([one, other])
            deaf = asyncio.Event()
            look = other.application.storage.changes.look

            async def unheard(reader, after):
                await deaf.wait()
                return await look(reader, after)

            other.application.storage.changes.look = unheard
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await purged(one, all=True) == 1
            assert 0.2 < loop.time() - began < 5
            assert other.entries()
            assert await other.outcome() == "miss"
            # When it hears again, what was purged is gone, and what it may have asked for before that too.
            deaf.set()
            await eventually(lambda: other.application.memory.is_trusted)
            assert number_in(await other.ask()) == 3

    run(test())


@pytest.mark.parametrize(("error", "goes_on"), [(ConnectionRefusedError(), True), (TimeoutError(), False)])
def test_memory_goes_on_where_nobody_can_purge(tmp_path, error, goes_on):
    """Because the log's server does not run; where it is only silent, others may reach it."""

    async def test():
        storage = Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
        trusting = {"cache": {"memory": MemoryLevel(trust=Timeout(0.4))}}
        async with workers(tmp_path, storage, 1, **trusting) as (play,):
            await play.ask()

            async def gone(*_):
                raise StoreFault("gone") from error

            play.application.storage.changes.look = gone
            loop = asyncio.get_running_loop()
            until = loop.time() + 1.2
            await eventually(lambda: loop.time() > until)
            assert play.application.memory.is_trusted is goes_on
            assert await play.outcome() == ("hit" if goes_on else "miss")

    run(test())


def test_a_purge_that_cannot_be_written_down_does_nothing_and_says_so(tmp_path):
    async def test():
        storage = Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
        async with workers(tmp_path, storage, 1) as (play,):
            await play.ask()
            await play.application.storage.database.close()
            status, outcome = await order(play, "purge", all=True)
            assert (status, outcome["error"]["code"]) == (503, "storage_unavailable")
            assert await play.outcome() == "hit"

    run(test())


def test_a_worker_that_was_struck_off_comes_back(tmp_path):
    """And hears of what has happened meanwhile before it serves anything."""

    async def test():
        storage = Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
        async with workers(tmp_path, storage, 2) as (one, other):
            await warm([one, other])
            await one.application.storage.changes.strike(10**9)
            assert await purged(one, all=True) == 1

            async def is_back():
                return not other.entries() and other.application.memory.is_trusted

            await eventually(is_back)
            assert await other.outcome() == "miss"

    run(test())


def test_a_soft_purge_leaves_a_stale_answer_for_those_who_take_it(tmp_path, storage):
    async def test():
        async with workers(tmp_path, storage, 2) as (one, other):
            await warm([one, other])
            assert await purged(one, all=True, soft=True) == 1
            for play in (one, other):
                assert await play.outcome(headers={"Cache_Control": "max-stale"}) == "hit"
            assert outcome_of(await asked(other)) == "stale"
            assert await one.outcome() == "hit"

    run(test())


def test_keys_are_purged_one_by_one(tmp_path):
    """By the scope that their entries have."""
    keys = tuple(Key(name=name, key=Secret(f"sk-{name}")) for name in ("alice", "bob"))

    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, keys=keys, **SHARED) as play:
            alice, bob = ({"headers": {"Authorization": f"Bearer sk-{name}"}} for name in ("alice", "bob"))
            await play.ask(**alice)
            await play.ask(**bob)
            assert await purged(play, scope="key:alice") == 1
            assert [await play.outcome(**each) for each in (alice, bob)] == ["miss", "hit"]

    run(test())


# Pinning.


def test_a_pinned_answer_does_not_expire(tmp_path, storage):
    """In memory, in the second level, and at other workers; a hit says why it is one."""
    clock = Clock()

    async def test():
        async with workers(tmp_path, storage, 2, clock=clock) as (one, other):
            await warm([one, other])
            key = key_of(await one.ask())
            assert await order(other, "pin", key=key) == (200, {"pinned": 1})
            clock.now += 3700
            for play in (one, other):
                got = await play.ask()
                assert got.is_hit
                assert "ttl=-" in got.cache_status
                assert got.cache_status.endswith("; detail=pinned")
            one.application.memory.clear()
            assert await one.outcome() == "hit"
            assert await order(one, "unpin", key=key) == (200, {"unpinned": 1})
            assert await other.outcome(headers={"Cache_Control": "no-store"}) == "bypass"
            assert await other.outcome() == "stale"

    run(test())


def test_a_client_may_still_refuse_a_pinned_answer(tmp_path):
    clock = Clock()

    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, clock=clock, **SHARED) as play:
            key = key_of([await play.ask(), await play.ask()][1])
            await order(play, "pin", key=key)
            clock.now += 3700
            for wanted in ("max-age=60", "min-fresh=1"):
                assert await play.outcome(headers={"Cache_Control": f"{wanted}, no-transform"}) == "request"
                clock.now += 3700

    run(test())


def test_a_new_answer_in_the_place_of_a_pinned_one_is_pinned(tmp_path, storage):
    clock = Clock()

    async def test():
        async with workers(tmp_path, storage, 2, clock=clock) as (one, other):
            first = await asked(one, RESPONSES)
            assert (await order(one, "pin", response=first.json()["id"]))[0] == 200
            clock.now += 10
            # The other one has never seen the entry that it replaces.
            assert await other.outcome(RESPONSES, headers={"Cache_Control": "no-cache"}) == "bypass"
            clock.now += 3700

            async def is_new():
                one.application.memory.clear()
                got = await one.ask(RESPONSES)
                return got.is_hit and number_in(got) == 2

            await eventually(is_new)
            assert await other.outcome(RESPONSES) == "hit"
            assert one.calls == 2

    run(test())


def test_a_purge_spares_what_is_pinned_unless_it_says_so_or_names_it(tmp_path, storage):
    async def test():
        async with workers(tmp_path, storage, 2) as (one, other):
            for members in ({"all": True, "pinned": True}, {"key": None}):
                await warm([one, other])
                key = key_of(await one.ask())
                await order(one, "pin", key=key)
                assert await purged(other, all=True) == 0
                assert [await play.outcome() for play in (one, other)] == ["hit", "hit"]
                assert await purged(other, **({"key": key} if "key" in members else members)) == 1
                assert outcome_of(await asked(one)) == "miss"

    run(test())


def test_a_deleted_response_is_not_kept_by_a_pin(tmp_path, storage):
    async def test():
        async with workers(tmp_path, storage, 2) as (one, other):
            response = (await asked(one, RESPONSES)).json()["id"]
            await other.ask(RESPONSES)
            await order(one, "pin", response=response)
            assert (await other.client.delete(f"/v1/responses/{response}")).status == 200
            assert await one.outcome(RESPONSES) == "miss"

    run(test())


def test_what_is_not_there_cannot_be_pinned_or_wrong(tmp_path):
    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, **SHARED) as play:
            for name in ("pin", "unpin", "wrong"):
                assert (await order(play, name, key="00" * 16))[0] == 404
                assert (await order(play, name))[0] == 400
                assert (await order(play, name, model="up/m"))[0] == 400
                assert (await order(play, name, key="00", response="r"))[0] == 400

    run(test())


def test_a_wrong_answer_goes_with_its_neighbours(tmp_path, storage):
    async def test():
        async with workers(tmp_path, storage, 2) as (one, other):
            about = [{"messages": [{"role": "user", "content": f"Question {n}"}]} for n in range(3)]
            for each in about:
                await warm([one, other], **each)
            keys = [key_of(await one.ask(**each)) for each in about]
            await order(one, "pin", key=keys[0])
            heard = []

            async def on_wrong(entry):
                heard.append(entry.digest.hex())
                return [bytes.fromhex(keys[1]), entry.digest]

            other.application.curating.on_wrong = on_wrong
            assert await order(other, "wrong", key=keys[0]) == (200, {"removed": 1, "neighbours": 1})
            assert heard == [keys[0]]
            outcomes = [await one.outcome(**each) for each in about]
            assert outcomes == ["miss", "miss", "hit"]

    run(test())


# Looking.


def test_entries_and_totals_are_shown(tmp_path):
    async def test():
        async with upstream() as simulator, gateway(tmp_path, simulator, **SHARED) as play:
            await play.ask(headers={"X_Antiphon_Cache_Tag": "red"})
            await play.ask(RESPONSES)
            await play.committed()
            got = (await play.client.get("/admin/v1/cache/entries?model=chat/m", **ADMIN)).json()
            (entry,) = got["data"]
            assert (entry["target"], entry["tags"], entry["prompt"]) == ("chat/m", ["red"], "Hi")
            assert len(bytes.fromhex(entry["key"])) == 16
            both = (await play.client.get("/admin/v1/cache/entries", **ADMIN)).json()["data"]
            assert [each["target"] for each in both] == ["up/m", "chat/m"]
            assert (
                len((await play.client.get("/admin/v1/cache/entries?limit=1", **ADMIN)).json()["data"]) == 1
            )
            assert (await play.client.get("/admin/v1/cache/entries?limit=0", **ADMIN)).status == 400
            stats = (await play.client.get("/admin/v1/cache/stats", **ADMIN)).json()
            for level in ("memory", "stored"):
                assert stats[level]["entries"] == 2
                assert stats[level]["models"]["chat/m"]["entries"] == 1

    run(test())
