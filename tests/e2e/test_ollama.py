"""Ollama behind the gateway, over sockets, asked by the official client library."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from antiphon.dialects.providers import PROVIDERS
from antiphon.drivers.simulator import Answer, Fault, Received, Simulator
from antiphon.settings import Provider, Secret
from e2e.callers import CALLERS
from e2e.plain_client import plain_client
from e2e.samples import completion_body, completion_frames, embeddings_body
from e2e.scenes import Scene, play
from official_library import events_of, frames_of
from serving import serving, settings_for

MODEL = "near/gemma3:1b"
RESPONSES: Any = {"model": MODEL, "input": "Hi"}
COMPLETIONS: Any = {"model": MODEL, "prompt": "Hi"}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def chat_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ollama have nothing but its own API, so that completions are translated too."""
    monkeypatch.setitem(PROVIDERS, "ollama", replace(PROVIDERS["ollama"], speaks=("ollama",)))


@contextlib.asynccontextmanager
async def near(
    folder: Path, *answers: Any, kind: Any = "ollama", path: str = "", **more: Any
) -> AsyncIterator[Scene]:
    """A gateway whose provider `near` is Ollama, or of another kind."""
    chosen = answers[0] if answers and callable(answers[0]) else answers
    async with Simulator(chosen) as simulator:
        url = simulator.base_url.removesuffix("/v1") + path
        provider = Provider(**{"type": kind, "base_url": url, "models": ("gemma3:1b",), **more})
        settings = settings_for(folder, simulator.base_url, providers={"near": provider})
        async with serving(settings) as gateway, plain_client(gateway.port) as client:
            yield Scene(folder, gateway, simulator, client)


def line(content: str = "", *, done: bool = False, **message: Any) -> dict[str, Any]:
    ending = {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5} if done else {}
    told = {"role": "assistant", "content": content, **message}
    return {
        "model": "gemma3:1b",
        "created_at": "2026-01-01T12:00:00Z",
        "message": told,
        "done": done,
        **ending,
    }


def streamed(*lines: Any, piece: int = 23) -> Answer:
    """Return an answer whose lines come in pieces that end anywhere."""
    data = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in lines)
    pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
    return Answer(frames=pieces, content_type="application/x-ndjson")


def plain(body: Any, status: int = 200) -> Answer:
    content_type = "application/json; charset=utf-8"
    return Answer(status=status, body=json.dumps(body).encode(), content_type=content_type)


SPOKEN = streamed(line(thinking="Hm, "), line(thinking="so."), line("Größe "), line("😊"), line(done=True))
WHOLE = plain(line("Größe 😊", done=True, thinking="Hm, so."))


def sent(there: Scene, number: int = -1) -> Any:
    return json.loads(there.simulator.calls[number].body)


# Responses.


def test_a_response_is_created(tmp_path: Path, caller: Any):
    """Ollama is asked by its own API; thinking is reasoning, and its counts are usage."""

    async def run() -> None:
        async with near(tmp_path, WHOLE) as there:
            answer = await caller(there.base_url).result(lambda c: c.responses.create(**RESPONSES))
            assert there.simulator.calls[0].path == "/api/chat"
            assert sent(there) == {
                "model": "gemma3:1b",
                "messages": [{"role": "user", "content": "Hi"}],
                "stream": False,
            }
        assert (answer.status, answer.output_text, answer.model) == ("completed", "Größe 😊", "gemma3:1b")
        assert answer.output[0].content[0].text == "Hm, so."
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 5)

    play(run())


def test_a_response_is_streamed_and_then_replayed(tmp_path: Path, caller: Any):
    """Lines in pieces become events; the same request again asks nobody, in either form."""

    async def run() -> None:
        async with near(tmp_path, SPOKEN) as there:
            official = caller(there.base_url)
            events, final = await official.helped(
                lambda c: c.responses.stream(**RESPONSES), "get_final_response"
            )
            again = await official.result(lambda c: c.responses.create(**RESPONSES))
            assert there.calls == 1
            assert sent(there)["stream"] is True
            (row,) = await there.rows("miss")
            assert (row["input_tokens"], row["output_tokens"]) == (7, 5)
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert deltas == ["Größe ", "😊"]
        assert final.output_text == again.output_text == "Größe 😊"
        assert final.usage.total_tokens == again.usage.total_tokens == 12

    play(run())


