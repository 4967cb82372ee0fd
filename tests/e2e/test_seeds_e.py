"""Rows A11, E1 to E5 and E7: the Responses API over other backends."""

import asyncio
import json

import pytest
from openai import AsyncOpenAI

from antiphon.drivers.simulator import Answer, samples
from antiphon.turn.grammar import violations
from antiphon.wire.sse import DONE, write_frame
from e2e.scenes import play, scene
from translated import events_in
from waiting import eventually

RESPONSES = "/v1/responses"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def chat_answer(message, reason="stop"):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up-1"}
    return Answer(body=json.dumps(answer | {"choices": [choice], "usage": USAGE}).encode())


def chat_stream(*deltas, reason="stop"):
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-1"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    chunks = [head | {"choices": [choice]} for choice in choices] + [head | {"choices": [], "usage": USAGE}]
    return Answer(frames=[*(write_frame(json.dumps(chunk).encode()) for chunk in chunks), DONE])


@pytest.mark.parametrize("first", [True, False])
def test_a11_a_cached_chat_answer_is_replayed_in_the_dialect_that_was_asked_for(tmp_path, first):
    """The upstream has only chat: both modes of both routes get an answer of their own kind."""

    async def run():
        async with scene(tmp_path) as at:
            answer = chat_stream({"content": "Hi"}) if first else chat_answer({"content": "Hi"})
            at.simulator.answer(answer)
            asked = {"model": "chat/m", "input": "Hello"}
            await at.client.post(RESPONSES, asked | {"stream": first})
            whole = await at.client.post(RESPONSES, asked)
            streamed = await at.client.post(RESPONSES, asked | {"stream": True})
            assert at.calls == 1
            assert whole.is_hit
            assert streamed.is_hit
            assert whole.json()["object"] == "response"
            assert whole.json()["output"][0]["content"][0]["text"] == "Hi"
            events = events_in(streamed.body.split(b"\n\n"))
            assert violations(events) == []
            assert events[-1]["response"]["output"] == whole.json()["output"]

    play(run())


def test_e1_a_request_becomes_one_of_chat(tmp_path):
    """Instructions, parts, calls and their outputs each find their place."""
    request = {
        "model": "chat/m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "And this?"},
                    {"type": "input_image", "image_url": "https://example.com/a.png"},
                ],
            },
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "3 °C"},
        ],
    }

    async def run():
        async with scene(tmp_path, chat_answer({"content": "Cold"})) as at:
            await at.client.post(RESPONSES, request)
            sent = json.loads(at.simulator.calls[0].body)
            function = {"name": "get_weather", "arguments": "{}"}
            assert sent["messages"] == [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather?"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "And this?"},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "3 °C"},
            ]
            await at.client.post(RESPONSES, {"model": "chat/m", "input": "Just a string"})
            sent = json.loads(at.simulator.calls[1].body)
            assert sent["messages"] == [{"role": "user", "content": "Just a string"}]

    play(run())


