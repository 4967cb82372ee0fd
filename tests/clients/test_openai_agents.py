"""openai-agents over a socket, on every upstream: an agent with a tool, through both of its model classes."""

import asyncio
import ssl
from collections.abc import Awaitable
from typing import Any, TypeVar

import openai
import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.responses import ResponseTextDeltaEvent

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
from clients.house import DEEPSEEK, House, Upstream
from scripted import scenarios
from scripted.speech import INPUT_TOKENS, OUTPUT_TOKENS
from waiting import PATIENCE

T = TypeVar("T")

TLS = ssl.create_default_context()
"""Not used, and too slow to be made for each client anew."""

UNTRACED = RunConfig(tracing_disabled=True)
"""Traces would go to OpenAI."""
both_models = pytest.mark.parametrize(
    "model_class", [OpenAIResponsesModel, OpenAIChatCompletionsModel], ids=["responses", "chat"]
)


class Run:
    """What an agent was asked, and what came of it."""

    def __init__(self, house: House, model_class: Any, upstream: Upstream) -> None:
        self._house = house
        self._class = model_class
        self._upstream = upstream

    def __call__(self, question: str, *, streamed: bool = False, retries: int = 0, **agent: Any) -> Any:
        """Run an agent to its end."""

        async def run() -> Any:
            async with AsyncOpenAI(
                base_url=self._house.base_url,
                api_key="any",
                max_retries=retries,
                http_client=DefaultAsyncHttpxClient(verify=TLS),
            ) as client:
                model: Model = self._class(model=self._upstream.name, openai_client=client)
                asked = Agent(name="Assistant", model=model, **agent)
                if not streamed:
                    return await Runner.run(asked, question, run_config=UNTRACED)
                result = Runner.run_streamed(asked, question, run_config=UNTRACED)
                self.deltas = [
                    event.data.delta
                    async for event in result.stream_events()
                    if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
                ]
                return result

        return asyncio.run(within_reason(run()))


async def within_reason(work: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await work


@every_upstream
@both_models
@streamed_or_not
def test_an_agent_answers(house: House, upstream: Upstream, model_class: Any, streamed: bool):
    """With its usage."""
    run = Run(house, model_class, upstream)
    with house.playing(scenarios.plain):
        settings = ModelSettings(include_usage=True)
        result = run(QUESTION, streamed=streamed, instructions="Be brief.", model_settings=settings)

    assert result.final_output == scenarios.TEXT
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (1, INPUT_TOKENS, OUTPUT_TOKENS)
    if streamed:
        assert len(run.deltas) > 1
        assert "".join(run.deltas) == scenarios.TEXT


@streamed_or_not
@tool_scenes(TAKE_THOUGHTS_BACK)
def test_an_agent_calls_its_tools(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """The library runs them and goes on by itself, until there is a text."""
    check_tools(house, OpenAIResponsesModel, upstream, scenario, cities, streamed=streamed)


@streamed_or_not
@tool_scenes([DEEPSEEK])
def test_an_agent_calls_its_tools_over_chat(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """The library carries thoughts back in chat for models of DeepSeek only."""
    check_tools(house, OpenAIChatCompletionsModel, upstream, scenario, cities, streamed=streamed)


def check_tools(
    house: House, model_class: Any, upstream: Upstream, scenario: Any, cities: list[str], *, streamed: bool
) -> None:
    settings = ModelSettings(store=False, response_include=["reasoning.encrypted_content"])
    run = Run(house, model_class, upstream)
    with house.playing(scenario):
        result = run(
            WEATHER_QUESTION,
            streamed=streamed,
            tools=[function_tool(get_weather)],
            model_settings=settings,
        )

    assert result.final_output == reports(cities)


@every_upstream
@both_models
def test_an_agent_answers_with_an_object(house: House, upstream: Upstream, model_class: Any):
    """Of the type that it was given."""
    run = Run(house, model_class, upstream)
    with house.playing(scenarios.structured):
        result = run("Forecast", output_type=Forecast)

    assert result.final_output == FORECAST


@every_upstream
@both_models
def test_an_agent_answers_with_an_object_beside_tools(house: House, upstream: Upstream, model_class: Any):
    """Where the upstream can do only one of both, it is asked in words."""
    run = Run(house, model_class, upstream)
    with house.playing(scenarios.structured):
        result = run("Forecast", output_type=Forecast, tools=[function_tool(get_weather)])

    assert result.final_output == FORECAST


@every_upstream
@both_models
@pytest.mark.parametrize("retries", [0, 1])
def test_an_agent_meets_a_rate_limit(house: House, upstream: Upstream, model_class: Any, retries: int):
    """It comes back as often as its client may."""
    run = Run(house, model_class, upstream)
    with house.playing(scenarios.rate_limit) as upstreams:
        if retries:
            assert run(QUESTION, retries=retries).final_output == scenarios.TEXT
        else:
            with pytest.raises(openai.RateLimitError, match=scenarios.RATE_LIMIT):
                run(QUESTION, retries=retries)
        assert len(upstreams.asked) == 1 + retries


@every_upstream
@both_models
def test_an_agent_s_stream_breaks(house: House, upstream: Upstream, model_class: Any):
    """The run raises instead of ending with half a text."""
    run = Run(house, model_class, upstream)
    with house.playing(scenarios.broken), pytest.raises(openai.APIError):
        run(QUESTION, streamed=True)
