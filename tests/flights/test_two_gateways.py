"""Equal requests in flight on several hosts share one upstream call."""

import asyncio
import contextlib

import pytest

from antiphon.drivers.simulator import Answer, Fault, samples
from antiphon.settings import Duration, Key, Secret
from e2e.plain_client import plain_client
from engine.scene import ASKED, CHAT, RESPONSES, run, send, upstream, usage_frame
from engine.test_coalescing import answer_for, frames_for, frames_from, plain, text_in
from flights.hosts import ask_later, following, hosts, is_told, place_of, sharing_of
from serving import Clock
from waiting import eventually

MIXES = {
    "JSON and JSON": (False, False),
    "stream and stream": (True, True),
    "JSON and stream": (False, True),
    "stream and JSON": (True, False),
}
ONE_PLACE = pytest.mark.parametrize("place", ["redis"], indirect=True)
"""For what no place has a hand in."""
KEYS = tuple(Key(name=name, project="p", key=Secret(f"{name}-key")) for name in ("alice", "bob"))


# One call.


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_two_hosts_share_one_call(tmp_path, place, path, mix):
    """The upstream is asked in the form of the first, which alone is not `collapsed`."""
    streams = MIXES[mix]
    gate = asyncio.Event()

    async def test():
        answer = answer_for(path, stream=streams[0], gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, path, stream=streams[0])
            await simulator.wait_for_calls(1)
            ask_later(second, path, stream=streams[1])
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]

            assert len(simulator.calls) == 1
            assert [each.status for each in got] == [200, 200]
            assert ["collapsed" in each.cache_status for each in got] == [False, True]
            assert text_in(got[0]) == text_in(got[1])
            if streams[0] is streams[1]:
                assert plain(got[0].body) == plain(got[1].body)

    run(test())


@pytest.mark.parametrize("kind", ["cluster", "sqlite"])
def test_the_nodes_of_a_cluster_and_the_file_of_one_host_will_do(tmp_path, request, kind):
    """Also for who comes in the middle."""
    gate = asyncio.Event()

    async def test():
        place = place_of(request, kind)
        answer = answer_for(CHAT, stream=True, gate=gate, gate_at=4)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            await eventually(lambda: simulator.calls[0].parts_sent == 4)
            ask_later(second, stream=True)
            await eventually(lambda: told_to(second) == 4)
            gate.set()
            assert (await second.client.answer()).body == (await first.client.answer()).body
            assert len(simulator.calls) == 1

    run(test())


def test_fifty_requests_on_three_hosts(tmp_path, place):
    """JSON and streams, all at once."""
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=True, gate=gate)
        async with (
            upstream(lambda _: answer) as simulator,
            hosts(tmp_path, simulator, place, 3) as made,
            contextlib.AsyncExitStack() as stack,
        ):
            clients, counted = [], [Counted(host) for host in made]
            for number in range(50):
                host = made[number % 3]
                client = await stack.enter_async_context(plain_client(host.running.port))
                send(client, stream=number % 5 != 1)
                clients.append(client)
            await eventually(lambda: sum(sharing_of(host).followed for host in made) == 2)
            gate.set()
            got = await asyncio.gather(*(client.answer() for client in clients))
            assert len(simulator.calls) == 1
            assert {each.status for each in got} == {200}
            assert ["collapsed" in each.cache_status for each in got].count(False) == 1
            assert len({text_in(each) for each in got}) == 1
            rows = [row for each in counted for row in await each.results()]
            assert sorted(rows) == ["collapsed"] * 49 + ["miss"]

    run(test())


def told_to(host):
    """How many frames a host has that it follows."""
    return sum(len(live.recording.frames) for live in host.application.producing._live if live.is_followed)


class Counted:
    """What the ledger of a host is told from now on, by the result of the cache."""

    def __init__(self, host):
        self._accounts = host.application.accounts
        self._observe, self._accounts._observe = self._accounts._observe, self._note
        self._seen = []

    def _note(self, rows, *more):
        self._seen.extend(row.cache for row in rows)
        self._observe(rows, *more)

    async def results(self):
        await self._accounts.flush()
        return sorted(self._seen)


