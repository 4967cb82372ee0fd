"""`Idempotency-Key`: one upstream call and one answer, however often and in whatever state of it a client asks."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Idempotency, Key, Log, Secret, Size
from e2e.plain_client import plain_client
from e2e.samples import PATHS, REQUESTS, answer_of, chat_body, chat_frames
from e2e.scenes import play, read_rows, scene
from waiting import eventually

KEY = {"Idempotency_Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
BARE = {"Idempotency_Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
CHAT = PATHS["chat"]
ASKED = REQUESTS["chat"]
STREAM = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
REPLAYED = "idempotency-replayed"


async def settled(there):
    await eventually(lambda: there.gateway.application.idempotency.running == 0)


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_same_answer_is_told_again(tmp_path, dialect, stream):
    """Byte for byte, with status, content type and ids, whatever the form of the key; nobody upstream is asked."""
    if dialect == "embeddings" and stream:
        return

    async def run():
        async with scene(tmp_path, cache=None) as there:
            first = await there.ask(dialect, stream=stream, headers=KEY)
            assert REPLAYED not in first.headers
            while_noted = await there.again(dialect, stream=stream, headers=BARE)
            await settled(there)
            later = await there.again(dialect, stream=stream, headers=KEY)
            for again in (while_noted, later):
                assert (again.status, again.body) == (200, first.body)
                assert again.headers[REPLAYED] == "true"
                assert again.headers["x-request-id"] == first.headers["x-request-id"]
                assert again.headers["content-type"] == first.headers["content-type"]
            assert there.calls == 1

    play(run())


def test_a_late_comer_follows_the_running_stream_from_its_first_byte(tmp_path):
    gate = asyncio.Event()

    async def run():
        frames = chat_frames()
        async with scene(tmp_path, Answer(frames=frames, gate=gate, gate_at=2), cache=None) as there:
            there.client.send("POST", CHAT, STREAM, **KEY)
            await there.client.head()
            begun = await there.client.chunk()
            async with plain_client(there.gateway.port) as late:
                late.send("POST", CHAT, STREAM, **KEY)
                status, headers = await late.head()
                assert (status, headers[REPLAYED]) == (200, "true")
                assert (await late.chunk()).startswith(begun)
                gate.set()
                rest = await late.rest({})
            assert begun + await there.client.rest({}) == b"".join(frames)
            assert rest.endswith(frames[-1])
            assert there.calls == 1

    play(run())


def test_the_answer_is_finished_for_a_client_that_has_left(tmp_path):
    """A retry after a lost connection gets the very answer, streamed or not."""
    gate = asyncio.Event()

    async def run():
        frames = chat_frames()
        async with scene(tmp_path, Answer(frames=frames, gate=gate, gate_at=2), cache=None) as there:
            async with plain_client(there.gateway.port) as leaving:
                leaving.send("POST", CHAT, STREAM, **KEY)
                await leaving.head()
                await leaving.chunk()
                leaving.leave()
            gate.set()
            await settled(there)
            assert not there.simulator.calls[0].aborted
            again = await there.client.post(CHAT, STREAM, **KEY)
            assert (again.body, there.calls) == (b"".join(frames), 1)

    play(run())


@pytest.mark.parametrize(
    "changed",
    [{"temperature": 1}, {"stream": True}],
)
def test_another_body_is_refused_while_it_runs_and_later(tmp_path, changed):
    gate = asyncio.Event()

    async def run():
        async with scene(tmp_path, Answer(body=chat_body(), gate=gate), cache=None) as there:
            there.client.send("POST", CHAT, ASKED, **KEY)
            async with plain_client(there.gateway.port) as other:
                await eventually(lambda: there.calls == 1)
                early = await other.post(CHAT, ASKED | changed, **KEY)
                gate.set()
                assert (await there.client.answer()).status == 200
                await settled(there)
                late = await other.post(CHAT, ASKED | changed, **KEY)
            for refused in (early, late):
                assert refused.status == 422
                assert refused.json()["error"]["code"] == "idempotency_key_reused"
                assert REPLAYED not in refused.headers
            assert there.calls == 1

    play(run())


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/chat/completions?a=b", {}),
        ("/v1/completions", {}),
        (CHAT, {"Cache_Control": "no-store"}),
        (CHAT, {"anthropic_beta": "x"}),
    ],
)
def test_another_path_query_or_meaning_is_refused(tmp_path, path, headers):
    async def run():
        async with scene(tmp_path, Answer(body=chat_body()), cache=None) as there:
            await there.client.post(CHAT, ASKED, **KEY)
            assert (await there.client.post(path, ASKED, **KEY, **headers)).status == 422
            assert there.calls == 1

    play(run())


def test_another_attempt_may_have_other_headers(tmp_path):
    """Client libraries count their attempts in them."""

    async def run():
        async with scene(tmp_path, Answer(body=chat_body()), cache=None) as there:
            await there.client.post(CHAT, ASKED, **KEY, X_Stainless_Retry_Count="0", User_Agent="a")
            again = await there.client.post(CHAT, ASKED, **KEY, X_Stainless_Retry_Count="1", User_Agent="b")
            assert (again.status, again.headers[REPLAYED], there.calls) == (200, "true", 1)

    play(run())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(status=400, body=b'{"error":{"message":"No.","code":"bad"}}'), 400),
        (Answer(status=404, body=b'{"error":{"message":"No."}}'), 404),
        (Answer(status=500, body=b'{"error":{"message":"No."}}'), 500),
        (Answer(status=504, body=b'{"error":{"message":"No."}}'), 504),
        (Answer(body=chat_body(), fault=Fault.RESET_BEFORE_HEAD), 502),
        (Answer(body=chat_body(), fault=Fault.NO_LAST_CHUNK), 502),
    ],
)
def test_errors_are_outcomes_too(tmp_path, answer, status):
    async def run():
        async with scene(tmp_path, answer, cache=None) as there:
            first = await there.client.post(CHAT, ASKED, **KEY)
            await settled(there)
            again = await there.client.post(CHAT, ASKED, **KEY)
            assert first.status == again.status == status
            assert first.body == again.body
            assert (again.headers[REPLAYED], there.calls) == ("true", 1)

    play(run())


def test_a_stream_that_broke_off_is_told_again_with_its_error(tmp_path):
    async def run():
        broken = Answer(frames=chat_frames(), fault=Fault.RESET_BETWEEN_FRAMES, at=2)
        async with scene(tmp_path, broken, cache=None) as there:
            first = await there.client.post(CHAT, STREAM, **KEY)
            await settled(there)
            again = await there.client.post(CHAT, STREAM, **KEY)
            assert b'"error"' in first.body
            assert (again.body, there.calls) == (first.body, 1)

    play(run())


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(status=429, body=b'{"error":{"message":"Later."}}', headers=(("retry-after", "1"),)),
        Answer(status=503, body=b'{"error":{"message":"Later."}}'),
        Answer(status=529, body=b'{"error":{"message":"Later."}}'),
        Answer(status=401, body=b'{"error":{"message":"Who are you?"}}'),
        Answer(status=500, body=b'{"error":{"message":"Later."}}', headers=(("x-should-retry", "true"),)),
    ],
)
def test_what_was_not_begun_leaves_the_key_as_it_was(tmp_path, refusal):
    """The next attempt is the first."""

    async def run():
        async with scene(tmp_path, refusal, Answer(body=chat_body()), cache=None) as there:
            refused = await there.client.post(CHAT, ASKED, **KEY)
            assert refused.status == refusal.status
            again = await there.client.post(CHAT, ASKED, **KEY)
            assert (again.status, REPLAYED in again.headers, there.calls) == (200, False, 2)

    play(run())


@pytest.mark.parametrize("value", ["", '""', '"a', 'a"', "a b", "a, b", '"a", "b"', '"é"', "x" * 256, "a;b"])
def test_what_is_no_key_is_refused(tmp_path, value):
    async def run():
        async with scene(tmp_path) as there:
            refused = await there.client.post(CHAT, ASKED, Idempotency_Key=value)
            assert (refused.status, refused.json()["error"]["code"]) == (400, "invalid_idempotency_key")
            assert refused.json()["error"]["param"] == "Idempotency-Key"
            assert there.calls == 0

    play(run())


def test_errors_are_in_the_dialect_of_the_route(tmp_path):
    async def run():
        async with scene(tmp_path) as there:
            refused = await there.client.post("/v1/messages", {}, Idempotency_Key="a b")
            told = refused.json()
            assert (refused.status, told["type"], told["error"]["type"]) == (
                400,
                "error",
                "invalid_request_error",
            )

    play(run())


KEYS = (
    Key(name="alice", key=Secret("sk-alice")),
    Key(name="bob", key=Secret("sk-bob")),
)


def test_keys_of_different_owners_are_different_keys(tmp_path):
    async def run():
        answers = [answer_of("chat", stream=False), Answer(body=chat_body("another"))]
        async with scene(tmp_path, *answers, cache=None, keys=KEYS) as there:
            alice = await there.client.post(CHAT, ASKED, **KEY, Authorization="Bearer sk-alice")
            bob = await there.client.post(CHAT, ASKED | {"n": 1}, **KEY, Authorization="Bearer sk-bob")
            assert (alice.status, bob.status, there.calls) == (200, 200, 2)
            assert REPLAYED not in bob.headers
            nobody = await there.client.post(CHAT, ASKED, **KEY, Authorization="Bearer sk-eve")
            assert nobody.status == 401
            again = await there.client.post(CHAT, ASKED, **KEY, Authorization="Bearer sk-alice")
            assert (again.body, again.headers[REPLAYED]) == (alice.body, "true")

    play(run())


def test_an_answer_that_is_too_large_is_passed_on_and_said_not_to_be_kept(tmp_path):
    async def run():
        small = Idempotency(max_entry_bytes=Size(16))
        async with scene(tmp_path, Answer(frames=chat_frames()), cache=None, idempotency=small) as there:
            first = await there.client.post(CHAT, STREAM, **KEY)
            assert first.body == b"".join(chat_frames())
            await settled(there)
            again = await there.client.post(CHAT, STREAM, **KEY)
            assert (again.status, again.json()["error"]["code"]) == (410, "idempotency_answer_not_kept")
            assert there.calls == 1

    play(run())


def test_more_than_may_be_held_is_not_begun(tmp_path):
    """While it runs; whoever comes for what is running is told, and others are asked to come back."""
    gate = asyncio.Event()

    async def run():
        little = Idempotency(max_live_bytes=Size(10))
        held = Answer(body=chat_body(), gate=gate)
        async with scene(tmp_path, held, cache=None, idempotency=little) as there:
            there.client.send("POST", CHAT, ASKED, **KEY)
            await eventually(lambda: there.calls)
            async with plain_client(there.gateway.port) as other, plain_client(there.gateway.port) as late:
                late.send("POST", CHAT, ASKED, **KEY)
                refused = await other.post(CHAT, ASKED, Idempotency_Key="another")
                assert (refused.status, refused.headers["retry-after"]) == (503, "5")
                assert refused.json()["error"]["code"] == "idempotency_busy"
                gate.set()
                assert (await late.answer()).status == (await there.client.answer()).status == 200
                await settled(there)
                assert (await other.post(CHAT, ASKED, Idempotency_Key="another")).status == 200

    play(run())


def test_what_is_told_again_is_no_turn(tmp_path):
    """The ledger has one row, and `/metrics` counts those who were told."""

    async def run():
        async with scene(tmp_path, Answer(body=chat_body())) as there:
            for _ in range(3):
                await there.client.post(CHAT, ASKED, **KEY)
                await settled(there)
            assert [row["cache"] for row in await there.rows()] == ["miss"]
            page = (await there.client.get("/metrics")).body
            assert b"antiphon_idempotency_replayed_requests 2.0" in page

    play(run())


def test_a_key_is_shown_nowhere(tmp_path, caplog):
    """Neither in the log nor in the file."""
    secret = "who-knows-this-key-knows-an-answer"

    async def run():
        async with scene(tmp_path, Answer(body=chat_body()), log=Log(requests=True, level="debug")) as there:
            for asked in (ASKED, ASKED, ASKED | {"n": 2}):
                await there.client.post(CHAT, asked, Idempotency_Key=f'"{secret}"')
            await settled(there)
            assert secret not in str(there.simulator.calls[0].headers)

    caplog.set_level("DEBUG")
    play(run())
    assert secret not in caplog.text
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_a_file_of_no_keys_is_none_the_slower_for_it(tmp_path):
    """Requests without a key do not touch storage for one."""

    async def run():
        async with scene(tmp_path, Answer(body=chat_body()), cache=None) as there:
            assert (await there.client.post(CHAT, ASKED)).status == 200
            assert read_rows(there.folder, "SELECT * FROM idempotency") == []
            assert there.gateway.application.idempotency.running == 0

    play(run())
