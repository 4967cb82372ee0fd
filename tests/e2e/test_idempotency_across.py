"""`Idempotency-Key` where several processes share a storage, and some of them die."""

import asyncio
import contextlib
import re
import signal

import openai
import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Background, Duration, Idempotency, Provider, Responses, Storage, Timeout
from antiphon.wire.errors import StoreFault
from cli import served
from drivers.stores.place import PostgresPlace, SqlitePlace
from e2e.plain_client import plain_client
from e2e.samples import chat_body, chat_frames, responses_body, responses_frames
from e2e.scenes import play
from serving import serving, settings_for
from waiting import eventually

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
ASKED = {"model": "p/m", "messages": [{"role": "user", "content": "Hi"}]}
STREAM = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
HI = {"model": "p/m", "input": "Hi"}
KEY = {"Idempotency_Key": '"one"'}
REPLAYED = "idempotency-replayed"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """A storage that two processes share."""
    if request.param == "postgres":
        return PostgresPlace(request.getfixturevalue("postgres_url"))
    return SqlitePlace(tmp_path)


class Host:
    """A gateway that can die without a word."""

    def __init__(self, running):
        self.running = running
        self.is_dead = False

    @property
    def port(self):
        return self.running.port

    @property
    def idempotency(self):
        return self.running.application.idempotency

    async def die(self):
        """Nothing more is written, nobody is told anything; storage knows it as it knows of the end of a process."""
        self.is_dead = True
        application = self.running.application
        await application._tasks.stop()
        for name in ("finish", "release"):
            setattr(application.storage.claims, name, lambda *_, **__: None)
        leave = getattr(application.storage.claims, "leave", None)
        if leave is not None:
            leave()
        await self.running.server.stop(0)
        self.running.server.abort()


@contextlib.asynccontextmanager
async def two_hosts(folder, place, *answers, lease=0.5, wait=10, **changes):
    async with Simulator(answers) as simulator:
        settings = settings_for(
            folder,
            simulator.base_url,
            providers={"p": Provider(type="openai", base_url=simulator.base_url, models=())},
            storage=Storage(url=place.url),
            idempotency=Idempotency(lease=Timeout(lease), wait=Duration(wait)),
            **{"cache": None, "responses": Responses(background=Background(lease=Timeout(lease))), **changes},
        )
        async with serving(settings) as first, serving(settings) as second:
            yield Host(first), Host(second), simulator


async def post(port, path, asked, **headers):
    async with plain_client(port) as client:
        return await client.post(path, asked, **headers)


async def settled(host):
    await eventually(lambda: host.idempotency.running == 0)


@contextlib.asynccontextmanager
async def asking(port, path, asked, **headers):
    """Ask, and leave without having read anything."""
    async with plain_client(port) as client:
        client.send("POST", path, asked, **headers)
        yield client
        client.leave()


def test_what_one_has_answered_the_other_tells(tmp_path, place):
    async def run():
        async with two_hosts(tmp_path, place, Answer(frames=chat_frames())) as (one, other, simulator):
            first = await post(one.port, CHAT, STREAM, **KEY)
            again = await post(other.port, CHAT, STREAM, **KEY)
            assert (again.status, again.body, again.headers[REPLAYED]) == (200, first.body, "true")
            assert (await post(other.port, CHAT, ASKED, **KEY)).status == 422
            assert len(simulator.calls) == 1

    play(run())


def test_what_one_is_answering_the_other_waits_for(tmp_path, place):
    """Longer than a lease lasts that nobody prolongs."""
    gate = asyncio.Event()

    async def run():
        answer = Answer(frames=chat_frames(), gate=gate, gate_at=2)
        async with two_hosts(tmp_path, place, answer, lease=0.3) as (one, other, simulator):
            first = asyncio.ensure_future(post(one.port, CHAT, STREAM, **KEY))
            await eventually(lambda: simulator.calls)
            since = asyncio.get_running_loop().time()
            waiting = [asyncio.ensure_future(post(other.port, CHAT, STREAM, **KEY)) for _ in range(3)]
            await eventually(lambda: asyncio.get_running_loop().time() > since + 1)
            gate.set()
            answers = await asyncio.gather(first, *waiting)
            assert {each.body for each in answers} == {b"".join(chat_frames())}
            assert [REPLAYED in each.headers for each in answers] == [False, True, True, True]
            assert len(simulator.calls) == 1

    play(run())