def test_a_tool_loop(tmp_path: Path, caller: Any):
    """The call comes with its id; its output goes back with thoughts, call and name."""
    asked = streamed(
        line(thinking="Look."),
        line(
            tool_calls=[
                {"id": "call_7", "function": {"index": 0, "name": "weather", "arguments": {"at": "Köln"}}}
            ]
        ),
        line(done=True),
    )

    async def run() -> None:
        async with near(tmp_path, asked, plain(line("Rain.", done=True))) as there:
            official = caller(there.base_url)
            events = await official.listed(
                lambda c: c.responses.create(**RESPONSES, tools=[WEATHER], stream=True)
            )
            first = events[-1].response
            output = {"type": "function_call_output", "call_id": "call_7", "output": "wet"}
            turn = [{"role": "user", "content": "Hi"}, *(item.model_dump() for item in first.output), output]
            second = await official.result(
                lambda c: c.responses.create(model=MODEL, input=turn, tools=[WEATHER])
            )
            messages = sent(there)["messages"]
        call = first.output[1]
        assert (call.type, call.call_id, json.loads(call.arguments)) == (
            "function_call",
            "call_7",
            {"at": "Köln"},
        )
        assert messages[1:] == [
            {
                "role": "assistant",
                "content": "",
                "thinking": "Look.",
                "tool_calls": [
                    {"id": "call_7", "function": {"name": "weather", "arguments": {"at": "Köln"}}}
                ],
            },
            {"role": "tool", "content": "wet", "tool_name": "weather", "tool_call_id": "call_7"},
        ]
        assert second.output_text == "Rain."

    play(run())


class Count(BaseModel):
    n: int


def test_an_answer_is_held_to_a_schema(tmp_path: Path, caller: Any):
    """The library's own parsing works."""

    async def run() -> None:
        async with near(tmp_path, plain(line('{"n": 3}', done=True))) as there:
            answer = await caller(there.base_url).result(
                lambda c: c.responses.parse(**RESPONSES, text_format=Count)
            )
            assert sent(there)["format"]["properties"]["n"]["type"] == "integer"
        assert answer.output_parsed == Count(n=3)

    play(run())


def test_ollamas_own_settings_reach_it(tmp_path: Path):
    """`options` and `keep_alive` in the body of any client."""

    async def run() -> None:
        async with near(tmp_path, WHOLE) as there:
            body = {**RESPONSES, "options": {"num_ctx": 8192}, "keep_alive": "1m", "temperature": 0}
            assert (await there.client.post("/v1/responses", body)).status == 200
            assert sent(there)["options"] == {"num_ctx": 8192, "temperature": 0}
            assert sent(there)["keep_alive"] == "1m"

    play(run())


# Errors.


def test_an_error_of_ollamas_keeps_its_status_and_message(tmp_path: Path, caller: Any):
    """A model that is not there is a 404."""
    missing = plain({"error": 'model "gemma3:1b" not found, try pulling it first'}, status=404)

    async def run() -> None:
        async with near(tmp_path, missing) as there:
            for stream in (False, True):
                with pytest.raises(openai.NotFoundError) as caught:
                    await caller(there.base_url).result(
                        lambda c, stream=stream: c.responses.create(**RESPONSES, stream=stream)
                    )
                assert "not found, try pulling it first" in caught.value.response.text

    play(run())


