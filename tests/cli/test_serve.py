"""`antiphon serve` as a process: started, stopped, killed, refused."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import stat

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.drivers.simulator.samples import chat_body, chat_frames, responses_frames
from cli.served import serving, starting
from gateway.wire import wire
from waiting import PATIENCE, eventually

CHAT = {"model": "up/gpt-test", "messages": []}
RESPONSES = {"model": "up/gpt-test", "input": "Hi"}


def run(scenario):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await scenario

    asyncio.run(within_reason())


def rows(folder, query):
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as database:
        return database.execute(query).fetchall()


async def is_refused(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return False


async def until_refused(port):
    async with asyncio.timeout(PATIENCE):
        while not await is_refused(port):
            pass


def test_sigterm_lets_live_answers_finish(tmp_path):
    """D7: nobody new, idle connections end, streams go on to their end; every write is on disk; exit code 0."""
    gate = asyncio.Event()
    frames = chat_frames(8)

    async def scenario():
        async with (
            Simulator([Answer(body=chat_body(900)), Answer(frames=frames, gate=gate, gate_at=3)]) as upstream,
            serving(tmp_path, upstream.base_url) as served,
            wire(served.port) as idle,
            wire(served.port) as live,
        ):
            assert (await idle.ask("POST", "/v1/chat/completions", CHAT)).status == 200
            live.request("POST", "/v1/chat/completions", {**CHAT, "stream": True, "n": 1})
            _, headers = await live.head()
            for name in ("antiphon.db", "antiphon.db-wal", "antiphon.db-shm"):
                assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
            served.process.send_signal(signal.SIGTERM)
            assert await idle.rest() == b""
            await until_refused(served.port)
            assert served.process.returncode is None
            gate.set()
            assert await live.body(headers) == b"".join(frames)
            assert await live.rest() == b""
            assert await served.ended() == 0
            assert served.events("stopping") == []
            logged = [line for line in map(json.loads, served.lines[1:]) if line["event"] == "request"]
            assert [(line["status"], line["cache"]) for line in logged] == [(200, "miss")] * 2

    run(scenario())
    assert rows(tmp_path, "SELECT count(*) FROM cache_entries") == [(2,)]
    assert rows(tmp_path, "SELECT status, cache, error FROM usage") == [(200, "miss", None)] * 2


def test_after_the_deadline_live_answers_are_broken_off(tmp_path):
    """Each dialect says so in its own way, nothing broken is kept, every write is on disk; exit code 0."""
    gate = asyncio.Event()

    def answer(received):
        if b'"stream":true' not in received.body.replace(b" ", b""):
            return Answer(body=chat_body(900), gate=gate)
        make = responses_frames if received.path.endswith("/responses") else chat_frames
        return Answer(frames=make(12), gate=gate, gate_at=4)

    async def scenario():
        async with (
            Simulator(answer) as upstream,
            serving(tmp_path, upstream.base_url, server={"port": 0, "shutdown_timeout": "100ms"}) as served,
            wire(served.port) as chat,
            wire(served.port) as responses,
            wire(served.port) as plain,
        ):
            chat.request("POST", "/v1/chat/completions", {**CHAT, "stream": True})
            responses.request("POST", "/v1/responses", {**RESPONSES, "stream": True})
            plain.request("POST", "/v1/chat/completions", {**CHAT, "n": 1})
            heads = [await chat.head(), await responses.head()]
            await upstream.wait_for_calls(3)
            served.process.send_signal(signal.SIGTERM)
            of_chat = (await chat.body(heads[0][1])).split(b"\n\n")
            assert json.loads(of_chat[-2].removeprefix(b"data: "))["error"]["code"] == "shutting_down"
            assert b"[DONE]" not in b"".join(of_chat)
            of_responses = (await responses.body(heads[1][1])).decode().split("\n\n")
            failed = [frame for frame in of_responses if frame.startswith("event: response.failed")]
            assert "shutting_down" in failed[0]
            assert "response.completed" not in "".join(of_responses)
            assert (await plain.answer()).error == (503, "shutting_down")
            assert await served.ended() == 0
            assert served.events("stopping") == ["stopping: 3 answers are broken off"]

    run(scenario())
    assert rows(tmp_path, "SELECT count(*) FROM cache_entries") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM responses") == [(0,)]
    assert rows(tmp_path, "SELECT error FROM usage") == [("shutting_down",)] * 3


async def worker_of(port):
    """Ask on a new connection; return what the ids of the worker that answers begin with."""
    async with wire(port) as client:
        answer = await client.ask("POST", "/v1/responses", b"{")
        assert answer.status == 400
        return answer.headers["x-request-id"][:20]


async def workers_of(port, count):
    """Ask until so many workers have answered."""
    seen = set()
    async with asyncio.timeout(PATIENCE):
        while len(seen) < count:
            seen.add(await worker_of(port))
    return seen


def test_workers_share_a_port_and_are_started_again(tmp_path):
    """Both answer; one that is killed is replaced while the other goes on; SIGTERM ends all."""

    async def scenario():
        async with (
            Simulator(Answer(body=chat_body(900))) as upstream,
            serving(tmp_path, upstream.base_url, "--workers", "2") as served,
        ):
            before = await workers_of(served.port, 2)
            pids = [int(event.split()[1]) for event in served.events("worker")]
            assert len(pids) == 2
            os.kill(pids[0], signal.SIGKILL)
            await eventually(lambda: len(served.events("worker")) == 4)
            ended, ready = served.events("worker")[2:]
            assert ended == f"worker {pids[0]} ended with code -9 and is started again"
            after = await workers_of(served.port, 2)
            assert len(before & after) == 1
            async with wire(served.port) as client:
                assert (await client.ask("POST", "/v1/chat/completions", CHAT)).status == 200
            assert await served.stop() == 0
            for pid in (pids[1], int(ready.split()[1])):
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)

    run(scenario())
    assert rows(tmp_path, "SELECT count(*) FROM cache_entries") == [(1,)]


def test_workers_do_not_outlive_their_parent(tmp_path):
    """When it is killed they stop by themselves, and the port is free."""

    async def scenario():
        async with serving(tmp_path, "http://127.0.0.1:9/v1", "--workers", "2") as served:
            served.process.kill()
            assert await served.ended() == -signal.SIGKILL
            await until_refused(served.port)

    run(scenario())


def test_sigint_stops_too(tmp_path):
    """As somebody at a terminal expects."""

    async def scenario():
        async with serving(tmp_path, "http://127.0.0.1:9/v1") as served:
            served.process.send_signal(signal.SIGINT)
            assert await served.ended() == 0

    run(scenario())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_line(tmp_path, workers):
    """Also where the other one shares it: two gateways on a port would each get some of the requests."""

    async def scenario():
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            arguments = ("--port", str(port), "--workers", workers)
            async with starting(tmp_path, "http://127.0.0.1:9/v1", *arguments) as served:
                assert await served.ended() == 2
                assert served.lines == [
                    f"antiphon: cannot listen on 127.0.0.1:{port}: Address already in use"
                ]

    run(scenario())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_storage_that_cannot_be_opened_is_one_line(tmp_path, workers):
    """It is no use to start workers again that cannot work: exit code 2, once."""

    async def scenario():
        storage = {"url": f"sqlite:///{tmp_path}/no/such/folder.db"}
        arguments = ("--workers", workers)
        async with starting(tmp_path, "http://127.0.0.1:9/v1", *arguments, storage=storage) as served:
            assert await served.ended() == 2
            (line,) = served.lines
            assert line.startswith("antiphon: storage.url: ")

    run(scenario())
