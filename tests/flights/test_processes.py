"""Gateways that die or freeze while others follow what they record: processes of their own, killed from outside."""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from antiphon.drivers.simulator import Answer, samples
from cli.served import serving
from e2e.plain_client import plain_client
from engine.scene import run, upstream
from flights.hosts import place_of

PATH = "/v1/chat/completions"
ASKED = {"model": "chat/m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
FRAMES = samples.chat_frames(8)
CASES = [
    pytest.param("redis", signal.SIGKILL, id="redis-killed"),
    pytest.param("redis", signal.SIGSTOP, id="redis-frozen"),
    pytest.param("postgres", signal.SIGKILL, id="postgres-killed"),
]


@contextlib.asynccontextmanager
async def processes(folder: Path, simulator, place, count=2):
    """Start gateways, with a client of each."""
    cache = {"lookup_timeout": "10s"}
    if "redis" in place:
        sections = {"redis": {"url": place["redis"].url}, "cache": {**cache, "store": "redis"}}
    else:
        sections = {"storage": {"url": place["storage"].url}, "cache": cache}
    sections["providers"] = {"chat": {"type": "openai-chat", "base_url": simulator.base_url, "models": []}}
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for number in range(count):
            own = folder / f"process-{number}"
            own.mkdir()
            served = await stack.enter_async_context(serving(own, simulator.base_url, **sections))
            made.append((served, await stack.enter_async_context(plain_client(served.port))))
        yield made


async def asking(simulator, client, calls=1):
    client.send("POST", PATH, ASKED)
    await simulator.wait_for_calls(calls)


async def is_followed(simulator, client):
    """Ask a host, and give it the time that it would need to ask the upstream."""
    client.send("POST", PATH, ASKED)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await simulator.wait_for_calls(2)
    assert len(simulator.calls) == 1


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_a_leader_that_is_gone_before_it_told_anything_is_replaced(tmp_path, request, kind, how):
    """Who had followed asks the upstream itself, and its client notices nothing but the time."""
    place = place_of(request, kind)
    gate = asyncio.Event()

    async def test():
        held, given = Answer(frames=FRAMES, gate=gate), Answer(frames=FRAMES)
        async with (
            upstream([held, given]) as simulator,
            processes(tmp_path, simulator, place) as ((leader, first), (_, second)),
        ):
            await asking(simulator, first)
            await is_followed(simulator, second)
            leader.process.send_signal(how)
            got = await second.answer()
            assert got.body == b"".join(FRAMES)
            assert got.cache_status == "antiphon; fwd=miss"
            assert len(simulator.calls) == 2
            if how is signal.SIGSTOP:
                # It is fenced, and what its own client waits for comes all the same.
                leader.process.send_signal(signal.SIGCONT)
                gate.set()
                assert (await first.answer()).body == b"".join(FRAMES)
                assert (await second.post(PATH, ASKED)).is_hit

    run(test())


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_a_leader_that_is_gone_in_the_middle_leaves_a_broken_stream(tmp_path, request, kind, how):
    """Honestly said; nothing of it is kept, and the next request asks anew."""
    place = place_of(request, kind)
    gate = asyncio.Event()

    async def test():
        held, given = Answer(frames=FRAMES, gate=gate, gate_at=3), Answer(frames=FRAMES)
        async with (
            upstream([held, given]) as simulator,
            processes(tmp_path, simulator, place) as ((leader, first), (_, second)),
        ):
            await asking(simulator, first)
            second.send("POST", PATH, ASKED)
            _, headers = await second.head()
            assert headers["cache-status"] == "antiphon; fwd=miss; collapsed"
            leader.process.send_signal(how)
            told = await second.rest(headers)
            assert told.startswith(b"".join(FRAMES[:3]))
            assert b'"error"' in told
            assert b"[DONE]" not in told
            assert (await second.post(PATH, ASKED)).cache_status == "antiphon; fwd=miss"
            assert len(simulator.calls) == 2

    run(test())


def test_the_workers_of_one_host_ask_once(tmp_path):
    """Whichever of them a request comes to, and however late."""
    gate = asyncio.Event()

    async def test():
        sections = {
            "providers": {"chat": {"type": "openai-chat", "base_url": "", "models": []}},
            "cache": {"lookup_timeout": "10s"},
        }
        async with upstream([Answer(frames=FRAMES, gate=gate, gate_at=3)]) as simulator:
            sections["providers"]["chat"]["base_url"] = simulator.base_url
            async with (
                serving(tmp_path, simulator.base_url, "--workers", "3", **sections) as served,
                contextlib.AsyncExitStack() as stack,
            ):
                connecting = [stack.enter_async_context(plain_client(served.port)) for _ in range(24)]
                clients = [await each for each in connecting]
                for client in clients:
                    client.send("POST", PATH, ASKED)
                heads = [await client.head() for client in clients]
                gate.set()
                got = [
                    await client.rest(headers) for client, (_, headers) in zip(clients, heads, strict=True)
                ]
                assert set(got) == {b"".join(FRAMES)}
                told = [headers["cache-status"] for _, headers in heads]
                assert sorted(set(told)) == ["antiphon; fwd=miss", "antiphon; fwd=miss; collapsed"]
                assert told.count("antiphon; fwd=miss") == len(simulator.calls) == 1

    run(test())