def test_after_a_limit_the_other_says_that_it_is_outstanding(tmp_path, place):
    gate = asyncio.Event()

    async def run():
        answer = Answer(body=chat_body(), gate=gate)
        async with two_hosts(tmp_path, place, answer, wait=0.1) as (one, other, simulator):
            async with asking(one.port, CHAT, ASKED, **KEY):
                await eventually(lambda: simulator.calls)
                told = await post(other.port, CHAT, ASKED, **KEY)
                assert (told.status, told.headers["retry-after"]) == (409, "5")
                assert told.json()["error"]["code"] == "idempotency_request_outstanding"
                assert REPLAYED not in told.headers
            gate.set()
            await settled(one)
            assert (await post(other.port, CHAT, ASKED, **KEY)).status == 200
            assert len(simulator.calls) == 1

    play(run())


@pytest.mark.parametrize("stream", [False, True])
def test_what_died_with_its_worker_is_begun_again(tmp_path, place, stream):
    """Nothing of it was kept: the other waits until the lease is over, and asks the upstream."""
    gate = asyncio.Event()

    async def run():
        held = (
            Answer(frames=chat_frames(), gate=gate, gate_at=2)
            if stream
            else Answer(body=chat_body(), gate=gate)
        )
        whole = Answer(frames=chat_frames()) if stream else Answer(body=chat_body())
        async with two_hosts(tmp_path, place, held, whole) as (one, other, simulator):
            asked = STREAM if stream else ASKED
            async with asking(one.port, CHAT, asked, **KEY):
                await eventually(lambda: simulator.calls)
                await one.die()
            again = await post(other.port, CHAT, asked, **KEY)
            assert (again.status, REPLAYED in again.headers) == (200, False)
            assert len(simulator.calls) == 2
            later = await post(other.port, CHAT, asked, **KEY)
            assert (later.body, later.headers[REPLAYED], len(simulator.calls)) == (again.body, "true", 2)

    play(run())


def test_a_response_that_was_kept_is_told_although_nobody_noted_the_outcome(tmp_path, place):
    """Its worker dies in between; the id was stored with the key before anything else."""

    async def run():
        async with two_hosts(tmp_path, place, Answer(body=responses_body())) as (one, other, simulator):
            one.running.application.storage.claims.finish = lambda *_: None
            first = await post(one.port, RESPONSES, HI, **KEY)
            response_id = first.json()["id"]
            await one.die()

            async def kept():
                return await other.running.application.storage.responses.get(response_id, "")

            await eventually(kept)
            again = await post(other.port, RESPONSES, HI, **KEY)
            assert (again.json()["id"], again.headers[REPLAYED]) == (response_id, "true")
            assert again.json()["output"] == first.json()["output"]
            assert len(simulator.calls) == 1

    play(run())


def test_a_background_stream_is_followed_live_wherever_it_is_asked_for(tmp_path, place):
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate=gate, gate_at=5)
        asked = HI | {"background": True, "stream": True}
        async with two_hosts(tmp_path, place, held) as (one, other, simulator):
            async with plain_client(one.port) as first, plain_client(other.port) as late:
                first.send("POST", RESPONSES, asked, **KEY)
                await first.head()
                await eventually(lambda: simulator.calls)
                late.send("POST", RESPONSES, asked, **KEY)
                status, headers = await late.head()
                assert (status, headers[REPLAYED]) == (200, "true")
                begun = await late.reader.readuntil(b"output_text.delta")
                gate.set()
                told = [begun + await late.reader.readuntil(b"[DONE]"), await first.rest({})]
            ids = {re.search(rb"resp_[0-9a-f]+", each)[0] for each in told}
            assert (len(ids), len(simulator.calls)) == (1, 1)
            assert [each.count(b"event: response.completed") for each in told] == [1, 1]

    play(run())


