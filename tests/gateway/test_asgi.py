"""The gateway as an ASGI application: in other servers, and in the process of its client."""

import asyncio
import subprocess
import sys

import httpx2
import openai
import pytest

import antiphon
from antiphon.drivers.simulator import Answer, Simulator
from antiphon.drivers.simulator.samples import chat_body, chat_frames, responses_frames
from antiphon.gateway.asgi import AsgiReply
from antiphon.settings import ConfigurationError, Key, Secret, Server, Storage
from gateway.wire import JSON, Watcher
from serving import settings_for
from waiting import PATIENCE, eventually

CHAT = {"model": "up/gpt-test", "messages": [{"role": "user", "content": "Hi"}]}


class Caller:
    """A server for one request: what it gives the application, and what it was sent."""

    def __init__(self, app, method="POST", path="/v1/chat/completions", body=b"", **scope):
        self.inbox = asyncio.Queue()
        self.sent = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.fault = None
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            **scope,
        }
        if body is not None:
            self.give(body)
        self.task = asyncio.ensure_future(app(self.scope, self.inbox.get, self.send))

    def give(self, body=b"", *, more=False):
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self):
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def send(self, message):
        await self.may_send.wait()
        if self.fault is not None:
            raise self.fault
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def is_whole(self):
        return bool(self.sent) and not self.sent[-1].get("more_body", True)

    async def answer(self):
        async with asyncio.timeout(PATIENCE):
            await self.task
        assert self.is_whole
        return self


def play(tmp_path, scenario, *answers, **changes):
    """Run a scenario with an application and its upstream, and stop both."""

    async def scene():
        async with Simulator(answers) as upstream:
            app = antiphon.create_app(settings_for(tmp_path, upstream.base_url, **changes))
            try:
                await scenario(app, upstream)
            finally:
                await app.aclose()

    asyncio.run(scene())


def client_of(app):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://antiphon")
    return openai.AsyncOpenAI(base_url="http://antiphon/v1", api_key="any", http_client=http, max_retries=0)


def test_the_official_client_works_in_the_same_process(tmp_path):
    """JSON and streams, a miss and a hit, without a socket between client and gateway."""

    async def scenario(app, upstream):
        async with client_of(app) as client:
            for _ in range(2):
                answer = await client.chat.completions.create(**CHAT)
                assert answer.choices[0].message.content.startswith("A call, and the answer")
                pieces = [chunk async for chunk in await client.chat.completions.create(**CHAT, stream=True)]
                text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
                assert text == answer.choices[0].message.content
            assert len(upstream.calls) == 1
            names = [model.id async for model in await client.models.list()]
            assert "up/gpt-test" in names
            with pytest.raises(openai.NotFoundError) as refused:
                await client.chat.completions.create(**{**CHAT, "model": "up2/gpt-test"})
            assert refused.value.code == "model_not_found"

    play(tmp_path, scenario, Answer(body=chat_body(900)))


