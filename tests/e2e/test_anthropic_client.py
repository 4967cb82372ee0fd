"""The official client of Anthropic, as its users use it, in front of Anthropic."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic._constants import ANTHROPIC_API_VERSION

from antiphon.drivers.simulator import Answer, Simulator, samples
from antiphon.settings import Key, Provider, Secret, Server, Size
from e2e.plain_client import plain_client
from e2e.scenes import Scene, play
from official_anthropic import comparable
from serving import serving, settings_for

FRAMES = samples.messages_frames(12)
BODY = samples.messages_body(600)
TEXT = json.loads(BODY)["content"][0]["text"]
MODEL = "claude/sonnet"
HELLO: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}
UPSTREAM_KEY = "sk-ant-upstream-0123456789"


def at(url: str) -> dict[str, Provider]:
    # As Anthropic's clients write it: without `/v1`.
    claude = Provider(
        type="anthropic", base_url=url.removesuffix("/v1"), api_key=Secret(UPSTREAM_KEY), models=("sonnet",)
    )
    return {"claude": claude, "up": Provider(type="openai", base_url=url, models=())}


@asynccontextmanager
async def talking(
    folder: Path, *answers: Answer, key: str = "any", **changes: Any
) -> AsyncIterator[tuple[Scene, anthropic.AsyncAnthropic]]:
    """A gateway in front of Anthropic, and its client."""
    async with Simulator(answers) as simulator:
        settings = settings_for(
            folder, simulator.base_url, **{"providers": at(simulator.base_url), **changes}
        )
        async with (
            serving(settings) as gateway,
            plain_client(gateway.port) as plain,
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client,
        ):
            yield Scene(folder, gateway, simulator, plain), client


def test_messages_are_answered_and_answered_again_from_the_cache(tmp_path):
    """JSON, and a stream from the same recording; the ledger has what it cost."""

    async def run():
        async with talking(tmp_path, Answer(body=BODY)) as (there, client):
            message = await client.messages.create(**HELLO)
            again = await client.messages.with_raw_response.create(**HELLO)
            async with client.messages.stream(**HELLO) as stream:
                texts = [text async for text in stream.text_stream]
                final = await stream.get_final_message()
            rows = await there.rows()

            assert message.content[0].text == "".join(texts) == TEXT
            assert comparable(message.to_dict()) == comparable(final.to_dict())
            assert again.headers["x-cache"] == "HIT (exact)"
            assert there.calls == 1
            assert [(row["cache"], row["dialect"], row["route"]) for row in rows] == [
                (result, "messages", "/messages") for result in ("miss", "hit", "hit")
            ]
            assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [(12, 200)] * 3

    play(run())


def test_streams_are_passed_on_and_folded_for_who_asks_for_json(tmp_path):
    """The other way round."""

    async def run():
        async with talking(tmp_path, Answer(frames=FRAMES)) as (there, client):
            stream = await client.messages.create(**HELLO, stream=True)
            kinds = [event.type async for event in stream]
            message = await client.messages.create(**HELLO)

            assert [kinds[0], kinds[-1]] == ["message_start", "message_stop"]
            assert message.content[0].text.startswith("A call, and the answer")
            assert (message.stop_reason, message.usage.output_tokens, there.calls) == ("end_turn", 200, 1)

    play(run())


def test_the_upstream_gets_its_own_key_and_the_clients_version(tmp_path):
    """`x-api-key`; the client's key stays here. Versions and betas go on, and count in the cache key."""

    async def run():
        async with talking(tmp_path, *[Answer(body=BODY)] * 4) as (there, client):
            await client.messages.create(**HELLO)
            await client.messages.create(**HELLO, extra_headers={"anthropic-beta": "one"})
            await client.messages.create(**HELLO, extra_headers={"anthropic-beta": "one"})
            await client.messages.create(**HELLO, extra_query={"beta": "true"})
            await there.client.post("/v1/messages", HELLO)
            await there.client.post("/v1/messages", HELLO, anthropic_version="2023-06-01")
            asked = [
                (call.path, call.headers["anthropic-version"], call.headers.get("anthropic-beta"))
                for call in there.simulator.calls
            ]

            assert asked == [
                ("/v1/messages", ANTHROPIC_API_VERSION, None),
                ("/v1/messages", ANTHROPIC_API_VERSION, "one"),
                ("/v1/messages?beta=true", ANTHROPIC_API_VERSION, None),
                ("/v1/messages", "2023-06-01", None),
            ]
            assert {call.headers["x-api-key"] for call in there.simulator.calls} == {UPSTREAM_KEY}
            assert not any("authorization" in call.headers for call in there.simulator.calls)

    play(run())