def test_a_background_answer_is_one_run_although_its_worker_dies(tmp_path, place):
    """Before it could note that it has accepted it."""
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate=gate, gate_at=5)
        asked = HI | {"background": True}
        async with two_hosts(tmp_path, place, held) as (one, other, simulator):
            one.running.application.storage.claims.finish = lambda *_: None
            first = (await post(one.port, RESPONSES, asked, **KEY)).json()
            await eventually(lambda: simulator.calls)
            await one.die()
            again = await post(other.port, RESPONSES, asked, **KEY)
            assert (again.json()["id"], again.headers[REPLAYED]) == (first["id"], "true")
            rows = await place.rows("SELECT id FROM runs UNION SELECT id FROM responses")
            assert rows == [(first["id"],)]

    play(run())


@pytest.mark.parametrize("is_there", [True, False])
def test_a_background_request_of_which_nobody_knew_whether_it_was_accepted_is_one_run(
    tmp_path, place, is_there
):
    """Storage was lost in the middle of its commit: the client is told 503, and asks again."""

    async def run():
        async with two_hosts(tmp_path, place, Answer(frames=responses_frames())) as (one, other, simulator):
            runs = one.running.application.storage.runs
            create = runs.create

            async def losing(*arguments, **named):
                if is_there:
                    await create(*arguments, **named)
                raise StoreFault("Storage is not available.")

            runs.create = losing
            asked = HI | {"background": True}
            lost = await post(one.port, RESPONSES, asked, **KEY)
            assert lost.status == 503
            runs.create = create
            await settled(one)
            told = [(await post(each.port, RESPONSES, asked, **KEY)) for each in (other, one)]
            assert [each.status for each in told] == [200, 200]
            assert [each.headers.get(REPLAYED) for each in told] == ["true" if is_there else None, "true"]

            async def ended():
                return await place.rows("SELECT id FROM responses")

            ((response_id,),) = await eventually(ended)
            assert {each.json()["id"] for each in told} == {response_id}
            assert len(simulator.calls) == 1

    play(run())


def test_items_that_may_have_been_added_are_not_added_again(tmp_path, place):
    """Nobody knows: the client is told so, whatever often it asks."""

    async def run():
        async with two_hosts(tmp_path, place) as (one, other, _):
            one.running.application.storage.claims.finish = lambda *_: None
            made = (await post(one.port, "/v1/conversations", {}, **KEY)).json()
            path = f"/v1/conversations/{made['id']}/items"
            items = {"items": [{"role": "user", "content": "Hi"}]}
            assert (await post(one.port, path, items, Idempotency_Key="two")).status == 200
            await one.die()
            assert (await post(other.port, "/v1/conversations", {}, **KEY)).json() == made
            for _ in range(2):
                told = await post(other.port, path, items, Idempotency_Key="two")
                assert (told.status, told.json()["error"]["code"]) == (409, "idempotency_outcome_unknown")
                assert told.headers["x-should-retry"] == "false"
            assert len(await place.rows("SELECT id FROM conversation_items")) == 1

    play(run())


def test_without_storage_a_request_with_a_key_is_not_begun(tmp_path):
    """The others go on."""

    async def run():
        async with two_hosts(tmp_path, SqlitePlace(tmp_path), Answer(body=chat_body())) as (
            one,
            _,
            simulator,
        ):
            claims = one.running.application.storage.claims
            claim = claims.claim

            async def gone(*_):
                raise StoreFault("Storage is not available.", headers=((b"retry-after", b"5"),))

            claims.claim = gone
            told = await post(one.port, CHAT, ASKED, **KEY)
            assert (told.status, told.headers["retry-after"], simulator.calls) == (503, "5", [])
            assert (await post(one.port, CHAT, ASKED)).status == 200
            claims.claim = claim
            assert (await post(one.port, CHAT, ASKED, **KEY)).status == 200

    play(run())


def test_a_gateway_that_stops_finishes_for_those_who_left(tmp_path):
    gate = asyncio.Event()

    async def run():
        async with Simulator(Answer(frames=chat_frames(), gate=gate, gate_at=2)) as upstream:
            async with served.serving(tmp_path, upstream.base_url, cache=None) as first:
                asked = STREAM | {"model": "up/gpt-test"}
                async with asking(first.port, CHAT, asked, **KEY):
                    await eventually(lambda: upstream.calls)
                stopping = asyncio.ensure_future(first.stop())
                await eventually(lambda: is_closed(first.port))
                gate.set()
                assert await stopping == 0
            async with served.serving(tmp_path, upstream.base_url, cache=None) as second:
                told = await post(second.port, CHAT, asked, **KEY)
            assert (told.body, told.headers[REPLAYED]) == (b"".join(chat_frames()), "true")
            assert len(upstream.calls) == 1

    play(run())


