"""Every route that takes a POST knows idempotency keys. The routes are those that the gateway has, whatever they are."""

import asyncio
import json
from dataclasses import replace

import pytest

from antiphon.app import Application
from antiphon.drivers.simulator import Answer
from antiphon.settings import Admin, Cache, Idempotency, Secret
from e2e.plain_client import plain_client
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, read_rows, scene
from forms import content_type, form
from serving import serving, settings_for
from waiting import eventually

ADMIN = "sk-admin"
REPLAYED = "idempotency-replayed"


def with_everything(folder, url="http://127.0.0.1:9", **changes):
    """Settings under which no route is left out."""
    return settings_for(folder, url, admin=Admin(key=Secret(ADMIN)), cache=Cache(), **changes)


def posts_of(gateway):
    """The paths of the route table, with `x` for each identifier."""
    exact = [path for path, methods in gateway._exact.items() if b"POST" in methods]
    named = [pattern.pattern for pattern, methods in gateway._patterns.items() if b"POST" in methods]
    patterns = [pattern.replace(b"([^/]+)", b"x").replace(b"\\", b"") for pattern in named]
    return sorted(path.decode() for path in (*gateway._models, *exact, *patterns))


def all_posts(folder):
    async def look():
        application = await Application.open(with_everything(folder), environ={})
        try:
            return posts_of(application.gateway)
        finally:
            await application.stop()

    return asyncio.run(look())


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    return all_posts(tmp_path_factory.mktemp("routes"))


def test_the_table_is_read_as_it_is(posts):
    assert {"/v1/responses", "/v1/responses/x/cancel", "/v1/messages/count_tokens"} < set(posts)


def test_every_post_is_answered_once_for_a_key(tmp_path, posts):
    """Each keeps what it answers to a request that nothing can be made of, and tells it again, byte for byte."""

    async def run():
        async with (
            serving(with_everything(tmp_path)) as gateway,
            plain_client(gateway.port) as client,
        ):
            for number, path in enumerate(posts):
                headers = {"Idempotency_Key": f'"{number}"'}
                if path.startswith("/admin/"):
                    headers["Authorization"] = f"Bearer {ADMIN}"
                malformed = await client.post(path, {}, **headers | {"Idempotency_Key": "a b"})
                assert (malformed.status, b"invalid_idempotency_key" in malformed.body) == (400, True), path
                first = await client.post(path, {"nonsense": 1}, **headers)
                again = await client.post(path, {"nonsense": 1}, **headers)
                assert (again.status, again.body, path) == (first.status, first.body, path)
                assert again.headers.get("x-request-id") == first.headers.get("x-request-id"), path
                assert (REPLAYED in first.headers, again.headers.get(REPLAYED), path) == (False, "true", path)
                assert (await client.post(path, {"nonsense": 2}, **headers)).status == 422, path

    play(run())


def test_what_is_no_route_has_no_keys(tmp_path):
    """Nothing is looked for, and nothing is kept."""

    async def run():
        async with scene(tmp_path) as there:
            for method, path, status in [
                ("POST", "/nowhere", 404),
                ("POST", "/v1/models", 405),
                ("GET", "/v1/models", 200),
            ]:
                there.client.send(method, path, b"", Idempotency_Key="a")
                answer = await there.client.answer()
                assert (answer.status, REPLAYED in answer.headers) == (status, False)
            assert read_rows(there.folder, "SELECT * FROM idempotency") == []

    play(run())


MODEL = {"model": "p/m"}
HI = [{"role": "user", "content": "Hi"}]


def json_answer(**members):
    return Answer(body=json.dumps(members).encode())


def form_of(number):
    """The same form as ever, between boundaries that no other has."""
    boundary = f"between-{number}"
    fields = [("model", "p/m"), ("file", ("a.wav", b"sound", "audio/wav"))]
    return form(fields, boundary), {"Content_Type": content_type(boundary)}


DONE_ONCE = {
    "chat": ("/v1/chat/completions", {"messages": HI}, answer_of("chat", stream=False)),
    "embeddings": ("/v1/embeddings", {"input": "Hi"}, answer_of("embeddings", stream=False)),
    "rerank": ("/v1/rerank", {"query": "a", "documents": ["a", "b"]}, json_answer(results=[])),
    "rerank 2": ("/v2/rerank", {"query": "a", "documents": ["a", "b"]}, json_answer(results=[])),
    "responses": ("/v1/responses", {"input": "Hi"}, answer_of("responses", stream=False)),
    "count": ("/v1/responses/input_tokens", {"input": "Hi"}, json_answer(object="x", input_tokens=3)),
}  # fmt: skip


@pytest.mark.parametrize("name", DONE_ONCE)
def test_an_upstream_is_asked_once(tmp_path, name):
    path, asked, answer = DONE_ONCE[name]

    async def run():
        async with scene(tmp_path, answer, p="openai", cache=None) as there:
            first = await there.client.post(path, MODEL | asked, Idempotency_Key="a")
            again = await there.client.post(path, MODEL | asked, Idempotency_Key="a")
            assert (first.status, again.status, again.body) == (200, 200, first.body)
            assert (again.headers[REPLAYED], there.calls) == ("true", 1)

    play(run())


