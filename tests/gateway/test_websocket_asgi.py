"""WebSockets through another server: who is let in, what is handed over, and how it ends."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Key, Secret, Server
from e2e.samples import responses_frames
from e2e.scenes import play
from gateway.talking import AsgiTalk, code_of, id_of, talks, types
from waiting import PATIENCE, eventually

KEYS = (Key(name="alice", key=Secret("key-a")),)
DENIAL = {"extensions": {"websocket.http.response": {}}}


def run(tmp_path, scenario, *answers, **changes):
    async def scene():
        async with talks(tmp_path, *answers, through="asgi", **changes) as there:
            await scenario(there)

    play(scene())


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({}, 401),
        ({"headers": [(b"authorization", b"Bearer wrong")]}, 401),
        ({"path": "/v1/nothing", "raw_path": b"/v1/nothing"}, 404),
    ],
)
def test_who_may_not_come_in_is_told_why_if_the_server_can(tmp_path, scope, status):
    """Otherwise the server says 403, and the code of the fault is the reason."""

    async def scenario(there):
        told = AsgiTalk(there.app, **scope, **DENIAL)
        start, body = await told.message(), await told.message()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        headers = dict(start["headers"])
        assert headers[b"content-length"] == b"%d" % len(body["body"])
        error = json.loads(body["body"])["error"]
        untold = AsgiTalk(there.app, **scope)
        assert await untold.closed() == (1008, error["code"])
        await told.task
        await untold.task

    run(tmp_path, scenario, keys=KEYS)


def test_pages_of_other_hosts_stay_outside(tmp_path):
    """As on our own server."""

    async def scenario(there):
        talk = AsgiTalk(there.app, headers=[(b"origin", b"https://example.com")])
        assert await talk.closed() == (1008, "origin_not_allowed")
        await talk.task

    run(tmp_path, scenario)


def test_a_mounted_application_finds_its_path(tmp_path):
    """Below the place where it is mounted; and a key opens the door."""

    async def scenario(there):
        scope = {"root_path": "/llm", "path": "/llm/v1/responses", "raw_path": b"/llm/v1/responses"}
        async with there.open(**scope, headers=[(b"authorization", b"Bearer key-a")]) as talk:
            assert id_of(await talk.turn(input="Hi"))

    run(tmp_path, scenario, Answer(frames=responses_frames()), keys=KEYS)


def test_a_frame_over_the_limit_closes_the_connection(tmp_path):
    """Other servers have limits of their own; ours holds too."""

    async def scenario(there):
        async with there.open() as talk:
            await talk.send("é" * 51)
            assert (await talk.closed())[0] == 1009
            await talk.task

    run(tmp_path, scenario, server=Server(port=0, max_body_bytes=100))


def test_a_server_that_is_behind_is_waited_for(tmp_path):
    """No more is taken from the upstream, and the client is not listened to."""

    async def scenario(there):
        async with there.open() as talk:
            talk.may_send.clear()
            await talk.create(input="Hi")
            await there.simulator.wait_for_calls(1)
            await there.simulator.calls[0].over.wait()
            await talk.send("nonsense")
            await talk.send("nonsense")
            await eventually(lambda: talk.inbox.qsize() == 1)
            talk.may_send.set()
            events = [await talk.next() for _ in range(len(frames) + 2)]
            errors = [event for event in events if event["type"] == "error"]
            assert [code_of(event) for event in errors] == ["invalid_json"] * 2
            assert "response.completed" in types(events)

    frames = responses_frames(["x" * 1000] * 300)
    run(tmp_path, scenario, Answer(frames=frames))


def test_a_client_that_cannot_be_sent_to_ends_its_turns(tmp_path):
    """The upstream's connection is closed, and the application ends without an error."""

    async def scenario(there):
        talk = AsgiTalk(there.app)
        assert (await talk.message())["type"] == "websocket.accept"
        talk.outbox.put = _broken
        await talk.create(input="Hi")
        async with asyncio.timeout(PATIENCE):
            await talk.task
            await there.simulator.calls[0].over.wait()
        assert there.simulator.calls[0].aborted

    run(tmp_path, scenario, Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3))


async def _broken(message):
    raise BrokenPipeError(str(message))


def test_closing_the_application_ends_its_connections(tmp_path):
    """Idle ones are closed; a turn under way is told that it is over."""

    async def scenario(there):
        async with there.open() as idle, there.open() as busy:
            await busy.create(input="Hi")
            await busy.next()
            await there.app.aclose()
            assert await idle.closed() == (1001, "shutting_down")
            assert types(await busy.rest())[-1] == "response.failed"
            assert await busy.closed() == (1001, "shutting_down")

    run(tmp_path, scenario, Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3))