def test_the_official_client_streams_responses_and_retrieves_them(tmp_path):
    """Everything of one worker is there: the same gateway, not a part of it."""

    async def scenario(app, upstream):
        async with client_of(app) as client:
            request = {"model": "up/gpt-test", "input": "Hi"}
            events = [event async for event in await client.responses.create(**request, stream=True)]
            assert events[-1].type == "response.completed"
            kept = await client.responses.retrieve(events[-1].response.id)
            assert kept.output_text == events[-1].response.output_text
            await client.responses.delete(kept.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(kept.id)

    play(tmp_path, scenario, Answer(frames=responses_frames(20)))


def test_frames_are_handed_over_as_they_come(tmp_path):
    """The server gets each frame when the upstream has sent it, not at the end."""

    async def scenario(app, upstream):
        caller = Caller(app, body=b'{"model":"up/gpt-test","messages":[],"stream":true}')
        await eventually(lambda: caller.body == b"".join(frames[:3]))
        assert caller.headers[b"content-type"].startswith(b"text/event-stream")
        assert not caller.is_whole
        gate.set()
        assert (await caller.answer()).body == b"".join(frames)

    frames = chat_frames(6)
    gate = asyncio.Event()
    play(tmp_path, scenario, Answer(frames=frames, gate=gate, gate_at=3))


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_ends_the_upstream_call(tmp_path, begun):
    """Before the first frame and in the middle of the stream."""

    async def scenario(app, upstream):
        caller = Caller(app, body=b'{"model":"up/gpt-test","messages":[],"stream":true}')
        await upstream.wait_for_calls(1)
        if begun:
            await eventually(lambda: caller.body)
        caller.leave()
        await caller.task
        await upstream.calls[0].over.wait()
        assert upstream.calls[0].aborted
        assert not caller.is_whole

    play(tmp_path, scenario, Answer(frames=chat_frames(6), gate=asyncio.Event(), gate_at=3 if begun else 0))


def test_a_server_that_refuses_to_send_ends_the_upstream_call(tmp_path):
    """Some servers raise when the client has left; that is no error of the application."""

    async def scenario(app, upstream):
        caller = Caller(app, body=None)
        caller.fault = BrokenPipeError("the client has left")
        caller.give(b'{"model":"up/gpt-test","messages":[],"stream":true}')
        await caller.task
        await upstream.calls[0].over.wait()
        assert upstream.calls[0].aborted

    play(tmp_path, scenario, Answer(frames=chat_frames(6), gate=asyncio.Event(), gate_at=3))


def test_a_client_with_an_idempotency_key_may_leave_and_come_back(tmp_path):
    """The answer goes on without it."""
    gate = asyncio.Event()
    frames = responses_frames(20)
    body = b'{"model":"up/gpt-test","input":"Hi","stream":true}'
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", b'"one"')]

    async def scenario(app, upstream):
        leaving = Caller(app, path="/v1/responses", body=body, headers=headers)
        await eventually(lambda: leaving.body)
        leaving.leave()
        await leaving.task
        gate.set()
        told = await Caller(app, path="/v1/responses", body=body, headers=headers).answer()
        assert told.headers[b"idempotency-replayed"] == b"true"
        assert told.body.startswith(leaving.body)
        assert b"response.completed" in told.body
        assert len(upstream.calls) == 1

    play(tmp_path, scenario, Answer(frames=frames, gate=gate, gate_at=5))


def test_a_client_that_leaves_in_its_request_is_not_answered(tmp_path):
    """Half a body is no request."""

    async def scenario(app, upstream):
        caller = Caller(app, body=None)
        caller.give(b'{"model":"up/gpt-test",', more=True)
        caller.leave()
        await caller.task
        assert caller.sent == []
        assert upstream.calls == []

    play(tmp_path, scenario)


def test_a_body_comes_in_pieces(tmp_path):
    """And is handed over whole."""

    async def scenario(app, upstream):
        caller = Caller(app, body=None)
        for piece in (b'{"model":"up/gpt', b"", b'-test","messages":'):
            caller.give(piece, more=True)
        caller.give(b"[]}")
        assert (await caller.answer()).status == 200
        assert b'"messages":[]' in upstream.calls[0].body

    play(tmp_path, scenario, Answer(body=chat_body(900)))


@pytest.mark.parametrize("announced", [False, True])
def test_a_body_beyond_the_limit_is_refused(tmp_path, announced):
    """As soon as it is known."""

    async def scenario(app, upstream):
        headers = [(b"Content-Length", b"101")] if announced else []
        caller = Caller(app, body=None, headers=headers)
        if not announced:
            caller.give(b"x" * 60, more=True)
            caller.give(b"x" * 41, more=True)
        await caller.answer()
        assert caller.status == 413
        assert b"request_too_large" in caller.body

    play(tmp_path, scenario, server=Server(max_body_bytes=100))


def test_a_server_that_is_slow_holds_its_answer_back(tmp_path):
    """What waits for the server stays bounded: the upstream is read no faster than the client."""
    filling = "x" * 65536
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % filling.encode()
    frames = [
        *[frame] * 400,
        b'data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]

    async def scenario(app, upstream):
        caller = Caller(app, body=b'{"model":"up/gpt-test","messages":[],"stream":true}')
        await eventually(lambda: caller.sent)
        caller.may_send.clear()
        await upstream.wait_for_calls(1)
        (live,) = app._running.producing._live
        await eventually(lambda: live._paused)
        assert upstream.calls[0].parts_sent < 300
        caller.may_send.set()
        assert len((await caller.answer()).body) == sum(map(len, frames))

    # Kernel buffers of a loopback connection take some megabytes; the rest waits with the upstream.
    play(tmp_path, scenario, Answer(frames=frames), cache=None)


def test_head_gets_no_body(tmp_path):
    """Whatever the server makes of it."""

    async def scenario(app, upstream):
        caller = await Caller(app, "HEAD", "/healthz").answer()
        assert (caller.status, caller.body) == (200, b"")
        assert int(caller.headers[b"content-length"]) > 0

    play(tmp_path, scenario)


def test_headers_are_read_as_servers_give_them(tmp_path):
    """Names in any case, repeated ones joined; keys are asked for as everywhere."""

    async def scenario(app, upstream):
        refused = await Caller(app, "GET", "/v1/models").answer()
        assert refused.status == 401
        answered = await Caller(
            app, "GET", "/v1/models", headers=[(b"Authorization", b"Bearer sk-alice")]
        ).answer()
        assert answered.status == 200

    play(tmp_path, scenario, keys=(Key(name="alice", key=Secret("sk-alice")),))


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/llm/healthz", "raw_path": b"/llm/healthz", "root_path": "/llm"},
        {"path": "/llm/healthz", "raw_path": None, "root_path": "/llm"},
        {"path": "/healthz", "raw_path": b"/healthz?x=y", "root_path": "/llm"},
        {"path": "/healthz", "raw_path": b"/healthz", "root_path": ""},
    ],
)
def test_the_application_can_be_mounted(tmp_path, scope):
    """Below a path of another application."""

    async def scenario(app, upstream):
        assert (await Caller(app, "GET", **scope).answer()).status == 200

    play(tmp_path, scenario)


