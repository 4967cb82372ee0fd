"""Anthropic's client in front of other upstreams, and other clients in front of Anthropic."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Cache, Provider, Secret
from e2e.callers import CALLERS, AsyncCaller
from e2e.scenes import play
from official_anthropic import comparable
from serving import serving, settings_for

SONNET = "claude/claude-sonnet-4-5"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "Tells the weather.", "input_schema": WEATHER}
FUNCTION = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
HELLO: dict[str, Any] = {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


@contextlib.asynccontextmanager
async def gateway(folder: Path, *answers: Answer) -> AsyncIterator[tuple[Simulator, str]]:
    """A gateway in front of one upstream, as chat, as OpenAI and as Anthropic; its address without a path."""
    async with Simulator(answers) as simulator:
        url = simulator.base_url
        providers = {
            "chat": Provider(type="openai-chat", base_url=url, models=()),
            "openai": Provider(type="openai", base_url=url, models=()),
            "claude": Provider(
                type="anthropic", base_url=url.removesuffix("/v1"), api_key=Secret("sk-ant"), models=()
            ),
        }
        settings = settings_for(folder, url, providers=providers, cache=Cache())
        async with serving(settings) as running:
            yield simulator, running.url


@contextlib.asynccontextmanager
async def claude(folder: Path, *answers: Answer) -> AsyncIterator[tuple[Simulator, anthropic.AsyncAnthropic]]:
    """The same with Anthropic's client in front."""
    async with (
        gateway(folder, *answers) as (simulator, url),
        anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client,
    ):
        yield simulator, client


def asked(simulator: Simulator) -> dict[str, Any]:
    """What the upstream was asked last."""
    body: dict[str, Any] = json.loads(simulator.calls[-1].body)
    return body


# Anthropic's client in front of a chat upstream.


def completion(**message: Any) -> Answer:
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Answer(
        body=json.dumps({"id": "c", "model": "llama", "choices": [choice], "usage": usage}).encode()
    )


def chunks(*deltas: dict[str, Any], reason: str = "stop") -> Answer:
    told = [{"choices": [{"index": 0, "delta": delta}], "model": "llama"} for delta in deltas]
    told.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    told.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
    frames = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in told]
    return Answer(frames=[*frames, b"data: [DONE]\n\n"])


def test_a_message_is_created_by_a_chat_upstream(tmp_path: Path):
    """And is a hit the next time."""

    async def run() -> None:
        async with claude(tmp_path, completion(content="Hi")) as (simulator, client):
            for _ in range(2):
                message = await client.messages.create(
                    model="chat/llama", system="Be brief", stop_sequences=["END"], **HELLO
                )
                assert (message.content[0].text, message.stop_reason, message.model) == (
                    "Hi",
                    "end_turn",
                    "llama",
                )
                assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)
                assert message.id.startswith("msg_")
            assert len(simulator.calls) == 1
            assert asked(simulator) == {
                "model": "llama",
                "messages": [
                    {"role": "system", "content": "Be brief"},
                    {"role": "user", "content": "Hello"},
                ],
                "stop": ["END"],
                "max_tokens": 100,
            }

    play(run())


def test_a_message_is_streamed_from_a_chat_upstream_and_served_again_whole(tmp_path: Path):
    """The helper assembles it; JSON comes out of the same recording."""

    async def run() -> None:
        deltas = {"reasoning_content": "Hm"}, {"content": "Hel"}, {"content": "lo"}
        async with claude(tmp_path, chunks(*deltas)) as (simulator, client):
            async with client.messages.stream(model="chat/llama", **HELLO) as stream:
                texts = [text async for text in stream.text_stream]
                final = await stream.get_final_message()
            again = await client.messages.create(model="chat/llama", **HELLO)

        assert texts == ["Hel", "lo"]
        assert [block.type for block in final.content] == ["thinking", "text"]
        assert (final.content[0].thinking, final.usage.output_tokens) == ("Hm", 3)
        assert comparable(again.to_dict()) == comparable(final.to_dict())
        assert len(simulator.calls) == 1

    play(run())