async def is_closed(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.close()
    return False


def test_what_a_stopping_gateway_breaks_off_is_nobody_s_outcome(tmp_path):
    gate = asyncio.Event()

    async def run():
        answers = [Answer(frames=chat_frames(), gate=gate, gate_at=2), Answer(frames=chat_frames())]
        async with Simulator(answers) as upstream:
            server = {"port": 0, "shutdown_timeout": 0}
            asked = STREAM | {"model": "up/gpt-test"}
            async with (
                served.serving(tmp_path, upstream.base_url, cache=None, server=server) as first,
                plain_client(first.port) as client,
            ):
                client.send("POST", CHAT, asked, **KEY)
                await client.head()
                assert await first.stop() == 0
            async with served.serving(tmp_path, upstream.base_url, cache=None) as second:
                told = await post(second.port, CHAT, asked, **KEY)
            assert (told.body, REPLAYED in told.headers) == (b"".join(chat_frames()), False)

    play(run())


def test_a_killed_worker_s_requests_are_taken_over_at_once(tmp_path):
    """Among several that share a SQLite file, long before its lease is over."""
    gate = asyncio.Event()

    async def run():
        answers = [Answer(frames=chat_frames(), gate=gate, gate_at=2), Answer(frames=chat_frames())]
        async with Simulator(answers) as upstream:
            asked = STREAM | {"model": "up/gpt-test"}
            async with (
                served.serving(tmp_path, upstream.base_url, cache=None) as first,
                asking(first.port, CHAT, asked, **KEY),
            ):
                await eventually(lambda: upstream.calls)
                first.process.send_signal(signal.SIGKILL)
                await first.ended()
            async with served.serving(tmp_path, upstream.base_url, cache=None) as second:
                async with asyncio.timeout(5):
                    told = await post(second.port, CHAT, asked, **KEY)
            assert (told.body, REPLAYED in told.headers) == (b"".join(chat_frames()), False)
            assert len(upstream.calls) == 2

    play(run())


@pytest.mark.parametrize("stream", [False, True])
def test_the_official_client_pays_once_however_often_its_connection_breaks(tmp_path, stream):
    """Something between it and the gateway cuts each answer short, until the third."""

    async def run():
        answer = Answer(frames=chat_frames()) if stream else Answer(body=chat_body())
        async with two_hosts(tmp_path, SqlitePlace(tmp_path), answer) as (one, _, simulator):
            cutting = Cutting(one.port, cuts=2)
            server = await asyncio.start_server(cutting, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with (
                server,
                openai.AsyncOpenAI(
                    base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=3
                ) as client,
            ):
                headers = {"Idempotency-Key": "stainless-python-retry-1"}
                asked = {**ASKED, "extra_headers": headers}
                if stream:
                    told = [c async for c in await client.chat.completions.create(**asked, stream=True)]
                    text = "".join(c.choices[0].delta.content or "" for c in told if c.choices)
                else:
                    told = await client.chat.completions.create(**asked)
                    text = told.choices[0].message.content
            assert (text, cutting.passed) == ("Hello there", 3)
            assert len(simulator.calls) == 1

    play(run())


class Cutting:
    """A proxy whose first connections break as soon as the answer begins."""

    def __init__(self, port, cuts):
        self._port = port
        self._cuts = cuts
        self.passed = 0

    async def __call__(self, reader, writer):
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        asking_ = asyncio.ensure_future(self._pass(reader, there_writer))
        self.passed += 1
        try:
            begun = await there_reader.read(64)
            if self.passed > self._cuts:
                writer.write(begun)
                await self._pass(there_reader, writer)
        finally:
            asking_.cancel()
            for each in (writer, there_writer):
                each.transport.abort()

    async def _pass(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
