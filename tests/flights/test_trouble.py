"""The place where flights are shared vanishes, falls silent or starts again: clients get their answers all the same."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer, samples
from antiphon.settings import Storage, Timeout
from engine.scene import run, upstream
from flights.hosts import ask_later, following, hosts, sharing_of
from waiting import eventually

FRAMES = samples.chat_frames(8)
WHOLE = b"".join(FRAMES)
HURRIED = {"lookup_timeout": Timeout(1.0)}


class RedisTrouble:
    def __init__(self, request):
        self._server = request.getfixturevalue("redis_server")
        self.place = {"redis": self._server.settings}
        self._is_gone = False

    def begin(self):
        self._server.kill()
        self._is_gone = True

    def end(self):
        if self._is_gone:
            self._server.start()
            self._is_gone = False


class PausedRedis(RedisTrouble):
    def begin(self):
        self._server.pause()

    def end(self):
        self._server.resume()


class PostgresTrouble:
    def __init__(self, request):
        self._server = request.getfixturevalue("postgres_server")
        self.place = {"storage": Storage(url=request.getfixturevalue("postgres_url"))}

    def begin(self):
        self._server.restart()

    def end(self):
        pass


KINDS = {"redis killed": RedisTrouble, "redis paused": PausedRedis, "postgres crashed": PostgresTrouble}


@pytest.fixture(params=KINDS)
def trouble(request):
    made = KINDS[request.param](request)
    yield made
    made.end()


def test_who_asks_meanwhile_is_answered(tmp_path, trouble):
    """By the upstream, without waiting for long."""

    async def test():
        cache = {"lookup_timeout": Timeout(0.05)}
        async with (
            upstream([Answer(frames=FRAMES)]) as simulator,
            hosts(tmp_path, simulator, trouble.place, cache=cache) as made,
        ):
            await asyncio.to_thread(trouble.begin)
            for number in range(5):
                for host in made:
                    got = await host.ask(stream=True, seed=number)
                    assert (got.status, got.body) == (200, WHOLE)
            assert len(simulator.calls) >= 5

    run(test())


def test_who_follows_asks_for_itself_if_it_has_told_nothing(tmp_path, trouble):
    gate = asyncio.Event()

    async def test():
        held, given = Answer(frames=FRAMES, gate=gate), Answer(frames=FRAMES)
        async with (
            upstream([held, given]) as simulator,
            hosts(tmp_path, simulator, trouble.place, cache=HURRIED) as (first, second),
        ):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            ask_later(second, stream=True)
            await following(second)
            await asyncio.to_thread(trouble.begin)
            await simulator.wait_for_calls(2)
            gate.set()
            for host in (first, second):
                assert (await host.client.answer()).body == WHOLE

    run(test())


def test_a_stream_that_was_followed_is_broken_and_its_leaders_is_not(tmp_path, trouble):
    gate = asyncio.Event()

    async def test():
        held = Answer(frames=FRAMES, gate=gate, gate_at=3)
        async with (
            upstream([held]) as simulator,
            hosts(tmp_path, simulator, trouble.place) as (first, second),
        ):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            ask_later(second, stream=True)
            _, headers = await second.client.head()
            await asyncio.to_thread(trouble.begin)
            told = await second.client.rest(headers)
            assert told.startswith(b"".join(FRAMES[:3]))
            assert b'"error"' in told
            assert b"[DONE]" not in told
            gate.set()
            assert (await first.client.answer()).body == WHOLE
            assert sharing_of(second).followed == 0

    run(test())


def test_afterwards_it_is_as_before(tmp_path, trouble):
    async def test():
        answers = [Answer(frames=FRAMES)]
        cache = {"lookup_timeout": Timeout(0.2)}
        async with (
            upstream(answers) as simulator,
            hosts(tmp_path, simulator, trouble.place, cache=cache) as (first, second),
        ):
            await asyncio.to_thread(trouble.begin)
            await first.ask(stream=True)
            await asyncio.to_thread(trouble.end)
            seeds = iter(range(1000))

            async def is_shared():
                gate = asyncio.Event()
                calls = len(simulator.calls)
                simulator.answer(Answer(frames=FRAMES, gate=gate))
                seed = next(seeds)
                ask_later(first, stream=True, seed=seed)
                await simulator.wait_for_calls(calls + 1)
                ask_later(second, stream=True, seed=seed)
                await eventually(lambda: sharing_of(second).followed or len(simulator.calls) > calls + 1)
                gate.set()
                for host in (first, second):
                    assert (await host.client.answer()).body == WHOLE
                return len(simulator.calls) == calls + 1

            await eventually(is_shared)

    run(test())


def test_a_short_silence_is_outlived(tmp_path, request):
    """A follower's stream goes on where it was."""
    gate = asyncio.Event()
    trouble = PausedRedis(request)

    async def test():
        held = Answer(frames=FRAMES, gate=gate, gate_at=3)
        async with (
            upstream([held]) as simulator,
            hosts(tmp_path, simulator, trouble.place) as (first, second),
        ):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            ask_later(second, stream=True)
            _, headers = await second.client.head()
            trouble.begin()
            gate.set()
            assert (await first.client.answer()).body == WHOLE
            trouble.end()
            assert await second.client.rest(headers) == WHOLE

    run(test())


def test_who_leads_without_knowing_it_is_followed_all_the_same(tmp_path, place):
    """Its claim was granted, but it heard of that too late, and asked the upstream meanwhile."""
    gate, never = asyncio.Event(), asyncio.Event()

    async def test():
        cache = {"lookup_timeout": Timeout(0.2)}
        async with (
            upstream([Answer(frames=FRAMES, gate=gate)]) as simulator,
            hosts(tmp_path, simulator, place, cache=cache) as (first, second),
        ):
            flights = sharing_of(first)._place
            claim = flights.claim

            async def heard_too_late(*claimed):
                await claim(*claimed)
                await never.wait()

            flights.claim = heard_too_late
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            assert sharing_of(first).alone == 1
            sharing_of(second)._timeout = 10.0
            ask_later(second, stream=True)
            await following(second)
            gate.set()
            got = [await host.client.answer() for host in (first, second)]
            assert [each.body for each in got] == [WHOLE, WHOLE]
            assert ["collapsed" in each.cache_status for each in got] == [False, True]
            assert len(simulator.calls) == 1

    run(test())


def test_who_stops_hands_over_at_once(tmp_path, place):
    """Who follows need not wait for the lease."""
    gate = asyncio.Event()

    async def test():
        answers = [Answer(frames=FRAMES, gate=gate), Answer(frames=FRAMES)]
        async with (
            upstream(answers) as simulator,
            hosts(tmp_path, simulator, place) as (first, second),
        ):
            ask_later(first, stream=True)
            await simulator.wait_for_calls(1)
            ask_later(second, stream=True)
            await following(second)
            stopping = asyncio.ensure_future(first.running.stop(0.1))
            assert (await second.client.answer()).body == WHOLE
            assert (await first.client.answer()).status == 503
            await stopping
            assert len(simulator.calls) == 2

    run(test())