def test_a_loop_of_tools_runs_over_a_chat_upstream(tmp_path: Path):
    """What the client gives back reaches the upstream as it had said it."""

    async def run() -> None:
        calls = [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]
        more = [{"index": 0, "function": {"arguments": '{"city": "Oslo"}'}}]
        first = chunks(
            {"content": "Let me see."}, {"tool_calls": calls}, {"tool_calls": more}, reason="tool_calls"
        )
        async with claude(tmp_path, first, completion(content="3 °C")) as (simulator, client):
            messages: list[Any] = [{"role": "user", "content": "Weather in Oslo?"}]
            request: dict[str, Any] = {"model": "chat/llama", "max_tokens": 100, "tools": [TOOL]}
            async with client.messages.stream(messages=messages, **request) as stream:
                turn = await stream.get_final_message()
            call = turn.content[-1]
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "3"}
            messages += [
                {"role": "assistant", "content": turn.content},
                {"role": "user", "content": [result]},
            ]
            answer = await client.messages.create(messages=messages, **request)
            told = asked(simulator)

        assert (turn.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Oslo"})
        assert answer.content[0].text == "3 °C"
        assert told["messages"][1:] == [
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        ]
        assert told["tools"][0]["function"]["parameters"] == WEATHER

    play(run())


def test_a_stream_that_breaks_off_raises_in_anthropics_client(tmp_path: Path):
    """It is never ended as if it were whole."""

    async def run() -> None:
        broken = Answer(frames=chunks({"content": "Hal"}).parts[:1])
        async with claude(tmp_path, broken) as (_, client):
            with pytest.raises(anthropic.APIStatusError):
                async with client.messages.stream(model="chat/llama", **HELLO) as stream:
                    await stream.get_final_message()

    play(run())


def test_what_has_no_form_elsewhere_is_refused_with_its_place(tmp_path: Path):
    """Before anybody is asked."""

    async def run() -> None:
        bash: Any = {"type": "bash_20250124", "name": "bash"}
        async with claude(tmp_path) as (simulator, client):
            with pytest.raises(anthropic.BadRequestError, match=r"tools\.0\.type") as raised:
                await client.messages.create(model="chat/llama", tools=[bash], **HELLO)

        assert raised.value.type == "invalid_request_error"
        assert simulator.calls == []

    play(run())


def test_reasoning_of_the_responses_api_goes_through_anthropics_client_and_back(tmp_path: Path):
    """Its encrypted content is the signature of the thinking that the client gives back."""

    async def run() -> None:
        thought = {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "gAAAA-opaque",
        }
        text = {"type": "output_text", "text": "Hi", "annotations": []}
        said = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
        usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
        response = {"id": "resp_1", "object": "response", "model": "gpt", "status": "completed"}
        answer = Answer(body=json.dumps(response | {"output": [thought, said], "usage": usage}).encode())
        async with claude(tmp_path, answer) as (simulator, client):
            thinking: Any = {"type": "enabled", "budget_tokens": 2048}
            request: dict[str, Any] = {"model": "openai/gpt", "max_tokens": 4096, "thinking": thinking}
            turn = await client.messages.create(messages=HELLO["messages"], **request)
            messages = [
                *HELLO["messages"],
                {"role": "assistant", "content": turn.content},
                {"role": "user", "content": "And?"},
            ]
            await client.messages.create(messages=messages, **request)
            told = asked(simulator)

        assert (turn.content[0].type, turn.content[0].thinking) == ("thinking", "Hm")
        assert "opaque" not in turn.content[0].signature
        assert told["input"][1]["encrypted_content"] == "gAAAA-opaque"
        assert told["reasoning"] == {"effort": "low", "summary": "auto"}

    play(run())


# Other clients in front of Anthropic.


def message(*content: dict[str, Any], stop: str = "end_turn") -> Answer:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}
    body = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }
    return Answer(body=json.dumps(body).encode())


def events(*told: dict[str, Any]) -> Answer:
    frames = [
        b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in told
    ]
    return Answer(frames=frames)


START = {
    "type": "message_start",
    "message": {"id": "msg_up", "model": "claude-x", "usage": {"input_tokens": 5}},
}
STOP = {"type": "message_stop"}


def ended(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


THINKING = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Hm"},
    {"type": "signature_delta", "signature": "sig-of-anthropic"},
)
CALL = block(
    1,
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    {"type": "input_json_delta", "partial_json": '{"city": '},
    {"type": "input_json_delta", "partial_json": '"Oslo"}'},
)


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_response_is_created_by_anthropic(tmp_path: Path, caller: Any):
    """With its path, its key and its version."""

    async def run() -> None:
        async with gateway(tmp_path, message({"type": "text", "text": "Hi"})) as (simulator, url):
            response = await caller(f"{url}/v1").result(
                lambda c: c.responses.create(model=SONNET, instructions="Be brief", input="Hello")
            )
            (call,) = simulator.calls

        assert (response.output_text, response.status) == ("Hi", "completed")
        assert response.model == "claude-sonnet-4-5-20250929"
        assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (7, 2)
        assert (call.path, call.headers["x-api-key"]) == ("/v1/messages", "sk-ant")
        assert "anthropic-version" in call.headers
        assert json.loads(call.body) == {
            "model": "claude-sonnet-4-5",
            "max_tokens": 64_000,
            "system": "Be brief",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        }

    play(run())