# Coming late.


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("at", [1, 5])
def test_who_comes_late_gets_what_there_was_and_then_the_rest(tmp_path, place, path, at):
    """While the answer is made, not only when it is over."""
    frames = frames_for(path)
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames, gate=gate, gate_at=at)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, path, stream=True)
            await simulator.wait_for_calls(1)
            await eventually(lambda: simulator.calls[0].parts_sent == at)
            ask_later(second, path, stream=True)
            for host in (first, second):
                await host.client.head()
            begun = [await frames_from(host.client, at) for host in (first, second)]
            gate.set()
            rest = [await frames_from(host.client, len(frames) - at) for host in (first, second)]
            got = [plain(b"".join([*before, *after])) for before, after in zip(begun, rest, strict=True)]
            assert got == [b"".join(frames).replace(b"resp_simulated", b"resp_own")] * 2
            assert len(simulator.calls) == 1

    run(test())


def test_who_comes_just_after_the_end_asks_nobody(tmp_path, place):
    """The answer may not be in the second level yet; whoever has it tells it once more."""

    async def test():
        async with upstream() as simulator, hosts(tmp_path, simulator, place) as (first, second):
            level = first.application.second_level
            level.put = lambda entry: None  # as if it took its time
            await first.ask(stream=True)
            got = await second.ask(stream=True)
            assert got.cache_status == "antiphon; fwd=miss; collapsed"
            assert len(simulator.calls) == 1
            assert sharing_of(second).followed == 0

    run(test())


@ONE_PLACE
def test_what_was_purged_is_told_to_nobody(tmp_path, place):
    """Not even just after its end."""

    async def test():
        async with upstream() as simulator, hosts(tmp_path, simulator, place) as (first, second):
            first.application.second_level.put = lambda entry: None
            await first.ask()
            first.application.memory.clear()
            assert (await second.ask()).cache_status == "antiphon; fwd=miss; stored"
            assert len(simulator.calls) == 2

    run(test())


@ONE_PLACE
def test_what_has_expired_is_told_to_nobody(tmp_path, place):
    clock = Clock()

    async def test():
        async with (
            upstream() as simulator,
            hosts(tmp_path, simulator, place, clock=clock) as (first, second),
        ):
            first.application.second_level.put = lambda entry: None
            await first.ask(cache={"ttl": 1})
            clock.now += 2
            assert (await second.ask()).cache_status == "antiphon; fwd=miss; stored"
            assert len(simulator.calls) == 2

    run(test())


@ONE_PLACE
def test_who_wants_no_old_answer_follows_nobody(tmp_path, place):
    """What is followed may have ended just now."""

    async def test():
        async with upstream() as simulator, hosts(tmp_path, simulator, place) as (first, second):
            first.application.second_level.put = lambda entry: None
            await first.ask()
            got = await second.ask(headers={"Cache_Control": "max-age=0"})
            assert got.cache_status == "antiphon; fwd=miss; stored"
            assert len(simulator.calls) == 2

    run(test())


def test_the_next_request_is_a_hit_on_either(tmp_path, place):
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=True, gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as made:
            for host in made:
                ask_later(host, stream=True)
            await eventually(lambda: sum(sharing_of(host).followed for host in made) == 1)
            gate.set()
            for host in made:
                await host.client.answer()
            await eventually(lambda: all(is_written(host) for host in made))
            for host in made:
                assert [await host.outcome(stream=stream) for stream in (True, False)] == ["hit", "hit"]
            assert len(simulator.calls) == 1

    run(test())


@ONE_PLACE
def test_hosts_refresh_an_expired_answer_once(tmp_path, place):
    clock, gate = Clock(), asyncio.Event()
    lifetimes = {"ttl": Duration(10), "stale_while_revalidate": Duration(100)}

    async def test():
        async with (
            upstream([answer_for(CHAT, stream=False)]) as simulator,
            hosts(tmp_path, simulator, place, clock=clock, cache=lifetimes) as (first, second),
        ):
            await first.ask()
            await eventually(lambda: is_written(first))
            assert await second.outcome() == "hit"
            clock.now += 20
            simulator.answer(answer_for(CHAT, stream=False, gate=gate))
            assert "ttl=-" in (await first.ask()).cache_status
            await simulator.wait_for_calls(2)
            assert "ttl=-" in (await second.ask()).cache_status
            await following(second)
            gate.set()

            async def is_fresh():
                return "ttl=10" in (await second.ask()).cache_status

            await eventually(is_fresh)
            assert len(simulator.calls) == 2

    run(test())


