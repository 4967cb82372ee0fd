"""Probing a provider over real sockets: each cause of trouble has a verdict and a sentence of its own."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import get_args

import pytest

from antiphon.dialects.probes import PROBES
from antiphon.drivers.http import http_upstream
from antiphon.drivers.playback import playback
from antiphon.drivers.simulator import Answer, Fault, Simulator, refused_base_url
from antiphon.drivers.simulator.samples import chat_frames, responses_frames
from antiphon.engine.probe_subject import STEPS, Subject
from antiphon.engine.probing import hurried, probe
from antiphon.settings import Provider, ProviderType, Secret
from antiphon.wire.sse import DONE
from certificates import authority
from drivers.http.raw_upstream import RawServer, answers
from waiting import PATIENCE

KEY = "sk-this-must-not-be-shown"
WEB_PAGE = Answer(404, body=b"<!DOCTYPE html><html><title>Not here</title></html>", content_type="text/html")
NO_ROUTE = Answer(404, body=b"404 page not found", content_type="text/plain")
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
CHAT = Answer(frames=[*chat_frames(5)[:-1], b"data: %b\n\n" % json.dumps(USAGE).encode(), DONE])


def listing(*names):
    return Answer(body=json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


def error(status, message="", **more):
    return Answer(status, body=json.dumps({"error": {"message": message, **more}}).encode())


def routes(**by_end):
    """Answer by the end of the path, `models`, `completions` or `responses`; elsewhere there is nothing."""
    return lambda received: by_end.get(received.path.partition("?")[0].rpartition("/")[2], NO_ROUTE)


@dataclass
class Found:
    """The steps of a probe."""

    steps: tuple

    def __getitem__(self, name):
        """The step of that name; of several, the last."""
        return [step for step in self.steps if step.name == name][-1]

    @property
    def verdicts(self):
        return {step.name: str(step.verdict) for step in self.steps}

    @property
    def failures(self):
        return {step.name: step.message for step in self.steps if step.verdict == "failed"}


@dataclass
class Expected:
    type: str = "openai-chat"
    seconds: float = 5.0
    aliases: dict = field(default_factory=dict)
    asked: tuple = ()


async def probed(base_url, expected=None, **changes):
    expected = expected or Expected()
    settings = Provider(**{"type": expected.type, "base_url": base_url, "api_key": Secret(KEY), **changes})

    def connect(provider):
        key = ((b"authorization", b"Bearer " + provider.api_key.encode()),) if provider.api_key else ()
        return http_upstream(provider, base_url=provider.base_url, headers=key, environ={})

    subject = Subject("up", hurried(settings, expected.seconds), expected.aliases, expected.asked)
    async with asyncio.timeout(PATIENCE):
        found = Found(await probe(subject, connect, time.monotonic))
    assert tuple(dict.fromkeys(step.name for step in found.steps)) == STEPS
    assert KEY not in repr(found.steps)
    return found


def found(answers, expected=None, path="", **changes):
    """Probe a simulated provider; `path` is put between its address and `/v1`."""

    async def main():
        async with Simulator(answers) as upstream:
            base_url = upstream.base_url.removesuffix("/v1") + path if path else upstream.base_url
            return await probed(base_url, expected, **changes)

    return asyncio.run(main())


def test_all_is_well():
    """Every step is ok, and the answer says what a person wants to know of it."""
    seen = found(
        routes(models=listing("big", "small-mini"), completions=CHAT),
        Expected(aliases={"fast": "small-mini"}),
    )

    assert set(seen.verdicts.values()) == {"ok"}
    assert seen["key"].message == "accepted"
    assert seen["models"].details == {"count": 2}
    answer = seen["answer"].details
    assert (answer["model"], answer["input_tokens"], answer["output_tokens"]) == ("small-mini", 9, 2)
    assert 0 < answer["first_token_seconds"] <= answer["seconds"]
    assert "whole and with usage" in seen["answer"].message


def test_what_is_asked_costs_next_to_nothing():
    """One list, and one request with a small token limit, streamed, with the key that is configured."""

    async def main():
        async with Simulator(routes(models=listing("m"), completions=CHAT)) as upstream:
            await probed(upstream.base_url)
            return upstream.calls

    lists, asks = asyncio.run(main())

    assert (lists.method, lists.path) == ("GET", "/v1/models")
    assert (asks.method, asks.path) == ("POST", "/v1/chat/completions")
    body = json.loads(asks.body)
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 16, True)
    assert {call.headers["authorization"] for call in (lists, asks)} == {f"Bearer {KEY}"}


def test_no_such_host():
    """The name is shown, and nothing else is tried."""
    seen = asyncio.run(probed("http://no-such-host.invalid/v1"))

    assert "no-such-host.invalid" in seen.failures["reachable"]
    assert list(seen.verdicts.values()) == ["failed", *["skipped"] * 4]


def test_refused():
    """Nobody listens there."""
    with refused_base_url() as base_url:
        seen = asyncio.run(probed(base_url))

    assert "nothing listens at 127.0.0.1:" in seen.failures["reachable"]


def test_no_connection_in_time():
    """The handshake of TLS hangs."""

    async def silent(line):
        await line.gone()

    async def main():
        async with RawServer(silent).running() as server:
            return await probed(f"https://localhost:{server.port}/v1", Expected(seconds=0.2))

    assert "no connection to localhost:" in asyncio.run(main()).failures["reachable"]


def test_a_certificate_that_is_not_trusted(tmp_path):
    """The reason is said, and where to name an authority of one's own."""

    async def main():
        context, _ = authority(tmp_path)
        async with RawServer(answers()).running(context) as server:
            return await probed(f"https://localhost:{server.port}/v1")

    failure = asyncio.run(main()).failures["reachable"]
    assert "is not trusted (unable to get local issuer certificate)" in failure
    assert "SSL_CERT_FILE" in failure