def test_thinking_and_a_call_are_streamed_and_go_back_signed(tmp_path: Path, caller: Any):
    """The envelope carries the signature through the client; the thinking stands before the call it led to."""

    async def run() -> None:
        first = events(START, *THINKING, *CALL, ended("tool_use"), STOP)
        second = message({"type": "text", "text": "3 °C"})
        async with gateway(tmp_path, first, second) as (simulator, url):
            client = caller(f"{url}/v1")
            request: dict[str, Any] = {
                "model": SONNET,
                "tools": [FUNCTION],
                "reasoning": {"effort": "low", "summary": "auto"},
                "store": False,
            }
            said, turn = await client.helped(
                lambda c: c.responses.stream(input="Weather in Oslo?", **request), "get_final_response"
            )
            call = turn.output[1]
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "3"}
            history = [
                {"role": "user", "content": "Weather in Oslo?"},
                *(item.model_dump(exclude_none=True) for item in turn.output),
                result,
            ]
            final = await client.result(lambda c: c.responses.create(input=history, **request))
            told = asked(simulator)

        summaries = [e.delta for e in said if e.type == "response.reasoning_summary_text.delta"]
        assert summaries == ["Hm"]
        assert "sig-of" not in turn.output[0].encrypted_content
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
        assert final.output_text == "3 °C"
        assert told["thinking"] == {"type": "enabled", "budget_tokens": 1024}
        assert told["messages"][1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "sig-of-anthropic"},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}]},
        ]

    play(run())


class City(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (SONNET, message({"type": "text", "text": '{"name":"Oslo"}'})),
        (
            "claude/claude-3-5-haiku-latest",
            message(
                {"type": "tool_use", "id": "t", "name": "answer", "input": {"name": "Oslo"}}, stop="tool_use"
            ),
        ),
    ],
)
def test_an_answer_is_parsed_whether_the_model_knows_schemas_or_not(
    tmp_path: Path, model: str, answer: Answer
):
    """An older model is made to call a tool whose arguments are the answer."""

    async def run() -> None:
        async with gateway(tmp_path, answer) as (_, url):
            response = await AsyncCaller(f"{url}/v1").result(
                lambda c: c.responses.parse(model=model, input="Where?", text_format=City)
            )

        assert response.output_parsed == City(name="Oslo")

    play(run())


def test_a_chat_client_is_answered_by_anthropic(tmp_path: Path):
    """Through the same hub."""

    async def run() -> None:
        text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
        async with gateway(tmp_path, events(START, *text, ended("max_tokens"), STOP)) as (_, url):
            stream = await AsyncCaller(f"{url}/v1").listed(
                lambda c: c.chat.completions.create(
                    model=SONNET, messages=[{"role": "user", "content": "Hello"}], stream=True
                )
            )

        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Hi"
        assert [c.choices[0].finish_reason for c in stream if c.choices and c.choices[0].finish_reason] == [
            "length"
        ]

    play(run())


def test_an_error_in_anthropics_stream_reaches_the_client_of_another_dialect(tmp_path: Path):
    """In its words, after what had been said."""

    async def run() -> None:
        text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hal"})
        overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        async with gateway(tmp_path, events(START, *text, overloaded)) as (_, url):
            with pytest.raises(openai.APIError, match="Overloaded"):
                await AsyncCaller(f"{url}/v1").listed(
                    lambda c: c.responses.create(model=SONNET, input="Hello", stream=True)
                )

    play(run())


def test_pings_of_anthropic_keep_the_other_clients_stream_alive(tmp_path: Path):
    """As the sign that its dialect has for it."""

    async def run() -> None:
        text = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})
        answer = events(START, {"type": "ping"}, *text, ended("end_turn"), STOP)
        async with gateway(tmp_path, answer) as (_, url):
            listed = await AsyncCaller(f"{url}/v1").listed(
                lambda c: c.responses.create(model=SONNET, input="Hello", stream=True)
            )

        assert listed[-1].response.output_text == "Hi"

    play(run())
