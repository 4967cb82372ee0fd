"""anthropic-sdk-python over a socket, on every upstream."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, beta_tool

from clients.cases import (
    COUNTS_CACHED,
    FORECAST,
    QUESTION,
    SCHEMA,
    TAKE_THOUGHTS_BACK,
    WEATHER_QUESTION,
    Forecast,
    every_upstream,
    get_weather,
    kinds,
    reports,
    streamed_or_not,
    tool_scenes,
)
from clients.house import CHAT, GEMINI, MESSAGES, RESPONSES, UPSTREAMS, House, Upstream
from scripted import scenarios
from scripted.speech import CACHED_TOKENS, INPUT_TOKENS, OUTPUT_TOKENS
from waiting import PATIENCE

TOOL = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Anthropic]:
    with Anthropic(base_url=house.url, api_key="any", max_retries=0, timeout=PATIENCE) as opened:
        yield opened


def question(upstream: Upstream, text: str = QUESTION) -> dict[str, Any]:
    return {"model": upstream.name, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}


@every_upstream
@streamed_or_not
def test_a_message_is_created(house: House, client: Anthropic, upstream: Upstream, streamed: bool):
    """Text, stop reason and the counts of tokens, in which what was cached is told apart."""
    with house.playing(scenarios.plain):
        if streamed:
            with client.messages.stream(**question(upstream)) as stream:
                texts = list(stream.text_stream)
                message = stream.get_final_message()
            assert len(texts) > 1
            assert "".join(texts) == scenarios.TEXT
        else:
            message = client.messages.create(**question(upstream))

    assert [block.text for block in message.content] == [scenarios.TEXT]
    assert (message.stop_reason, message.model) == ("end_turn", upstream.model)
    cached = CACHED_TOKENS if upstream in COUNTS_CACHED else 0
    assert message.usage.input_tokens == INPUT_TOKENS - cached
    assert (message.usage.cache_read_input_tokens or 0) == cached
    assert message.usage.output_tokens == OUTPUT_TOKENS


@every_upstream
def test_a_conversation_goes_on(house: House, client: Anthropic, upstream: Upstream):
    """With blocks as they had been given."""
    messages: Any = [{"role": "user", "content": "One"}]
    fields: Any = {"model": upstream.name, "max_tokens": 100, "system": "Be brief."}
    with house.playing(scenarios.conversation):
        first = client.messages.create(**fields, messages=messages)
        messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "Two"}]
        second = client.messages.create(**fields, messages=messages)

    assert [block.text for block in second.content] == ["Second."]


@every_upstream
def test_a_message_ends_at_its_limit(house: House, client: Anthropic, upstream: Upstream):
    """Which is always one that the client has set."""
    with house.playing(scenarios.cut_short):
        message = client.messages.create(**question(upstream) | {"max_tokens": 40})

    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "The sky is")


@streamed_or_not
@tool_scenes(TAKE_THOUGHTS_BACK)
def test_tools_are_called(
    house: House, client: Anthropic, upstream: Upstream, scenario: Any, cities: list[str], streamed: bool
):
    """All results in one message, and thinking with its signature before the calls."""

    def ask(messages: Any) -> Any:
        fields = question(upstream) | {"messages": messages, "tools": [TOOL]}
        if not streamed:
            return client.messages.create(**fields)
        with client.messages.stream(**fields) as stream:
            return stream.get_final_message()

    messages: Any = [{"role": "user", "content": WEATHER_QUESTION}]
    with house.playing(scenario):
        first = ask(messages)
        calls = [block for block in first.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": get_weather(**call.input)}
            for call in calls
        ]
        messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        second = ask(messages)

    assert first.stop_reason == "tool_use"
    assert [call.input["city"] for call in calls] == cities
    assert second.content[0].text == reports(cities)


@every_upstream
def test_the_tool_runner_runs_to_the_end(house: House, client: Anthropic, upstream: Upstream):
    """The library's own loop: it wants to send new messages only, and goes on without that where it is told to."""
    tool = beta_tool(get_weather)
    with house.playing(scenarios.tools_at_once):
        runner = client.beta.messages.tool_runner(**question(upstream, WEATHER_QUESTION), tools=[tool])
        message = runner.until_done()

    assert message.content[0].text == reports(["Rome", "Oslo"])


@every_upstream
@streamed_or_not
def test_an_object_is_parsed(house: House, client: Anthropic, upstream: Upstream, streamed: bool):
    """Whichever way the upstream is brought to it."""
    with house.playing(scenarios.structured):
        if streamed:
            with client.messages.stream(**question(upstream), output_format=Forecast) as stream:
                message: Any = stream.get_final_message()
        else:
            message = client.messages.parse(**question(upstream), output_format=Forecast)

    assert message.parsed_output == FORECAST


@kinds(RESPONSES, CHAT, MESSAGES)
def test_a_refusal_is_a_stop_reason(house: House, client: Anthropic, upstream: Upstream):
    """With the words of the refusal."""
    with house.playing(scenarios.refusal):
        message = client.messages.create(**question(upstream))

    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.explanation == scenarios.REFUSAL


@every_upstream
@streamed_or_not
def test_a_rate_limit_is_told(house: House, client: Anthropic, upstream: Upstream, streamed: bool):
    """In the form that this library reads."""
    with house.playing(scenarios.rate_limit) as upstreams:
        with pytest.raises(anthropic.RateLimitError, match=scenarios.RATE_LIMIT) as caught:
            client.messages.create(**question(upstream), stream=streamed)
        assert len(upstreams.asked) == 1

    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.type == "rate_limit_error"


@every_upstream
def test_a_client_comes_back_after_a_rate_limit(house: House, client: Anthropic, upstream: Upstream):
    """After the milliseconds that the upstream named."""
    with house.playing(scenarios.rate_limit) as upstreams:
        message = client.with_options(max_retries=1).messages.create(**question(upstream))
        assert len(upstreams.asked) == 2

    assert message.content[0].text == scenarios.TEXT


@every_upstream
def test_a_broken_stream_raises(house: House, client: Anthropic, upstream: Upstream):
    """What came before is shown; no stop reason is."""
    seen: list[Any] = []
    with house.playing(scenarios.broken), pytest.raises(anthropic.APIStatusError):
        seen.extend(client.messages.create(**question(upstream), stream=True))

    text = "".join(event.delta.text for event in seen if event.type == "content_block_delta")
    assert text in {"The sky", "The sky is"}
    assert not {"message_delta", "message_stop"} & {event.type for event in seen}


@every_upstream
def test_tokens_are_counted(house: House, client: Anthropic, upstream: Upstream):
    """By upstreams that count, by an estimate for others."""
    with house.playing(scenarios.plain):
        count = client.messages.count_tokens(
            model=upstream.name, messages=[{"role": "user", "content": QUESTION}]
        )

    if upstream in {RESPONSES, MESSAGES, GEMINI}:
        assert count.input_tokens == INPUT_TOKENS
    else:
        assert 5 < count.input_tokens < 50


def test_models_are_listed(house: House, client: Anthropic):
    """All of them, in front of whatever provider."""
    assert {each.name for each in UPSTREAMS} <= {model.id for model in client.models.list()}