def test_e2_an_answer_of_chat_becomes_a_response(tmp_path):
    """A message with one part, calls with their ids, usage under its own names, and `output_text`."""

    async def run():
        answer = chat_answer({"content": "Let me see.", "tool_calls": [CALL]}, "tool_calls")
        async with scene(tmp_path, answer) as at:
            got = (await at.client.post(RESPONSES, {"model": "chat/m", "input": "Weather?"})).json()
            message, call = got["output"]
            assert message["content"] == [
                {"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}
            ]
            assert (call["type"], call["call_id"], call["name"], call["arguments"]) == (
                "function_call",
                "call_1",
                "get_weather",
                '{"city":"Oslo"}',
            )
            assert [got["usage"][name] for name in ("input_tokens", "output_tokens", "total_tokens")] == [
                9,
                3,
                12,
            ]
            assert (got["object"], got["status"], got["output_text"]) == (
                "response",
                "completed",
                "Let me see.",
            )

    play(run())


def test_e3_tools_and_messages_map_both_ways(tmp_path):
    """Flat definitions become nested ones; the answer is ready to be sent back."""

    async def run():
        async with scene(tmp_path, chat_answer({"content": None, "tool_calls": [CALL]}, "tool_calls")) as at:
            asked = {"model": "chat/m", "input": "Weather?", "tools": [WEATHER]}
            first = (await at.client.post(RESPONSES, asked)).json()
            (tool,) = json.loads(at.simulator.calls[0].body)["tools"]
            inner = {name: value for name, value in WEATHER.items() if name != "type"}
            assert tool == {"type": "function", "function": inner}
            assert first["tools"] == [WEATHER]

            at.simulator.answer(chat_answer({"content": "3 °C"}))
            output = {"type": "function_call_output", "call_id": "call_1", "output": "3 °C"}
            history = [{"role": "user", "content": "Weather?"}, *first["output"], output]
            second = await at.client.post(RESPONSES, asked | {"input": history})
            assert second.json()["output_text"] == "3 °C"
            sent = json.loads(at.simulator.calls[1].body)["messages"]
            assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
            assert sent[1]["tool_calls"] == [CALL]

    play(run())


def test_e4_a_translated_stream_is_one_of_the_responses_api(tmp_path):
    """From `created` to `completed` with usage; deltas add up; arguments come in fragments."""
    begun = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    fragments = [{"index": 0, "function": {"arguments": text}} for text in ('{"city":', '"Oslo"}')]
    answer = chat_stream(
        {"role": "assistant", "content": ""},
        {"content": "Let "},
        {"content": "me see."},
        *({"tool_calls": [each]} for each in (begun, *fragments)),
        reason="tool_calls",
    )

    async def run():
        async with scene(tmp_path, answer) as at:
            async with AsyncOpenAI(base_url=at.base_url, api_key="k", max_retries=0) as client:
                stream = await client.responses.create(model="chat/m", input="Weather?", stream=True)
                events = [event async for event in stream]
            kinds = [event.type for event in events]
            assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
            text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            assert text == "Let me see."
            deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
            assert deltas == ['{"city":', '"Oslo"}']
            assert "response.function_call_arguments.done" in kinds
            assert events[-1].response.usage.total_tokens == 12
            assert violations([event.model_dump(mode="json", exclude_unset=True) for event in events]) == []

    play(run())


@pytest.mark.parametrize("stream", [True, False])
def test_e5_a_native_upstream_is_passed_through_under_our_own_id(tmp_path, stream):
    """And is told to keep nothing."""

    async def run():
        frames, body = samples.responses_frames(3), samples.responses_body(300)
        async with scene(tmp_path, Answer(frames=frames) if stream else Answer(body=body)) as at:
            got = await at.client.post(RESPONSES, {"model": "up/m", "input": "Hi", "stream": stream})
            assert json.loads(at.simulator.calls[0].body)["store"] is False
            own = got.body[got.body.index(b'"resp_') + 1 :].partition(b'"')[0]
            recorded = b"".join(frames) if stream else body
            theirs = recorded[recorded.index(b'"resp_') + 1 :].partition(b'"')[0]
            assert own != theirs
            assert got.body.replace(own, theirs) == recorded

    play(run())


def test_e7_a_background_answer_needs_to_be_kept(tmp_path):
    """With `store: false` it is refused; else it is queued at once, and reaches an end."""

    async def run():
        answers = chat_stream({"content": "Hi"}), chat_stream({"content": "Hi"}, reason=None)
        asked = {"model": "chat/m", "input": "Hello", "background": True}
        async with scene(tmp_path, *answers) as at:
            refused = await at.client.post(RESPONSES, asked | {"store": False})
            error = refused.json()["error"]
            assert (refused.status, error["type"], error["param"]) == (
                400,
                "invalid_request_error",
                "background",
            )
            for said, ends in (("1", "completed"), ("2", "failed"), ("3", "cancelled")):
                if ends == "cancelled":
                    at.simulator.answer(
                        Answer(frames=chat_stream({"content": "Hi"}).frames, gate=asyncio.Event())
                    )
                queued = (await at.client.post(RESPONSES, asked | {"input": said})).json()
                assert queued["status"] == "queued"
                path = f"{RESPONSES}/{queued['id']}"
                if ends == "cancelled":
                    await at.client.post(f"{path}/cancel", {})

                async def has_ended(path=path, ends=ends):
                    return (await at.client.get(path)).json()["status"] == ends

                await eventually(has_ended)

    play(run())
