"""langchain-openai over a socket, on every upstream: `ChatOpenAI` over Chat Completions and over Responses."""

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

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
from clients.house import House, Upstream
from scripted import scenarios
from scripted.speech import INPUT_TOKENS, OUTPUT_TOKENS

over_both = pytest.mark.parametrize("responses", [True, False], ids=["responses", "chat"])
weather_tool = tool(get_weather)


def chat_model(house: House, upstream: Upstream, responses: bool, **options: Any) -> ChatOpenAI:
    fields: Any = {"max_retries": 0, "timeout": 10, "use_responses_api": responses, **options}
    if responses:
        fields |= {"store": False, "include": ["reasoning.encrypted_content"]}
    return ChatOpenAI(model=upstream.name, base_url=house.base_url, api_key="any", **fields)


def asked(model: Any, messages: Any, streamed: bool) -> Any:
    """The answer, whole or added up from its chunks."""
    if not streamed:
        return model.invoke(messages)
    chunks = list(model.stream(messages))
    assert len(chunks) > 1
    return sum(chunks[1:], chunks[0])


@every_upstream
@over_both
@streamed_or_not
def test_a_model_answers(house: House, upstream: Upstream, responses: bool, streamed: bool):
    """With its usage."""
    model = chat_model(house, upstream, responses, stream_usage=True)
    with house.playing(scenarios.plain):
        answer = asked(model, [SystemMessage("Be brief."), HumanMessage(QUESTION)], streamed)

    assert answer.text == scenarios.TEXT
    assert answer.usage_metadata["input_tokens"] == INPUT_TOKENS
    assert answer.usage_metadata["output_tokens"] == OUTPUT_TOKENS


@every_upstream
@over_both
def test_a_conversation_goes_on(house: House, upstream: Upstream, responses: bool):
    """With the message as it was given."""
    model = chat_model(house, upstream, responses)
    messages: list[Any] = [SystemMessage("Be brief."), HumanMessage("One")]
    with house.playing(scenarios.conversation):
        messages += [model.invoke(messages), HumanMessage("Two")]
        answer = model.invoke(messages)

    assert answer.text == "Second."


@every_upstream
@over_both
def test_an_answer_ends_at_its_limit(house: House, upstream: Upstream, responses: bool):
    """And says so in the metadata."""
    model = chat_model(house, upstream, responses, max_tokens=40)
    with house.playing(scenarios.cut_short):
        told = model.invoke(QUESTION).response_metadata

    if responses:
        assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    else:
        assert told["finish_reason"] == "length"


@streamed_or_not
@tool_scenes(TAKE_THOUGHTS_BACK)
def test_tools_are_called_over_responses(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """With reasoning carried back as it came."""
    call_tools(house, upstream, scenario, cities, responses=True, streamed=streamed)


@streamed_or_not
@tool_scenes(())
def test_tools_are_called_over_chat(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """The library leaves thoughts out of what it sends back."""
    call_tools(house, upstream, scenario, cities, responses=False, streamed=streamed)


def call_tools(
    house: House, upstream: Upstream, scenario: Any, cities: list[str], *, responses: bool, streamed: bool
) -> None:
    model = chat_model(house, upstream, responses).bind_tools([weather_tool])
    messages: list[Any] = [HumanMessage(WEATHER_QUESTION)]
    with house.playing(scenario):
        first = asked(model, messages, streamed)
        assert isinstance(first, AIMessage)
        results = [
            ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
        ]
        second = asked(model, [*messages, first, *results], streamed)

    assert [call["args"]["city"] for call in first.tool_calls] == cities
    assert second.text == reports(cities)


@every_upstream
@over_both
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_object_is_the_output(house: House, upstream: Upstream, responses: bool, method: Any):
    """By a schema, or by a tool that must be called."""
    model = chat_model(house, upstream, responses).with_structured_output(Forecast, method=method)
    with house.playing(scenarios.structured):
        answer = model.invoke("Forecast")

    assert answer == FORECAST


@every_upstream
@over_both
@pytest.mark.parametrize("retries", [0, 1])
def test_a_model_meets_a_rate_limit(house: House, upstream: Upstream, responses: bool, retries: int):
    """It comes back as often as it may."""
    model = chat_model(house, upstream, responses, max_retries=retries)
    with house.playing(scenarios.rate_limit) as upstreams:
        if retries:
            assert model.invoke(QUESTION).text == scenarios.TEXT
        else:
            with pytest.raises(openai.RateLimitError, match=scenarios.RATE_LIMIT):
                model.invoke(QUESTION)
        assert len(upstreams.asked) == 1 + retries


@every_upstream
@over_both
def test_a_broken_stream_raises(house: House, upstream: Upstream, responses: bool):
    """After what had come."""
    seen: list[Any] = []
    with house.playing(scenarios.broken), pytest.raises(openai.APIError):
        seen.extend(chat_model(house, upstream, responses).stream(QUESTION))

    assert "".join(chunk.text for chunk in seen) in {"The sky", "The sky is"}