def test_no_tls():
    """https:// is written where http:// is spoken."""

    async def main():
        async with Simulator(NO_ROUTE) as upstream:
            return await probed(upstream.base_url.replace("http:", "https:"))

    assert "is it http:// there?" in asyncio.run(main()).failures["reachable"]


def test_not_http():
    """Something else listens there, or TLS is wanted."""

    async def main():
        async with RawServer(answers(b"SSH-2.0-OpenSSH_9.2\r\n", then="close")).running() as server:
            return await probed(f"http://127.0.0.1:{server.port}/v1")

    assert "or no HTTP at all?" in asyncio.run(main()).failures["reachable"]


def test_a_provider_that_says_nothing():
    """It takes the request, and time runs out."""
    seen = found(Answer(fault=Fault.STALL, at=-1), Expected(seconds=0.2))

    assert "it took the request and says nothing" in seen.failures["reachable"]
    assert "--timeout" in seen.failures["reachable"]


@pytest.mark.parametrize(
    ("status", "key", "said"),
    [
        (401, Secret(KEY), "the key is not accepted"),
        (401, None, "set `api_key`"),
        (403, Secret(KEY), "the key may not do this"),
    ],
)
def test_a_key_that_is_refused(status, key, said):
    """The provider is there; its own words are not shown, since they hold pieces of the key."""
    seen = found(error(status, f"Incorrect key: {KEY[:9]}***"), api_key=key)

    assert said in seen.failures["key"]
    assert "sk-this" not in repr(seen.steps)
    assert list(seen.verdicts.values()) == ["ok", "failed", "skipped", "skipped", "skipped"]


def test_a_key_that_is_refused_only_for_the_answer():
    """Some give their list of models to anybody."""
    seen = found(routes(models=listing("m"), completions=error(401, "No.")))

    assert "the key is not accepted" in seen.failures["key"]
    assert "see `key`" in seen.failures["answer"]
    assert (seen.verdicts["dialect"], seen.verdicts["models"]) == ("ok", "ok")


def test_gemini_says_400_for_a_bad_key():
    """Its reason is in the details."""
    body = {
        "error": {
            "code": 400,
            "message": "Bad key",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}],
        }
    }
    seen = found(Answer(400, body=json.dumps(body).encode()), Expected(type="gemini"))

    assert "the key is not accepted" in seen.failures["key"]


def test_no_key_is_wanted_and_none_is_there():
    """As with most servers on one's own machine."""
    seen = found(routes(models=listing("m"), completions=CHAT), api_key=None)

    assert (seen.verdicts["key"], seen["key"].message) == ("ok", "none is configured, and none was asked for")


@pytest.mark.parametrize("status", [200, 404])
def test_a_web_page(status):
    """With whatever status it comes."""
    page = Answer(status, body=WEB_PAGE.body, content_type="text/html; charset=utf-8")

    assert "a web page answers at /models" in found(page).failures["dialect"]


@pytest.mark.parametrize(
    ("configured", "right"),
    [
        ("", "/v1"),
        ("/v1/v1", "/v1"),
        ("/v1/chat/completions", "/v1"),
        ("/v1/models", "/v1"),
        ("/openai", "/openai/v1"),
        ("/v1", "/api/v1"),
    ],
)
def test_a_base_url_beside_the_right_one(configured, right):
    """The right one is found by trying, and said."""

    async def main():
        def answer(received):
            return listing("m") if received.path == f"{right}/models" else NO_ROUTE

        async with Simulator(answer) as upstream:
            address = upstream.base_url.removesuffix("/v1")
            return address, await probed(address + configured)

    address, seen = asyncio.run(main())

    assert f"set `base_url: {address}{right}`" in seen.failures["dialect"]
    assert seen.verdicts["key"] == "skipped"