BROKEN = {
    "an error in a line": streamed(line("Half"), {"error": "llama runner process has terminated"}),
    "no end": streamed(line("Half")),
    "a lost connection": replace(SPOKEN, fault=Fault.RESET_BETWEEN_FRAMES, at=30),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_breaks_is_not_ended_as_if_it_were_whole(tmp_path: Path, broken: Answer):
    """It fails, is not kept, and the next request asks again."""

    async def run() -> None:
        async with near(tmp_path, broken, SPOKEN) as there:
            got = await there.client.post("/v1/responses", RESPONSES | {"stream": True})
            last = events_of(frames_of(got.body))[-1]
            assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
            again = await there.client.post("/v1/responses", RESPONSES | {"stream": True})
            assert events_of(frames_of(again.body))[-1]["type"] == "response.completed"
            assert there.calls == 2

    play(run())


# What Ollama has of OpenAI's API.


def test_embeddings_and_completions_pass_through_below_v1(tmp_path: Path, caller: Any):
    """With everything that they hold, such as the suffix of a completion."""

    def answer(received: Received) -> Answer:
        if received.path == "/v1/embeddings":
            return Answer(body=embeddings_body())
        streams = json.loads(received.body).get("stream")
        return Answer(frames=completion_frames()) if streams else Answer(body=completion_body())

    async def run() -> None:
        async with near(tmp_path, answer) as there:
            official = caller(there.base_url)
            vectors = await official.result(lambda c: c.embeddings.create(model=MODEL, input="Hi"))
            completion = await official.result(lambda c: c.completions.create(**COMPLETIONS, suffix="!"))
            assert [call.path for call in there.simulator.calls] == ["/v1/embeddings", "/v1/completions"]
            assert sent(there) == {"model": "gemma3:1b", "prompt": "Hi", "suffix": "!"}
        assert vectors.data[0].embedding == [0.25, -0.5, 0.125]
        assert completion.choices[0].text == "Hello there"

    play(run())


def test_what_it_has_not_is_refused(tmp_path: Path):
    """A tool that it would have to run itself, with a word about who lacks it."""

    async def run() -> None:
        async with near(tmp_path) as there:
            body = {**RESPONSES, "tools": [{"type": "web_search"}]}
            got = await there.client.post("/v1/responses", body)
            assert (got.status, got.json()["error"]["param"]) == (400, "tools[0].type")
            assert "Ollama" in got.json()["error"]["message"]
            assert there.calls == 0

    play(run())


def test_its_models_are_listed(tmp_path: Path, caller: Any):
    """By its own route, and a bare name finds it."""

    def answer(received: Received) -> Answer:
        if received.path == "/api/tags":
            return plain({"models": [{"name": "gemma3:1b", "model": "gemma3:1b", "size": 1}]})
        return WHOLE

    async def run() -> None:
        async with near(tmp_path, answer, models=None, api_key=Secret("key-of-the-cloud")) as there:
            official = caller(there.base_url)
            listed = await official.listed(lambda c: c.models.list())
            response = await official.result(lambda c: c.responses.create(model="gemma3:1b", input="Hi"))
            calls = there.simulator.calls
        assert [model.id for model in listed] == [MODEL]
        assert response.output_text == "Größe 😊"
        assert [call.headers["authorization"] for call in calls] == ["Bearer key-of-the-cloud"] * 2

    play(run())


# Completions, translated.


@pytest.mark.usefixtures("chat_alone")
def test_a_completion_is_created_and_streamed(tmp_path: Path, caller: Any):
    """From one recording; usage is shown only to who asks for it, thinking to nobody."""

    async def run() -> None:
        async with near(tmp_path, SPOKEN) as there:
            official = caller(there.base_url)
            asked: Any = {**COMPLETIONS, "max_tokens": 9}
            chunks = await official.listed(lambda c: c.completions.create(**asked, stream=True))
            counted = await official.listed(
                lambda c: c.completions.create(**asked, stream=True, stream_options={"include_usage": True})
            )
            whole = await official.result(lambda c: c.completions.create(**asked))
            assert there.calls == 1
            assert sent(there)["options"] == {"num_predict": 9}
        assert [chunk.choices[0].text for chunk in chunks] == ["Größe ", "😊", ""]
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "stop"]
        assert counted[:-1] == chunks
        assert (counted[-1].choices, counted[-1].usage.total_tokens) == ([], 12)
        assert whole.id.startswith("cmpl-")
        assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("Größe 😊", "stop")
        assert whole.usage.completion_tokens == 5

    play(run())


@pytest.mark.usefixtures("chat_alone")
def test_a_completion_is_made_of_a_whole_answer(tmp_path: Path, caller: Any):
    """The upstream is asked in the mode of the client."""

    async def run() -> None:
        async with near(tmp_path, WHOLE) as there:
            whole = await caller(there.base_url).result(lambda c: c.completions.create(**COMPLETIONS))
            assert sent(there)["stream"] is False
        assert (whole.choices[0].text, whole.usage.prompt_tokens) == ("Größe 😊", 7)

    play(run())


@pytest.mark.usefixtures("chat_alone")
def test_a_completion_that_breaks_raises(tmp_path: Path, caller: Any):
    """The library sees the error in the stream, and no end."""

    async def run() -> None:
        async with near(tmp_path, BROKEN["an error in a line"]) as there:
            with pytest.raises(openai.APIError, match="llama runner process has terminated"):
                await caller(there.base_url).listed(
                    lambda c: c.completions.create(**COMPLETIONS, stream=True)
                )

    play(run())


@pytest.mark.usefixtures("chat_alone")
def test_a_completion_without_a_form_is_refused(tmp_path: Path, caller: Any):
    """By the name of the member, and nobody is asked."""

    async def run() -> None:
        async with near(tmp_path) as there:
            with pytest.raises(openai.BadRequestError) as caught:
                await caller(there.base_url).result(lambda c: c.completions.create(**COMPLETIONS, suffix="!"))
            assert (caught.value.param, caught.value.code) == ("suffix", "unsupported_parameter")
            assert there.calls == 0

    play(run())


# Responses of an upstream that has nothing but completions.


def test_a_response_comes_from_text_completions(tmp_path: Path, caller: Any):
    """A conversation is a transcript; streamed and whole."""

    async def run() -> None:
        upstreams = (Answer(frames=completion_frames()), Answer(body=completion_body("Hello there")))
        async with near(tmp_path, *upstreams, kind="openai-completions", path="/v1") as there:
            official = caller(there.base_url)
            _, final = await official.helped(
                lambda c: c.responses.stream(**RESPONSES, instructions="Be kind."), "get_final_response"
            )
            whole = await official.result(lambda c: c.responses.create(**RESPONSES))
            assert [call.path for call in there.simulator.calls] == ["/v1/completions"] * 2
            assert sent(there, 0)["prompt"] == "system: Be kind.\nuser: Hi\nassistant:"
            assert sent(there, 1)["prompt"] == "Hi"
        assert final.output_text == whole.output_text == "Hello there"
        assert final.usage.total_tokens == whole.usage.total_tokens == 7

    play(run())
