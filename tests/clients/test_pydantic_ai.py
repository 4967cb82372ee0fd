"""pydantic-ai over a socket, on every upstream: an agent through three of its model classes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic import DefaultAsyncHttpxClient as AnthropicHttpxClient
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from clients.cases import (
    FORECAST,
    QUESTION,
    TAKE_THOUGHTS_BACK,
    WEATHER_QUESTION,
    Forecast,
    every_upstream,
    get_weather,
    reports,
    streamed_or_not,
    tool_scenes,
)
from clients.house import DEEPSEEK, OLLAMA, House, Upstream
from scripted import scenarios
from scripted.speech import INPUT_TOKENS, OUTPUT_TOKENS
from waiting import PATIENCE

TLS = ssl.create_default_context()
"""Not used, and too slow to be made for each client anew."""
CLASSES = {"responses": OpenAIResponsesModel, "chat": OpenAIChatModel, "anthropic": AnthropicModel}
CARRIES_REASONING = OpenAIModelProfile(openai_supports_encrypted_reasoning_content=True)
"""Which the library else knows by the names of OpenAI's models."""
every_model = pytest.mark.parametrize("kind", CLASSES)


@asynccontextmanager
async def model_of(house: House, kind: str, upstream: Upstream, retries: int) -> AsyncIterator[Any]:
    options: Any = {"api_key": "any", "max_retries": retries, "timeout": 10}
    if kind == "anthropic":
        async with AsyncAnthropic(
            base_url=house.url, http_client=AnthropicHttpxClient(verify=TLS), **options
        ) as anthropic:
            yield AnthropicModel(upstream.name, provider=AnthropicProvider(anthropic_client=anthropic))
    else:
        async with AsyncOpenAI(
            base_url=house.base_url, http_client=DefaultAsyncHttpxClient(verify=TLS), **options
        ) as client:
            provider = OpenAIProvider(openai_client=client)
            yield CLASSES[kind](upstream.name, provider=provider, profile=CARRIES_REASONING)


def run(
    house: House,
    kind: str,
    upstream: Upstream,
    question: str,
    *,
    streamed: bool = False,
    retries: int = 0,
    **options: Any,
) -> tuple[Any, Any]:
    """The output of an agent, and its usage."""

    async def asked() -> tuple[Any, Any]:
        async with model_of(house, kind, upstream, retries) as model:
            agent: Agent[None, Any] = Agent(model, **options)
            if not streamed:
                result = await agent.run(question)
                return result.output, result.usage
            async with agent.run_stream(question) as stream:
                outputs = [output async for output in stream.stream_output(debounce_by=None)]
                return outputs[-1], stream.usage

    async def within_reason() -> tuple[Any, Any]:
        async with asyncio.timeout(PATIENCE):
            return await asked()

    return asyncio.run(within_reason())


@every_upstream
@every_model
@streamed_or_not
def test_an_agent_answers(house: House, upstream: Upstream, kind: str, streamed: bool):
    """With its usage."""
    with house.playing(scenarios.plain):
        output, usage = run(house, kind, upstream, QUESTION, streamed=streamed, instructions="Be brief.")

    assert output == scenarios.TEXT
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (1, INPUT_TOKENS, OUTPUT_TOKENS)


@streamed_or_not
@tool_scenes(TAKE_THOUGHTS_BACK)
@pytest.mark.parametrize("kind", ["responses", "anthropic"])
def test_an_agent_calls_its_tools(
    house: House, upstream: Upstream, kind: str, scenario: Any, cities: list[str], streamed: bool
):
    """The library runs them and goes on by itself."""
    check_tools(house, kind, upstream, scenario, cities, streamed=streamed)


@streamed_or_not
@tool_scenes([DEEPSEEK, OLLAMA])
def test_an_agent_calls_its_tools_over_chat(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """The library gives thoughts back as text: what is signed has no member in its chat."""
    check_tools(house, "chat", upstream, scenario, cities, streamed=streamed)


def check_tools(
    house: House, kind: str, upstream: Upstream, scenario: Any, cities: list[str], *, streamed: bool
) -> None:
    with house.playing(scenario):
        output, _ = run(house, kind, upstream, WEATHER_QUESTION, streamed=streamed, tools=[get_weather])

    assert output == reports(cities)


@every_upstream
@every_model
@streamed_or_not
def test_an_agent_answers_with_an_object(house: House, upstream: Upstream, kind: str, streamed: bool):
    """Through a tool that must be called, which is this library's usual way."""
    with house.playing(scenarios.structured):
        output, _ = run(
            house, kind, upstream, "Forecast", streamed=streamed, output_type=ToolOutput(Forecast)
        )

    assert output == FORECAST


@every_upstream
@pytest.mark.parametrize("kind", ["responses", "chat"])
def test_an_agent_answers_with_an_object_of_a_schema(house: House, upstream: Upstream, kind: str):
    """Where it is told to; with Anthropic's class the library does so only for models that it knows by name."""
    with house.playing(scenarios.structured):
        output, _ = run(house, kind, upstream, "Forecast", output_type=NativeOutput(Forecast))

    assert output == FORECAST


@every_upstream
@every_model
@pytest.mark.parametrize("retries", [0, 1])
def test_an_agent_meets_a_rate_limit(house: House, upstream: Upstream, kind: str, retries: int):
    """It comes back as often as its client may."""
    with house.playing(scenarios.rate_limit) as upstreams:
        if retries:
            assert run(house, kind, upstream, QUESTION, retries=retries)[0] == scenarios.TEXT
        else:
            with pytest.raises(ModelHTTPError, match=scenarios.RATE_LIMIT) as caught:
                run(house, kind, upstream, QUESTION)
            assert caught.value.status_code == 429
        assert len(upstreams.asked) == 1 + retries


@every_upstream
@every_model
def test_an_agent_s_stream_breaks(house: House, upstream: Upstream, kind: str):
    """The run raises instead of ending with half a text."""
    with house.playing(scenarios.broken), pytest.raises(ModelAPIError):
        run(house, kind, upstream, QUESTION, streamed=True)