def test_a_base_url_beside_the_right_one_that_wants_another_key():
    """An error in the right manner is a sign of an API too."""

    async def main():
        def answer(received):
            return error(401, "no") if received.path == "/v1/models" else NO_ROUTE

        async with Simulator(answer) as upstream:
            return await probed(upstream.base_url + "/v1")

    assert "set `base_url: http://127.0.0.1:" in asyncio.run(main()).failures["dialect"]


def test_an_api_of_another_dialect_nearby():
    """An Ollama that has no OpenAI manners."""

    async def main():
        def answer(received):
            models = Answer(body=b'{"models": [{"name": "llama3:latest", "model": "llama3:latest"}]}')
            return models if received.path == "/api/tags" else NO_ROUTE

        async with Simulator(answer) as upstream:
            return await probed(upstream.base_url)

    failure = asyncio.run(main()).failures["dialect"]
    assert "set `type: ollama` and `base_url: http://127.0.0.1:" in failure
    assert not failure.endswith("/v1`")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, "`type: anthropic`"),
        ({"error": {"code": 403, "message": "x", "status": "PERMISSION_DENIED"}}, "`type: gemini`"),
    ],
)
def test_an_error_of_another_dialect(body, said):
    """It is not the key that is wrong then."""
    seen = found(Answer(401, body=json.dumps(body).encode()))

    assert said in seen.failures["dialect"]
    assert seen.verdicts["key"] == "skipped"


def test_a_redirect_is_not_followed():
    """It says where it leads, without the query, where keys may be."""
    seen = found(Answer(308, headers=(("location", f"https://elsewhere/v1?key={KEY}"),)))

    assert "leads to https://elsewhere/v1, which" in seen.failures["dialect"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error(429, "Slow down"), "over a limit, try again later: status 429 (Slow down)"),
        (error(503, "Overloaded"), "in trouble: status 503 (Overloaded)"),
        (Answer(body=b'{"data": []}', fault=Fault.NO_LAST_CHUNK), "did not come whole"),
    ],
)
def test_a_list_that_is_not_to_be_had(answer, said):
    """The provider is there, and the list is not."""
    assert said in found(answer).failures["models"]


def test_no_model_is_listed():
    """There is nothing to ask."""
    seen = found(routes(models=listing()))

    assert seen.failures == {"models": "no model is listed: load one there first"}
    assert "--model" in seen["answer"].message


def test_an_alias_of_a_model_that_is_not_listed():
    """Names that look like it are said; the answer comes from one that is listed."""
    seen = found(
        routes(models=listing("llama-3.1-8b"), completions=CHAT),
        Expected(aliases={"fast": "llama3.1-8b"}),
        models=("other",),
    )

    assert seen.failures["models"].startswith("1 model listed, but not llama3.1-8b (models.fast)")
    assert "did you mean llama-3.1-8b?" in seen.failures["models"]
    assert "not other (providers.up.models): --model up/other shows" in seen.failures["models"]
    assert seen["answer"].details["model"] == "llama-3.1-8b"


def test_a_model_that_is_not_listed_and_answers():
    """The list is not the truth: who was asked with --model and answered is there."""
    seen = found(
        routes(models=listing("llama-3.1-8b"), completions=CHAT),
        Expected(aliases={"fast": "tuned"}, asked=("tuned",)),
    )

    assert seen.failures == {}
    assert seen["answer"].details["model"] == "tuned"


def test_several_models_are_asked():
    """Each gets a verdict."""

    def answer(received):
        if received.path.endswith("/models"):
            return listing("a", "b")
        return CHAT if b'"a"' in received.body else error(404, "no b here")

    seen = found(answer, Expected(asked=("a", "b")))

    assert [(str(step.verdict), step.details["model"]) for step in seen.steps[4:]] == [
        ("ok", "a"),
        ("failed", "b"),
    ]
    assert "status 404 (no b here): check the model's name" in seen.failures["answer"]


def test_a_guessed_model_that_refuses_makes_room_for_the_next():
    """Lists hold models that answer no chats, or not to everybody."""

    def answer(received):
        if received.path.endswith("/models"):
            return listing("text-embedding-3", "first", "second")
        return CHAT if b'"second"' in received.body else error(403, "not yours")

    seen = found(answer)

    assert seen.failures == {}
    assert seen["answer"].details["model"] == "second"


def test_a_provider_without_a_list():
    """Where a model is known it is asked; an answer is proof enough."""
    seen = found(routes(completions=CHAT), Expected(aliases={"fast": "m"}))

    assert seen.failures == {}
    assert seen["models"].message == "it has no list of models: status 404 (404 page not found)"
    assert (seen.verdicts["dialect"], seen.verdicts["models"]) == ("ok", "skipped")