def test_metrics_are_closed_where_nobody_knows_who_asks(tmp_path):
    """A server behind a Unix socket knows no client: it may be anybody."""

    async def scenario(app, upstream):
        assert (await Caller(app, "GET", "/metrics", client=None).answer()).status == 403
        assert (await Caller(app, "GET", "/metrics").answer()).status == 200

    play(tmp_path, scenario)


def test_the_lifespan_starts_and_stops_the_gateway(tmp_path):
    """Nothing is opened before the start, and at the stop everything is on disk."""

    async def scenario(app, upstream):
        inbox, sent = asyncio.Queue(), []

        async def send(message):
            sent.append(message["type"])

        lifespan = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, send))
        await asyncio.sleep(0)
        assert not (tmp_path / "antiphon.db").exists()
        inbox.put_nowait({"type": "lifespan.startup"})
        await eventually(lambda: sent == ["lifespan.startup.complete"])
        body = b'{"model":"up/gpt-test","messages":[]}'
        first = await Caller(app, body=body).answer()
        assert first.status == 200
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await lifespan
        assert sent[1:] == ["lifespan.shutdown.complete"]
        second = await Caller(app, body=body).answer()
        assert second.body == first.body
        assert len(upstream.calls) == 1

    play(tmp_path, scenario, Answer(body=chat_body(900)))


def test_a_start_that_fails_is_said_to_the_server(tmp_path):
    """Instead of a traceback."""

    async def scenario(app, upstream):
        inbox, sent = asyncio.Queue(), []

        async def send(message):
            sent.append(message)

        inbox.put_nowait({"type": "lifespan.startup"})
        await app({"type": "lifespan"}, inbox.get, send)
        assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
        assert "storage.url" in sent[0]["message"]

    play(tmp_path, scenario, storage=Storage(url=f"sqlite:///{tmp_path}/no/such/folder.db"))


def test_requests_at_the_start_share_one_gateway(tmp_path):
    """Where the server knows no lifespan the first request starts it, and others wait."""

    async def scenario(app, upstream):
        callers = [Caller(app, "GET", "/healthz") for _ in range(5)]
        assert [(await caller.answer()).status for caller in callers] == [200] * 5

    play(tmp_path, scenario)