def is_written(host):
    application = host.application
    return (application.redis_cache or application.storage).queued == 0


# Who may not.


@ONE_PLACE
def test_other_owners_never_share(tmp_path, place):
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with (
            upstream([answer]) as simulator,
            hosts(tmp_path, simulator, place, keys=KEYS, cache={"scope": "global"}) as (first, second),
        ):
            ask_later(first, headers={"Authorization": "Bearer alice-key"})
            await simulator.wait_for_calls(1)
            ask_later(second, headers={"Authorization": "Bearer bob-key"})
            await simulator.wait_for_calls(2)
            gate.set()
            for host in (first, second):
                assert (await host.client.answer()).cache_status == "antiphon; fwd=miss; stored"

    run(test())


@ONE_PLACE
@pytest.mark.parametrize("control", ["no-store", "no-cache"])
def test_who_wants_a_fresh_answer_gets_one(tmp_path, place, control):
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first)
            await simulator.wait_for_calls(1)
            ask_later(second, headers={"Cache_Control": control})
            await simulator.wait_for_calls(2)
            gate.set()
            got = await second.client.answer()
            assert f"fwd=bypass; stored; detail={control}".replace(
                "; stored", "; stored" if control == "no-cache" else ""
            ) in (got.cache_status)
            await first.client.answer()

    run(test())


@ONE_PLACE
def test_only_if_cached_waits_for_nobody(tmp_path, place):
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first)
            await simulator.wait_for_calls(1)
            assert (await second.ask(headers={"Cache_Control": "only-if-cached"})).status == 504
            gate.set()
            await first.client.answer()

    run(test())


@ONE_PLACE
def test_workers_may_be_left_for_themselves(tmp_path, place):
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with (
            upstream([answer]) as simulator,
            hosts(tmp_path, simulator, place, cache={"in_flight": "worker"}) as (first, second),
        ):
            for host in (first, second):
                ask_later(host)
            await simulator.wait_for_calls(2)
            gate.set()
            for host in (first, second):
                assert (await host.client.answer()).cache_status == "antiphon; fwd=miss; stored"

    run(test())


# What goes wrong upstream.


@ONE_PLACE
@pytest.mark.parametrize("mix", MIXES)
def test_the_upstreams_error_is_everybodys(tmp_path, place, mix):
    """As it is for those who wait on one host."""
    streams = MIXES[mix]
    gate = asyncio.Event()
    body = b'{"error":{"message":"Slow down","type":"rate_limit","code":"slow"}}'

    async def test():
        answer = Answer(status=429, body=body, headers=(("retry-after", "7"),), gate=gate)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, stream=streams[0])
            await simulator.wait_for_calls(1)
            ask_later(second, stream=streams[1])
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]
            assert [(each.status, each.body, each.headers["retry-after"]) for each in got] == [
                (429, body, "7")
            ] * 2
            assert got[1].cache_status == "antiphon; fwd=miss; fwd-status=429; collapsed"
            assert len(simulator.calls) == 1

    run(test())


@ONE_PLACE
@pytest.mark.parametrize("streams", [(True, True), (True, False)], ids=["stream", "JSON"])
def test_a_stream_that_broke_off_is_broken_for_everybody(tmp_path, place, streams):
    gate = asyncio.Event()

    async def test():
        frames = samples.chat_frames(8)
        answer = Answer(frames=frames, gate=gate, gate_at=3, fault=Fault.RESET_BETWEEN_FRAMES, at=5)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            ask_later(second, stream=streams[1])
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]
            if streams[1]:
                assert got[0].body == got[1].body
                assert b"[DONE]" not in got[1].body
            else:
                assert got[1].status == 502
            assert len(simulator.calls) == 1
            assert await second.outcome(stream=True) == "miss"

    run(test())