def test_equal_bytes_under_another_beta_are_not_a_hit(tmp_path):
    """Not even when the same bytes were answered from memory just before."""

    async def run():
        async with talking(tmp_path, *[Answer(body=BODY)] * 2) as (there, _):
            hits = []
            for beta in ("a", "a", "a", "b", "b", "a"):
                got = await there.client.post("/v1/messages", HELLO, anthropic_beta=beta)
                hits.append(got.is_hit)

            assert hits == [False, True, True, False, True, True]
            assert there.calls == 2

    play(run())


def test_tokens_are_counted_by_the_upstream(tmp_path):
    """And an equal question is not asked twice."""

    async def run():
        async with talking(tmp_path, Answer(body=samples.count_tokens_body())) as (there, client):
            question = {"model": MODEL, "messages": HELLO["messages"]}
            counts = [await client.messages.count_tokens(**question) for _ in range(2)]

            assert [count.input_tokens for count in counts] == [12, 12]
            assert [call.path for call in there.simulator.calls] == ["/v1/messages/count_tokens"]

    play(run())


@pytest.mark.parametrize("header", [{"x-api-key": "sk-alice"}, {"authorization": "Bearer sk-alice"}])
def test_a_clients_key_is_found_in_either_header(tmp_path, header):
    """Older clients of Anthropic send `x-api-key`, newer ones a bearer token."""

    async def run():
        keys = (Key(name="alice", key=Secret("sk-alice")),)
        async with talking(tmp_path, Answer(body=BODY), keys=keys, key="sk-mallory") as (there, client):
            with pytest.raises(anthropic.AuthenticationError) as raised:
                await client.messages.create(**HELLO)
            keyless = {"authorization": anthropic.Omit()}
            with pytest.raises(anthropic.AuthenticationError, match="didn't provide"):
                await client.messages.create(**HELLO, extra_headers=keyless)
            message = await client.messages.create(**HELLO, extra_headers=keyless | header)

            assert (raised.value.type, raised.value.error_code) == ("authentication_error", "invalid_api_key")
            assert message.content[0].text == TEXT
            assert [row["key"] for row in await there.rows()] == ["alice"]

    play(run())


REFUSALS = [
    ({"model": "claude/"}, anthropic.NotFoundError, "not_found_error", "model_not_found"),
    ({"model": ""}, anthropic.BadRequestError, "invalid_request_error", "missing_required_parameter"),
    ({"model": 3}, anthropic.BadRequestError, "invalid_request_error", "invalid_type"),
]


@pytest.mark.parametrize(("change", "raises", "kind", "code"), REFUSALS)
def test_what_cannot_be_served_is_told_in_anthropics_form(tmp_path, change, raises, kind, code):
    """The client raises its own class, with type, code, and the id of the request."""

    async def run():
        async with talking(tmp_path) as (there, client):
            for ask in (client.messages.create, client.messages.count_tokens):
                request = HELLO | change
                if ask == client.messages.count_tokens:
                    del request["max_tokens"]
                with pytest.raises(raises) as raised:
                    await ask(**request)
                told = raised.value
                assert (told.type, told.error_code, told.body["error"]["details"]["param"]) == (
                    kind,
                    code,
                    "model",
                )
                assert told.body["request_id"] == told.response.headers["x-request-id"]
            assert there.calls == 0

    play(run())


def test_an_error_of_another_family_is_told_in_anthropics_form(tmp_path):
    """A proxy in front of Anthropic that answers as OpenAI would; Anthropic's own error stays as it is."""
    foreign = {
        "error": {"message": "Slow down", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}
    }
    own = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "odd": 1}}
    retry = (("retry-after", "7"), ("x-should-retry", "true"))
    answers = (
        Answer(status=429, body=json.dumps(foreign).encode(), headers=retry),
        Answer(status=529, body=json.dumps(own).encode()),
    )

    async def run():
        async with talking(tmp_path, *answers) as (_, client):
            with pytest.raises(anthropic.RateLimitError) as limited:
                await client.messages.create(**HELLO)
            with pytest.raises(anthropic.OverloadedError) as overloaded:
                await client.messages.create(**HELLO)

            assert (limited.value.type, limited.value.error_code) == (
                "rate_limit_error",
                "rate_limit_exceeded",
            )
            assert limited.value.api_message == "Slow down"
            assert dict(retry).items() <= limited.value.response.headers.items()
            assert overloaded.value.body == own

    play(run())