def test_an_unusable_configuration_is_refused_at_once(tmp_path):
    """When the application is made, not at the first request."""
    (tmp_path / "antiphon.yaml").write_text("servr: {}\n")
    with pytest.raises(ConfigurationError, match="servr"):
        antiphon.create_app(tmp_path / "antiphon.yaml")
    with pytest.raises(ConfigurationError, match=r"server\.host"):
        antiphon.create_app(settings_for(tmp_path, "http://127.0.0.1:9/v1", server=Server(host="0.0.0.0")))


def test_importing_the_package_is_cheap():
    """The application is loaded when somebody wants it."""
    code = (
        "import sys, antiphon\n"
        "assert not [name for name in sys.modules if name.startswith('antiphon.')]\n"
        "from antiphon import create_app\n"
        "assert 'antiphon.app' in sys.modules and callable(create_app)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="create_ap"):
        _ = antiphon.create_ap


# The reply itself.


def reply_with(*, write, body=None):
    """Let `write` fill a reply, and hand it over to a caller; return both, and what the watcher heard."""

    async def scenario():
        reply, heard = AsgiReply(), []
        reply.watch(Watcher(heard, 0))
        caller = Caller(lambda scope, receive, send: reply.run(receive, send), body=body)
        write(reply, caller)
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(caller.task, return_exceptions=True)
        return caller, heard, results[0]

    return asyncio.run(scenario())


def test_a_reply_is_sent_once():
    """What is said after the end is not heard."""

    def write(reply, caller):
        reply.send(200, JSON, b"{}")
        reply.send(500, JSON, b"{}")
        reply.write(b"x")
        reply.end()
        reply.abort()

    caller, heard, error = reply_with(write=write)
    assert (caller.status, caller.body, caller.is_whole) == (200, b"{}", True)
    assert (heard, error) == ([("sent", 0)], None)


def test_an_aborted_reply_is_an_error_for_the_server():
    """So that it cuts the connection."""

    def write(reply, caller):
        reply.start(200, JSON)
        reply.write(b"half")
        reply.abort()

    caller, heard, error = reply_with(write=write)
    assert (caller.body, caller.is_whole) == (b"half", False)
    assert heard == [("gone", 0)]
    assert isinstance(error, ConnectionAbortedError)


def test_what_was_begun_cannot_be_replaced():
    """It is broken off instead."""

    def write(reply, caller):
        reply.start(200, JSON)
        reply.send(500, JSON, b"{}")

    caller, _, error = reply_with(write=write)
    assert (caller.status, caller.body, caller.is_whole) == (200, b"", False)
    assert isinstance(error, ConnectionAbortedError)


def test_who_watches_after_the_client_has_left_hears_it_too():
    """Once, and not before the watcher is finished with what it is doing."""

    async def scenario():
        reply, heard = AsgiReply(), []
        caller = Caller(lambda scope, receive, send: reply.run(receive, send))
        caller.leave()
        await caller.task
        reply.watch(Watcher(heard, 0))
        reply.watch(Watcher(heard, 1))
        assert heard == []
        await eventually(lambda: heard)
        assert heard == [("gone", 1)]

    asyncio.run(scenario())


def test_a_congested_reply_hears_when_it_may_go_on():
    """Congested is what holds more than a little; the watcher hears when the server has taken it."""

    async def scenario():
        reply, heard = AsgiReply(), []
        reply.watch(Watcher(heard, 0))
        caller = Caller(lambda scope, receive, send: reply.run(receive, send))
        reply.start(200, JSON)
        reply.write(b"x" * 1000)
        await eventually(lambda: caller.body)
        assert heard == []
        caller.may_send.clear()
        reply.write(b"x" * 100_000)
        assert reply.congested
        caller.may_send.set()
        await eventually(lambda: heard)
        assert (reply.congested, heard) == (False, [("writable", 0)])
        reply.end()
        await caller.answer()
        assert heard[1:] == [("sent", 0)]

    asyncio.run(scenario())


def test_what_is_neither_http_nor_websocket_is_an_error(tmp_path):
    """Of the server: it is to see it."""

    async def scenario(app, upstream):
        with pytest.raises(ValueError, match="carrier"):
            await Caller(app, type="carrier pigeon").task

    play(tmp_path, scenario)
