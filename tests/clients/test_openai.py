"""openai-python over a socket, on every upstream: Responses, Chat Completions and their helpers."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from clients.cases import (
    COUNTS_CACHED,
    FORECAST,
    QUESTION,
    REFUSE,
    SCHEMA,
    TAKE_THOUGHTS_BACK,
    TOLD_IN_WORDS,
    WEATHER_QUESTION,
    Forecast,
    every_upstream,
    get_weather,
    kinds,
    reports,
    streamed_or_not,
    tool_scenes,
)
from clients.house import GEMINI, MESSAGES, RESPONSES, UPSTREAMS, House, Upstream
from scripted import scenarios
from scripted.speech import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS, THOUGHT_TOKENS
from waiting import PATIENCE

TOOL = {"type": "function", "name": "get_weather", "description": "The weather", "parameters": SCHEMA}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[OpenAI]:
    with OpenAI(base_url=house.base_url, api_key="any", max_retries=0, timeout=PATIENCE) as opened:
        yield opened


def called(arguments: str) -> str:
    """Run the tool."""
    return get_weather(**json.loads(arguments))


# ------------------------------------------------------------------------------------------- Responses


@every_upstream
def test_a_response_is_created(house: House, client: OpenAI, upstream: Upstream):
    """Text, model, status and the counts of tokens."""
    with house.playing(scenarios.plain):
        response = client.responses.create(model=upstream.name, input=QUESTION)

    assert (response.output_text, response.status) == (scenarios.TEXT, "completed")
    assert response.model == upstream.model
    assert (response.usage.input_tokens, response.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert response.usage.total_tokens == INPUT_TOKENS + OUTPUT_TOKENS
    if upstream in COUNTS_CACHED:
        assert response.usage.input_tokens_details.cached_tokens == CACHED_TOKENS
        assert response.usage.output_tokens_details.reasoning_tokens == THOUGHT_TOKENS


@every_upstream
def test_a_response_is_streamed(house: House, client: OpenAI, upstream: Upstream):
    """The helper's final response is what the deltas add up to."""
    with (
        house.playing(scenarios.plain),
        client.responses.stream(model=upstream.name, input=QUESTION) as stream,
    ):
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text == scenarios.TEXT
    assert (final.usage.input_tokens, final.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


@every_upstream
def test_a_conversation_goes_on(house: House, client: OpenAI, upstream: Upstream):
    """The client sends what was said, as items that it had been given."""
    asked: Any = [{"role": "user", "content": "One"}]
    with house.playing(scenarios.conversation):
        first = client.responses.create(model=upstream.name, instructions="Be brief.", input=asked)
        asked += [*first.output, {"role": "user", "content": "Two"}]
        second = client.responses.create(model=upstream.name, instructions="Be brief.", input=asked)

    assert second.output_text == "Second."


@every_upstream
def test_an_answer_ends_at_its_limit(house: House, client: OpenAI, upstream: Upstream):
    """It is incomplete, and says why."""
    with house.playing(scenarios.cut_short):
        response = client.responses.create(model=upstream.name, input=QUESTION, max_output_tokens=40)

    assert (response.status, response.output_text) == ("incomplete", "The sky is")
    assert response.incomplete_details.reason == "max_output_tokens"


@streamed_or_not
@tool_scenes(TAKE_THOUGHTS_BACK)
def test_tools_are_called(
    house: House, client: OpenAI, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """What the model said goes back as it came, reasoning with its envelope included."""

    def ask(asked: Any) -> Any:
        fields: Any = {"model": upstream.name, "input": asked, "tools": [TOOL], "store": False}
        fields["include"] = ["reasoning.encrypted_content"]
        if not streamed:
            return client.responses.create(**fields)
        with client.responses.stream(**fields) as stream:
            return stream.get_final_response()

    asked: Any = [{"role": "user", "content": WEATHER_QUESTION}]
    with house.playing(scenario):
        first = ask(asked)
        calls = [item for item in first.output if item.type == "function_call"]
        asked += [item.to_dict() if not streamed else without_parsed(item) for item in first.output]
        asked += [
            {"type": "function_call_output", "call_id": call.call_id, "output": called(call.arguments)}
            for call in calls
        ]
        second = ask(asked)

    assert [json.loads(call.arguments)["city"] for call in calls] == cities
    assert second.output_text == reports(cities)


def without_parsed(item: Any) -> Any:
    """What the streaming helper adds to a call is no member of an item."""
    return {name: value for name, value in item.to_dict().items() if name != "parsed_arguments"}


@every_upstream
def test_an_object_is_parsed(house: House, client: OpenAI, upstream: Upstream):
    """Whichever way the upstream is brought to it."""
    with house.playing(scenarios.structured):
        response = client.responses.parse(model=upstream.name, input="Forecast", text_format=Forecast)

    assert response.output_parsed == FORECAST


@every_upstream
def test_an_object_is_streamed(house: House, client: OpenAI, upstream: Upstream):
    """And parsed by the helper."""
    with (
        house.playing(scenarios.structured),
        client.responses.stream(model=upstream.name, input="Forecast", text_format=Forecast) as stream,
    ):
        final = stream.get_final_response()

    assert final.output_parsed == FORECAST


@every_upstream
def test_an_object_is_parsed_beside_tools(house: House, client: OpenAI, upstream: Upstream):
    """Upstreams that can do only one of both are told in words, and asked once more after a wrong answer."""
    with house.playing(scenarios.structured) as upstreams:
        response = client.responses.parse(
            model=upstream.name, input="Forecast", text_format=Forecast, tools=[{**TOOL, "strict": True}]
        )
        assert len(upstreams.asked) == (2 if upstream in TOLD_IN_WORDS else 1)

    assert response.output_parsed == FORECAST


@kinds(*REFUSE)
def test_a_refusal_is_one(house: House, client: OpenAI, upstream: Upstream):
    """A part of its own."""
    with house.playing(scenarios.refusal):
        response = client.responses.create(model=upstream.name, input=QUESTION)

    (item,) = response.output
    assert [part.type for part in item.content] == ["refusal"]
    assert item.content[0].refusal == scenarios.REFUSAL


@every_upstream
@streamed_or_not
def test_a_rate_limit_is_told(house: House, client: OpenAI, upstream: Upstream, streamed: bool):
    """With the upstream's words and its wish for when to come back; a client without retries asks once."""
    with house.playing(scenarios.rate_limit) as upstreams:
        with pytest.raises(openai.RateLimitError, match=scenarios.RATE_LIMIT) as caught:
            client.responses.create(model=upstream.name, input=QUESTION, stream=streamed)
        assert len(upstreams.asked) == 1

    assert caught.value.response.headers["retry-after"] == "1"


@every_upstream
def test_a_client_comes_back_after_a_rate_limit(house: House, client: OpenAI, upstream: Upstream):
    """After the milliseconds that the upstream named."""
    with house.playing(scenarios.rate_limit) as upstreams:
        response = client.with_options(max_retries=1).responses.create(model=upstream.name, input=QUESTION)
        assert len(upstreams.asked) == 2

    assert response.output_text == scenarios.TEXT


@every_upstream
def test_a_broken_stream_raises(house: House, client: OpenAI, upstream: Upstream):
    """What came before is shown, and nothing looks whole."""
    seen: list[Any] = []
    with house.playing(scenarios.broken), pytest.raises(openai.APIError):
        seen.extend(client.responses.create(model=upstream.name, input=QUESTION, stream=True))

    text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert text in {"The sky", "The sky is"}
    assert "response.completed" not in {event.type for event in seen}


# ------------------------------------------------------------------------------------ Chat Completions


@every_upstream
def test_a_chat_completion_is_created(house: House, client: OpenAI, upstream: Upstream):
    """Text, finish and the counts of tokens."""
    with house.playing(scenarios.plain):
        answer = client.chat.completions.create(
            model=upstream.name, messages=[{"role": "user", "content": QUESTION}]
        )

    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (scenarios.TEXT, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    if upstream in COUNTS_CACHED:
        assert answer.usage.prompt_tokens_details.cached_tokens == CACHED_TOKENS
        assert answer.usage.completion_tokens_details.reasoning_tokens == THOUGHT_TOKENS


@every_upstream
def test_a_chat_completion_is_streamed(house: House, client: OpenAI, upstream: Upstream):
    """Usage comes last, for who asks for it."""
    with (
        house.playing(scenarios.plain),
        client.chat.completions.stream(
            model=upstream.name,
            messages=[{"role": "user", "content": QUESTION}],
            stream_options={"include_usage": True},
        ) as stream,
    ):
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()

    assert len(deltas) > 1
    assert "".join(deltas) == final.choices[0].message.content == scenarios.TEXT
    assert final.usage.total_tokens == INPUT_TOKENS + OUTPUT_TOKENS


@streamed_or_not
@tool_scenes([each for each in UPSTREAMS if each is not RESPONSES])
def test_tools_are_called_in_chat(
    house: House, client: OpenAI, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """The assistant's message goes back as it came; OpenAI's own chat has no member for thoughts, the others do."""

    def ask(messages: Any) -> Any:
        fields: Any = {"model": upstream.name, "messages": messages, "tools": [CHAT_TOOL]}
        if not streamed:
            return client.chat.completions.create(**fields).choices[0]
        with client.chat.completions.stream(**fields) as stream:
            return stream.get_final_completion().choices[0]

    messages: Any = [{"role": "user", "content": WEATHER_QUESTION}]
    with house.playing(scenario):
        first = ask(messages)
        calls = first.message.tool_calls
        messages.append(sent_back(first.message))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": called(call.function.arguments)}
            for call in calls
        ]
        second = ask(messages)

    assert first.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments)["city"] for call in calls] == cities
    assert second.message.content == reports(cities)


def sent_back(message: Any) -> Any:
    """An answer's message as one of a request, less what the streaming helper adds."""
    told = {name: value for name, value in message.to_dict().items() if name not in {"parsed", "reasoning"}}
    for call in told["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return told


@every_upstream
@streamed_or_not
def test_an_object_is_parsed_in_chat(house: House, client: OpenAI, upstream: Upstream, streamed: bool):
    """Chat upstreams are asked as the client asks; where that is not enough, another provider type is."""
    fields: Any = {"model": upstream.name, "messages": [{"role": "user", "content": "Forecast"}]}
    with house.playing(scenarios.structured):
        if streamed:
            with client.chat.completions.stream(**fields, response_format=Forecast) as stream:
                answer: Any = stream.get_final_completion()
        else:
            answer = client.chat.completions.parse(**fields, response_format=Forecast)

    assert answer.choices[0].message.parsed == FORECAST


@kinds(*REFUSE)
def test_a_refusal_in_chat_is_one(house: House, client: OpenAI, upstream: Upstream):
    """A member of its own."""
    with house.playing(scenarios.refusal):
        answer = client.chat.completions.create(
            model=upstream.name, messages=[{"role": "user", "content": QUESTION}]
        )

    assert answer.choices[0].message.refusal == scenarios.REFUSAL
    assert not answer.choices[0].message.content


@every_upstream
def test_a_chat_ends_at_its_limit(house: House, client: OpenAI, upstream: Upstream):
    """The helper that parses says so with a class of its own."""
    fields: Any = {"model": upstream.name, "messages": [{"role": "user", "content": QUESTION}]}
    with house.playing(scenarios.cut_short):
        answer = client.chat.completions.create(**fields, max_completion_tokens=40)
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(**fields, max_completion_tokens=40, response_format=Forecast)

    assert answer.choices[0].finish_reason == "length"


@every_upstream
def test_a_broken_chat_raises(house: House, client: OpenAI, upstream: Upstream):
    """As any error in a stream does."""
    fields: Any = {"model": upstream.name, "messages": [{"role": "user", "content": QUESTION}]}
    seen: list[Any] = []
    with house.playing(scenarios.broken), pytest.raises(openai.APIError):
        seen.extend(client.chat.completions.create(**fields, stream=True))

    choices = [choice for chunk in seen for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) in {"The sky", "The sky is"}
    assert {choice.finish_reason for choice in choices} == {None}


@every_upstream
def test_a_chat_client_comes_back_after_a_rate_limit(house: House, client: OpenAI, upstream: Upstream):
    """The upstream's wait is passed on."""
    with house.playing(scenarios.rate_limit) as upstreams:
        answer = client.with_options(max_retries=1).chat.completions.create(
            model=upstream.name, messages=[{"role": "user", "content": QUESTION}]
        )
        assert len(upstreams.asked) == 2

    assert answer.choices[0].message.content == scenarios.TEXT


# ------------------------------------------------------------------------------------ Text completions


@kinds(MESSAGES, GEMINI)
def test_a_text_is_completed(house: House, client: OpenAI, upstream: Upstream):
    """The route of old, in front of what never had it."""
    with house.playing(scenarios.plain):
        whole = client.completions.create(model=upstream.name, prompt="The sky")
        chunks = list(client.completions.create(model=upstream.name, prompt="The sky", stream=True))

    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (scenarios.TEXT, "stop")
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == scenarios.TEXT
    assert whole.usage.prompt_tokens == INPUT_TOKENS