def test_an_error_of_anthropics_is_told_in_openais_form(tmp_path):
    """The reverse, at an upstream that mixes them up."""
    told = {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}, "request_id": "r"}

    async def run():
        async with talking(tmp_path, Answer(status=404, body=json.dumps(told).encode())) as (there, _):
            got = await there.client.post("/v1/responses", {"model": "up/x", "input": "Hi"})

            assert (got.status, got.json()) == (
                404,
                {
                    "error": {
                        "message": "model: x",
                        "type": "not_found_error",
                        "param": None,
                        "code": "not_found_error",
                    }
                },
            )

    play(run())


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("PUT", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages?x=" + "x" * 3000, 413, "request_too_large"),
        ("POST", "/v1/messages/count_tokens", 413, "request_too_large"),
    ],
)
def test_below_v1_messages_every_refusal_has_anthropics_form(tmp_path, method, path, status, kind):
    """Also of what is no route, and of what is too large to be read."""

    async def run():
        server = Server(port=0, max_body_bytes=Size(1000))
        async with talking(tmp_path, server=server) as (there, _):
            there.client.send(method, path, b"x" * (2000 if status == 413 else 10))
            got = await there.client.answer()

            assert (got.status, got.json()["type"], got.json()["error"]["type"]) == (status, "error", kind)

    play(run())


@pytest.mark.parametrize("path", ["/v1/messagesx", "/v1", "/v1/models/messages"])
def test_elsewhere_errors_have_openais_form(tmp_path, path):
    """The default."""

    async def run():
        async with talking(tmp_path) as (there, _):
            got = await there.client.post(path, {})

            assert got.json()["error"]["code"] == "not_found"

    play(run())


def test_an_answer_at_a_limit_is_kept_and_a_refused_one_is_not(tmp_path):
    """`max_tokens` is always the request's own limit; the context window is not, and a refusal is no answer."""
    bodies = {
        reason: BODY.replace(b'"end_turn"', f'"{reason}"'.encode())
        for reason in ("max_tokens", "model_context_window_exceeded", "refusal")
    }

    async def run():
        answers = [Answer(body=body) for body in bodies.values() for _ in range(2)]
        async with talking(tmp_path, *answers[1:]) as (there, _):
            hits = {}
            for reason in bodies:
                request = HELLO | {"messages": [{"role": "user", "content": reason}]}
                await there.client.post("/v1/messages", request)
                hits[reason] = (await there.client.post("/v1/messages", request)).is_hit

            assert hits == {"max_tokens": True, "model_context_window_exceeded": False, "refusal": False}

    play(run())


def test_all_models_of_the_upstream_are_listed(tmp_path):
    """Anthropic shows twenty at a time unless it is asked for more."""
    model = {
        "type": "model",
        "id": "claude-sonnet-5",
        "display_name": "Sonnet",
        "created_at": "2026-01-01T00:00:00Z",
    }
    listed = Answer(body=json.dumps({"data": [model], "has_more": False}).encode())

    async def run():
        async with Simulator([listed, Answer(body=BODY)]) as simulator:
            claude = Provider(type="anthropic", base_url=simulator.base_url)
            settings = settings_for(tmp_path, simulator.base_url, providers={"claude": claude})
            async with serving(settings) as gateway, plain_client(gateway.port) as client:
                got = await client.post("/v1/messages", HELLO | {"model": "claude-sonnet-5"})

            assert got.json()["content"][0]["text"] == TEXT
            assert simulator.calls[0].path == "/v1/models?limit=1000"

    play(run())


def test_without_a_cache_messages_pass_too(tmp_path):
    """Nothing depends on it."""

    async def run():
        async with talking(tmp_path, Answer(frames=FRAMES), cache=None) as (_, client):
            async with client.messages.stream(**HELLO) as stream:
                final = await stream.get_final_message()

            assert final.content[0].text.startswith("A call")

    play(run())