# Leaving.


def test_who_has_asked_may_leave_while_another_host_listens(tmp_path, place):
    """The ledger has what it cost once, with who asked."""
    gate = asyncio.Event()
    *frames, done = samples.chat_frames(8)

    async def test():
        answer = Answer(frames=[*frames, usage_frame(), done], gate=gate, gate_at=3)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            counted = [Counted(host) for host in (first, second)]
            async with plain_client(first.running.port) as leaver:
                send(leaver, stream=True)
                await simulator.wait_for_calls(1)
                ask_later(second, stream=True)
                await second.client.head()
                leaver.leave()
                await eventually(lambda: first.application.producing._unpaid)
            assert first.waiting() == 1
            gate.set()
            body = await second.client.rest({})
            assert body.endswith(done)
            assert not simulator.calls[0].aborted
            assert [await each.results() for each in counted] == [["miss"], ["collapsed"]]

    run(test())


def test_when_the_last_one_on_any_host_has_left_the_upstream_is_closed(tmp_path, place):
    """Within a second."""
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames_for(CHAT), gate=gate, gate_at=3)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            async with plain_client(first.running.port) as leader, plain_client(second.running.port) as other:
                send(leader, stream=True)
                await simulator.wait_for_calls(1)
                send(other, stream=True)
                await other.head()
                leader.leave()
                await first.listening(1)
                assert not simulator.calls[0].aborted
                other.leave()
                await eventually(lambda: simulator.calls[0].aborted, within=1)
            assert second.application.producing.count == 0
            await eventually(lambda: sharing_of(first).led == 0)

    run(test())


def test_who_follows_may_leave(tmp_path, place):
    """Nobody else notices, and who comes again follows again from the beginning."""
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames_for(CHAT), gate=gate, gate_at=3)
        async with upstream([answer]) as simulator, hosts(tmp_path, simulator, place) as (first, second):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            for _ in range(2):
                async with plain_client(second.running.port) as leaver:
                    send(leaver, stream=True)
                    await leaver.head()
                await following(second, 0)
                await eventually(lambda: not is_told(first))
            ask_later(second, stream=True)
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]
            assert got[0].body == got[1].body
            assert len(simulator.calls) == 1

    run(test())


@ONE_PLACE
def test_a_slow_follower_holds_up_nobody(tmp_path, place):
    """It gets everything, as it reads."""
    frames = samples.chat_frames(4)
    large = [
        frames[0],
        *([frames[1].replace(b'"content":"', b'"content":"' + b"x" * 60_000)] * 64),
        *frames[2:],
    ]

    async def test():
        async with (
            upstream([Answer(frames=large)]) as simulator,
            hosts(tmp_path, simulator, place) as (first, second),
            plain_client(second.running.port, receive_buffer=4096) as slow,
        ):
            gate = asyncio.Event()
            simulator.answer(Answer(frames=large, gate=gate, gate_at=1))
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            send(slow, stream=True)
            await following(second)
            gate.set()
            got = await first.client.answer()
            assert got.body == b"".join(large)
            _, headers = await slow.head()
            assert await slow.rest(headers) == got.body

    run(test())


@ONE_PLACE
def test_an_answer_beyond_the_bound_is_asked_for_again(tmp_path, place):
    """Nobody has more of it in the shared place than an entry may have."""
    gate = asyncio.Event()

    async def test():
        async with (
            upstream([answer_for(CHAT, stream=False, gate=gate)]) as simulator,
            hosts(tmp_path, simulator, place, cache={"max_entry_bytes": 100}) as (first, second),
        ):
            ask_later(first)
            await simulator.wait_for_calls(1)
            ask_later(second)
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]
            assert [each.status for each in got] == [200, 200]
            assert got[1].cache_status == "antiphon; fwd=miss"
            assert len(simulator.calls) == 2
            assert (ASKED[CHAT]["model"], len({each.body for each in got})) == ("chat/m", 1)

    run(test())