def test_neither_a_list_nor_an_answer():
    """Then it is not what its type says."""
    seen = found(NO_ROUTE, Expected(aliases={"fast": "m"}))

    assert "neither a list of models nor an answer" in seen.failures["dialect"]


def test_no_responses_api():
    """A provider of type openai that has only chat completions."""
    seen = found(routes(models=listing("m"), completions=CHAT), Expected(type="openai"))

    assert "set `type: openai-chat`" in seen.failures["dialect"]


def test_responses_are_asked_of_an_openai_provider():
    """And nothing else, where they are answered."""

    async def main():
        answer = routes(models=listing("m"), responses=Answer(frames=responses_frames(9)))
        async with Simulator(answer) as upstream:
            return await probed(upstream.base_url, Expected(type="openai")), upstream.calls

    seen, calls = asyncio.run(main())

    assert seen.failures == {}
    assert [call.path for call in calls] == ["/v1/models", "/v1/responses"]
    assert json.loads(calls[1].body)["store"] is False


def test_a_model_that_wants_its_limit_under_the_newer_name():
    """OpenAI's reasoning models refuse `max_tokens`."""

    def answer(received):
        if received.path.endswith("/models"):
            return listing("o3")
        return CHAT if b"max_completion_tokens" in received.body else error(400, "no max_tokens")

    assert found(answer).failures == {}


def test_a_server_that_refuses_to_be_asked_for_usage():
    """The mend is one that was tried."""

    def answer(received):
        if received.path.endswith("/models"):
            return listing("m")
        return error(400, "no stream_options") if b"stream_options" in received.body else CHAT

    assert "set `usage_in_streams: false`" in found(answer).failures["answer"]


@pytest.mark.parametrize(
    ("completions", "said"),
    [
        (
            Answer(frames=chat_frames(6), fault=Fault.RESET_BETWEEN_FRAMES, at=3),
            "in the middle of its answer",
        ),
        (Answer(frames=chat_frames(6), fault=Fault.NO_TERMINAL_EVENT, at=3), "a proxy may have cut it"),
        (Answer(frames=chat_frames(6), fault=Fault.INVALID_JSON, at=3), "an event that is not JSON"),
        (Answer(frames=chat_frames(6), fault=Fault.HUGE_FRAME, at=3), "more than 1 MiB"),
        (Answer(frames=[b"data: [DONE]\n\n"]), "the answer is no stream"),
        (Answer(body=b'{"choices": []}'), "the answer is no stream"),
        (
            Answer(frames=[b'data: {"error": {"message": "GPU on fire"}}\n\n']),
            "told an error instead of an answer: GPU on fire",
        ),
        (error(500, "Oh no"), r"status 500 \(Oh no\)"),
        (error(429, "Slow down"), "over a limit"),
        (WEB_PAGE, "a web page answers at /chat/completions"),
    ],
)
def test_an_answer_that_is_not_as_it_should_be(completions, said):
    """Each way to break has a sentence of its own."""
    seen = found(routes(models=listing("m"), completions=completions))

    assert re.search(said, seen.failures["answer"]), seen.failures["answer"]


def test_an_answer_that_is_slow():
    """The first bytes come, and then time runs out."""
    slow = Answer(frames=chat_frames(6), fault=Fault.STALL, at=2)
    seen = found(routes(models=listing("m"), completions=slow), Expected(seconds=0.2))

    assert "fell silent for 0.2 s" in seen.failures["answer"]
    assert "--timeout" in seen.failures["answer"]


def test_an_answer_that_does_not_begin():
    """As with a model that has to be loaded first."""
    slow = Answer(fault=Fault.STALL, at=-1)
    seen = found(routes(models=listing("m"), completions=slow), Expected(seconds=0.2))

    assert "a model that is only loaded when asked for takes longer" in seen.failures["answer"]


@pytest.mark.parametrize(("known", "verdict"), [(True, "failed"), (False, "ok")])
def test_a_stream_without_usage(known, verdict):
    """It fails unless the settings say that this is known."""
    seen = found(
        routes(models=listing("m"), completions=Answer(frames=chat_frames(5))), usage_in_streams=known
    )

    assert seen.verdicts["answer"] == verdict
    assert "without usage" in seen["answer"].message


def test_a_cassette():
    """It needs neither a network nor a key, and is not waited for at its own pace."""

    async def main(**changes):
        settings = hurried(Provider(type="playback", cassette="builtin:demo", **changes), 5)
        return Found(await probe(Subject("tape", settings), playback, time.monotonic))

    assert asyncio.run(main()).failures == {}
    strict = asyncio.run(main(strict=True))
    assert (strict.failures, strict.verdicts["answer"]) == ({}, "skipped")


def test_every_type_of_provider_has_a_probe():
    """A new type is one more row."""
    assert set(get_args(ProviderType)) <= set(PROBES)
