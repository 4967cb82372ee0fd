"""A Gemini provider behind the gateway, asked by the official client library for Responses."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Cache, Provider, Secret
from e2e.callers import CALLERS, AsyncCaller
from e2e.scenes import play
from recorded import exchanges, needs_recordings
from serving import serving, settings_for

MODEL = "google/gemini-3-flash-preview"
PATH = "/v1beta/models/gemini-3-flash-preview"
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 10}


def chunk(*parts: Any, **members: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **members}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-3-flash"}


def whole(*parts: Any) -> Answer:
    return Answer(body=json.dumps(chunk(*parts, finishReason="STOP"), indent=2).encode())


def streamed(*chunks: Any) -> Answer:
    return Answer(frames=[b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in chunks])


@contextlib.asynccontextmanager
async def gemini(folder: Path, *answers: Answer) -> AsyncIterator[tuple[Simulator, str]]:
    """A gateway in front of a simulated Gemini; its address for clients."""
    async with Simulator(answers) as simulator:
        base_url = simulator.base_url.removesuffix("/v1") + "/v1beta"
        provider = Provider(type="gemini", base_url=base_url, api_key=Secret("key-of-google"))
        settings = settings_for(folder, simulator.base_url, providers={"google": provider}, cache=Cache())
        async with serving(settings) as running:
            yield simulator, f"{running.url}/v1"


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_response_is_created(tmp_path: Path, caller: Any):
    """One call, with Gemini's path and key; the next equal request is a hit."""

    async def run() -> None:
        thought = {"text": "Hm", "thought": True}
        async with gemini(tmp_path, whole(thought, {"text": "Hello"})) as (simulator, base_url):
            for _ in range(2):
                response = await caller(base_url).result(
                    lambda c: c.responses.create(model=MODEL, input="Hi", reasoning={"effort": "low"})
                )
                assert (response.output_text, response.model) == ("Hello", "gemini-3-flash")
                assert response.output[0].summary[0].text == "Hm"
                assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 5)
                assert response.usage.output_tokens_details.reasoning_tokens == 3
            (call,) = simulator.calls
        assert (call.method, call.path) == ("POST", f"{PATH}:generateContent")
        assert call.headers["x-goog-api-key"] == "key-of-google"
        assert "authorization" not in call.headers
        assert json.loads(call.body) == {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "low"}},
        }

    play(run())


def test_a_response_is_streamed(tmp_path: Path, caller: Any):
    """The library's helper assembles it."""

    async def run() -> None:
        answer = streamed(chunk({"text": "Hel"}), chunk({"text": "lo"}, finishReason="STOP"))
        async with gemini(tmp_path, answer) as (simulator, base_url):
            events, final = await caller(base_url).helped(
                lambda c: c.responses.stream(model=MODEL, input="Hi"), "get_final_response"
            )
            assert simulator.calls[0].path == f"{PATH}:streamGenerateContent?alt=sse"
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert deltas == ["Hel", "lo"]
        assert (final.output_text, final.status) == ("Hello", "completed")

    play(run())


def test_a_tool_is_called_and_answered(tmp_path: Path):
    """The client gives the output items back, and Gemini gets its call, signed, with the response to it."""

    async def run() -> None:
        call = {
            "functionCall": {"id": "g1", "name": "weather", "args": {"city": "Rome"}},
            "thoughtSignature": "S",
        }
        async with gemini(tmp_path, whole(call), whole({"text": "Sunny"})) as (simulator, base_url):
            asked: list[Any] = [{"role": "user", "content": "Rome?"}]
            official = AsyncCaller(base_url)
            first = await official.result(
                lambda c: c.responses.create(model=MODEL, input=asked, tools=[TOOL], store=False)
            )
            called = first.output[-1]
            assert (called.name, json.loads(called.arguments)) == ("weather", {"city": "Rome"})
            asked += [item.model_dump(exclude_none=True) for item in first.output]
            asked.append({"type": "function_call_output", "call_id": called.call_id, "output": "sun"})
            second = await official.result(
                lambda c: c.responses.create(model=MODEL, input=asked, tools=[TOOL], store=False)
            )
            assert second.output_text == "Sunny"
            _, model, user = json.loads(simulator.calls[1].body)["contents"]
        assert model["parts"][-1]["functionCall"] == call["functionCall"]
        assert model["parts"][-1]["thoughtSignature"]
        assert user["parts"] == [
            {"functionResponse": {"id": "g1", "name": "weather", "response": {"output": "sun"}}}
        ]

    play(run())


@needs_recordings
@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (404, openai.NotFoundError), (429, openai.RateLimitError)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_keep_their_status_and_message(tmp_path: Path, status: int, error: Any, stream: bool):
    """As Google says them, whatever content type it gives them."""
    recorded = next(each for each in exchanges("gemini.generateContent", "plain", status))
    content_type = dict(recorded.headers).get("content-type", "application/json")

    async def run() -> None:
        answer = Answer(status=status, body=recorded.body, content_type=content_type)
        async with gemini(tmp_path, answer) as (_, base_url):
            with pytest.raises(error) as caught:
                await AsyncCaller(base_url).result(
                    lambda c: c.responses.create(model=MODEL, input="Hi", stream=stream)
                )
        assert json.loads(recorded.body)["error"]["message"] in caught.value.message

    play(run())


def test_a_blocked_prompt_says_why(tmp_path: Path):
    """As an error of the request, which no client sends again by itself."""

    async def run() -> None:
        answer = Answer(
            body=b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5}}'
        )
        async with gemini(tmp_path, answer) as (_, base_url):
            with pytest.raises(openai.BadRequestError, match="blocked the prompt: SAFETY") as caught:
                await AsyncCaller(base_url).result(lambda c: c.responses.create(model=MODEL, input="Hi"))
        assert caught.value.code == "invalid_prompt"

    play(run())


def test_a_stream_that_breaks_off_is_not_whole(tmp_path: Path):
    """No finish reason came."""

    async def run() -> None:
        async with gemini(tmp_path, streamed(chunk({"text": "Hel"}))) as (_, base_url):
            with pytest.raises(openai.APIError):
                await AsyncCaller(base_url).listed(
                    lambda c: c.responses.create(model=MODEL, input="Hi", stream=True)
                )

    play(run())


def test_models_are_those_that_generate_content(tmp_path: Path, caller: Any):
    """Asked for in one page."""
    models = [
        {"name": "models/gemini-2.5-pro", "supportedGenerationMethods": ["generateContent"]},
        {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
    ]

    async def run() -> None:
        async with gemini(tmp_path, Answer(body=json.dumps({"models": models}).encode())) as (
            simulator,
            base_url,
        ):
            listed = await caller(base_url).listed(lambda c: c.models.list())
            assert [model.id for model in listed] == ["google/gemini-2.5-pro"]
            assert simulator.calls[0].path == "/v1beta/models?pageSize=1000"

    play(run())