def test_a_conversation_is_compacted_once(tmp_path):
    """What the gateway makes with a turn of its own; also when its client leaves at once."""
    gate = asyncio.Event()

    async def run():
        summary = answer_of("chat", stream=False)
        async with scene(tmp_path, replace(summary, gate=gate), p="vllm", cache=None) as there:
            asked = MODEL | {"input": [*HI, {"role": "assistant", "content": "Hello"}, *HI]}
            async with plain_client(there.gateway.port) as leaving:
                leaving.send("POST", "/v1/responses/compact", asked, Idempotency_Key="a")
                await eventually(lambda: there.calls)
                leaving.leave()
            await eventually(lambda: len(there.gateway.server._listening.connections) == 1)
            gate.set()
            got = await there.client.post("/v1/responses/compact", asked, Idempotency_Key="a")
            assert (got.status, got.json()["object"], there.calls) == (200, "response.compaction", 1)

    play(run())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (
            "/v1/messages",
            json_answer(
                id="msg_1", type="message", role="assistant", model="m", stop_reason="end_turn",
                content=[{"type": "text", "text": "Hello"}], usage={"input_tokens": 1, "output_tokens": 1},
            ),
        ),
        ("/v1/messages/count_tokens", json_answer(input_tokens=3)),
    ],
)  # fmt: skip
def test_anthropics_routes_are_asked_once_too(tmp_path, path, answer):
    async def run():
        async with scene(tmp_path, answer, p="anthropic", cache=None) as there:
            asked = MODEL | {"messages": HI, "max_tokens": 9}
            first = await there.client.post(path, asked, Idempotency_Key="a")
            again = await there.client.post(path, asked, Idempotency_Key="a")
            assert (first.status, again.status, again.body) == (200, 200, first.body)
            assert (again.headers[REPLAYED], there.calls) == ("true", 1)
            other = await there.client.post(path, asked | {"max_tokens": 8}, Idempotency_Key="a")
            assert (other.status, other.json()["type"]) == (422, "error")

    play(run())


def test_a_form_is_known_again_between_other_boundaries(tmp_path):
    """As client libraries write it for each attempt; another file is another request."""

    async def run():
        async with scene(tmp_path, json_answer(text="Hello"), p="openai", cache=None) as there:
            for number in range(2):
                body, headers = form_of(number)
                got = await there.client.post(
                    "/v1/audio/transcriptions", body, Idempotency_Key="a", **headers
                )
                assert (got.json()["text"], REPLAYED in got.headers) == ("Hello", number == 1)
            body, headers = form_of(2)
            body = body.replace(b"sound", b"noise")
            other = await there.client.post("/v1/audio/transcriptions", body, Idempotency_Key="a", **headers)
            assert (other.status, there.calls) == (422, 1)

    play(run())


@pytest.mark.parametrize("stream", [False, True])
def test_a_background_answer_is_one_run(tmp_path, stream):
    async def run():
        async with scene(tmp_path, Answer(frames=responses_frames()), p="openai") as there:
            asked = MODEL | {"input": "Hi", "background": True, "stream": stream}
            first = await there.client.post("/v1/responses", asked, Idempotency_Key="a")
            again = await there.client.post("/v1/responses", asked, Idempotency_Key="a")
            assert (first.status, again.body, again.headers[REPLAYED]) == (200, first.body, "true")

            async def ended():
                return read_rows(there.folder, "SELECT id FROM responses")

            (row,) = await eventually(ended)
            assert row["id"].encode() in first.body
            assert there.calls == 1

    play(run())


def test_a_conversation_is_made_once_and_grows_once(tmp_path):
    async def run():
        async with scene(tmp_path) as there:
            made = [
                (await there.client.post("/v1/conversations", {}, Idempotency_Key="a")).json()["id"]
                for _ in range(2)
            ]
            assert len(set(made)) == 1
            path = f"/v1/conversations/{made[0]}/items"
            added = [
                (await there.client.post(path, {"items": HI}, Idempotency_Key="b")).json() for _ in range(2)
            ]
            assert added[0] == added[1]
            assert len((await there.client.get(path)).json()["data"]) == 1

    play(run())


def test_a_cancelled_response_is_cancelled_once(tmp_path):
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate=gate, gate_at=3)
        async with scene(tmp_path, held, p="openai") as there:
            asked = MODEL | {"input": "Hi", "background": True}
            response_id = (await there.client.post("/v1/responses", asked)).json()["id"]
            path = f"/v1/responses/{response_id}/cancel"
            first = await there.client.post(path, {}, Idempotency_Key="a")
            again = await there.client.post(path, {}, Idempotency_Key="a")
            assert (first.json()["status"], again.body) == ("cancelled", first.body)
            assert again.headers[REPLAYED] == "true"

    play(run())


def test_a_deleted_response_is_told_no_more(tmp_path):
    """Not by its key either."""

    async def run():
        async with scene(tmp_path, p="openai", cache=None) as there:
            there.prepare("responses", stream=False)
            asked = MODEL | {"input": "Hi"}
            first = (await there.client.post("/v1/responses", asked, Idempotency_Key="a")).json()
            await eventually(lambda: there.gateway.application.idempotency.running == 0)
            await there.client.delete(f"/v1/responses/{first['id']}")
            again = await there.client.post("/v1/responses", asked, Idempotency_Key="a")
            assert (again.status, again.json()["error"]["code"]) == (410, "idempotency_answer_not_kept")
            assert there.calls == 1

    play(run())


def test_without_the_setting_the_header_means_nothing(tmp_path):
    async def run():
        async with scene(tmp_path, cache=None, idempotency=Idempotency(enabled=False)) as there:
            for _ in range(2):
                there.prepare("chat", stream=False)
                got = await there.again("chat", headers={"Idempotency_Key": "a b"})
                assert (got.status, REPLAYED in got.headers) == (200, False)
            assert there.calls == 2

    play(run())
