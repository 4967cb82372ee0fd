"""What a translated answer says of itself: its ends, its errors, and the request that it echoes."""

from typing import Any

import pytest

from conformance.api import CALL, HELLO, OPEN_MODEL, WEATHER, Api, Events, Served, run
from conformance.schema import EVENT, RESPONSE, faults
from conformance.upstreams import MODEL, Said
from translated import whole

TEXT = "".join(HELLO.text)
THINKING = Said(reasoning=("Let me ", "think."), text=HELLO.text)
STREAMS_ARGUMENTS = {"responses", "chat", "messages"}
"""Dialects in which a call can be cut off in its middle."""


def types(events: Events) -> list[str]:
    return [event["type"] for event in events]


# Ends.


def test_a_limit_in_the_middle_of_a_text(upstream: Served):
    """The text is closed as it is, item and response are incomplete, and say why."""

    async def scenario(api: Api) -> None:
        api.says(Said(text=HELLO.text, is_cut=True))
        events = await api.stream(input="Hi", max_output_tokens=16)
        assert types(events)[-4:] == [
            *("response.output_text.done", "response.content_part.done", "response.output_item.done"),
            "response.incomplete",
        ]
        check_cut(whole(events))
        check_cut(await api.create(input="Hi", max_output_tokens=16))

    def check_cut(response: dict[str, Any]) -> None:
        assert (response["status"], response["completed_at"]) == ("incomplete", None)
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        (message,) = response["output"]
        assert (message["status"], message["content"][0]["text"]) == ("incomplete", TEXT)
        assert response["usage"]["output_tokens"] == 7

    run(upstream, scenario)


def test_a_limit_in_the_middle_of_a_call(upstream: Served):
    """The arguments stay as they came, the call is incomplete."""

    async def scenario(api: Api) -> None:
        if api.dialect not in STREAMS_ARGUMENTS:
            pytest.skip(f"{api.dialect} tells calls whole")
        api.says(Said(call=("get_weather", '{"place":"Os'), is_cut=True))
        events = await api.stream(input="Hi", tools=[WEATHER])
        assert types(events)[-3:] == [
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.incomplete",
        ]
        (call,) = whole(events)["output"]
        assert (call["status"], call["arguments"]) == ("incomplete", '{"place":"Os')

    run(upstream, scenario)


def test_text_before_a_call_is_an_item_of_its_own(upstream: Served):
    """A message, then the call, both complete, in streams and whole answers alike."""

    async def scenario(api: Api) -> None:
        api.says(Said(text=HELLO.text, call=CALL.call))
        streamed = whole(await api.stream(input="Hi", tools=[WEATHER]))
        response = await api.create(input="Hi", tools=[WEATHER])
        for each in (streamed, response):
            assert [(item["type"], item["status"]) for item in each["output"]] == [
                ("message", "completed"),
                ("function_call", "completed"),
            ]

    run(upstream, scenario)


# Errors.


async def broken_stream(api: Api, said: Said) -> Events:
    """Ask for a stream that fails; what is not JSON of an event is no part of one."""
    api.says(said)
    events = await api.stream(input="Hi")
    assert types(events)[-1] == "response.failed"
    return events


def test_an_error_after_output_ends_the_stream_as_failed(upstream: Served):
    """What there was of the answer is in `response.failed`; nothing of it is called complete."""

    async def scenario(api: Api) -> None:
        events = await broken_stream(api, Said(text=HELLO.text, breaks=True))
        response = whole(events)
        assert response["status"] == "failed"
        assert response["error"]["message"] == "The model is overloaded."
        assert response["output"][0]["content"][0]["text"] == TEXT
        if api.dialect != "responses":
            assert response["output"][0]["status"] == "incomplete"
            check_error_event(events)

    run(upstream, scenario)


def test_an_error_before_output_is_told_by_an_event_and_a_failed_response(upstream: Served):
    """The stream has begun, so that its status is told already."""

    async def scenario(api: Api) -> None:
        events = await broken_stream(api, Said(breaks=True))
        assert whole(events)["output"] == []
        if api.dialect != "responses":
            check_error_event(events)
            assert types(events) == ["response.created", "response.in_progress", "error", "response.failed"]

    run(upstream, scenario)


def check_error_event(events: Events) -> None:
    """The one shape that every client reads: flat and nested, and never without a code."""
    (error,) = (event for event in events if event["type"] == "error")
    flat = {name: error[name] for name in ("code", "message", "param")}
    assert error["error"] == {"type": "server_error", **flat}
    assert flat["code"] == whole(events)["error"]["code"]
    assert flat["message"] == "The model is overloaded."


def test_an_error_in_place_of_an_answer_is_an_error_of_http(upstream: Served):
    """The status and the message of the upstream, in OpenAI's envelope with all four members."""

    async def scenario(api: Api) -> None:
        api.says(Said(breaks=True))
        answer = await api.post(model="model", input="Hi")
        error = answer.json()["error"]
        assert (answer.status, error["message"], error["param"]) == (503, "The model is overloaded.", None)
        assert isinstance(error["type"], str)
        assert isinstance(error["code"], str)

    run(upstream, scenario)


def test_a_failed_turn_over_a_websocket_ends_with_a_failed_response(upstream: Served):
    """And the connection goes on."""

    async def scenario(api: Api) -> None:
        api.says(Said(text=HELLO.text, breaks=True))
        async with api.socket() as socket:
            events = await socket.turn(input="Hi", store=False)
            assert types(events)[-1] == "response.failed"
            api.says(HELLO)
            assert (await socket.response(input="Hi", store=False))["status"] == "completed"

    run(upstream, scenario)


# What is echoed.

ASKED = {
    "input": "Hi",
    "instructions": "Be kind.",
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "metadata": {"trace": "7"},
    "parallel_tool_calls": False,
    "prompt_cache_key": "key",
    "reasoning": {"effort": "low", "summary": "auto"},
    "safety_identifier": "somebody",
    "service_tier": "flex",
    "store": False,
    "temperature": 0.5,
    "top_p": 0.25,
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "tool_choice": "required",
    "truncation": "auto",
    "user": "u",
}
UNSAID = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_logprobs": 0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "background": False,
    "user": None,
    "error": None,
    "incomplete_details": None,
}


def check_echo(api: Api, response: dict[str, Any], expected: dict[str, Any]) -> None:
    if api.dialect == "responses":
        pytest.skip("who has the Responses API itself says what it has understood")
    assert {name: response[name] for name in expected} == expected
    assert (response["object"], response["model"]) == ("response", MODEL)


def test_every_member_of_a_request_is_echoed(upstream: Served):
    """In each response that a stream tells of, and in a whole one."""
    tool = {**WEATHER, "strict": True}
    expected = {**{name: ASKED[name] for name in ASKED if name != "input"}, "tools": [tool]}

    async def scenario(api: Api) -> None:
        events = await api.stream(**ASKED, tools=[tool])
        for event in events:
            if "response" in event and api.dialect != "responses":
                assert {name: event["response"][name] for name in expected} == expected
        check_echo(api, await api.create(**ASKED, tools=[tool]), expected)

    run(upstream, scenario)


def test_what_a_request_does_not_say_has_its_default(upstream: Served):
    """Never null where the schema has a value."""

    async def scenario(api: Api) -> None:
        check_echo(api, await api.create(input="Hi"), UNSAID)

    run(upstream, scenario)


def test_a_schema_is_echoed_with_all_that_openai_says_of_it(upstream: Served):
    """A description that was not said is null, and strict is false."""
    form = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}

    async def scenario(api: Api) -> None:
        api.says(Said(text=("{}",)))
        response = await api.create(input="Hi", text={"format": form})
        expected = {"text": {"format": {**form, "description": None, "strict": False}}}
        check_echo(api, response, expected)

    run(upstream, scenario)


def test_penalties_and_log_probabilities_are_echoed(upstream: Served):
    """Where the upstream has them; who has not refuses them by name."""
    asked = {"presence_penalty": 0.5, "frequency_penalty": -0.5, "top_logprobs": 2}

    async def scenario(api: Api) -> None:
        answer = await api.post(model="model", input="Hi", **asked)
        if answer.status == 400:
            assert api.dialect == "messages"
            assert answer.json()["error"]["param"] in asked
        else:
            assert faults(RESPONSE, answer.json()) == []
            check_echo(api, answer.json(), asked)

    run(upstream, scenario)


# Reasoning, and what it is called.

OPENAI_NAMES = {"response.reasoning_text.delta", "response.reasoning_text.done"}
OPEN_NAMES = {"response.reasoning.delta", "response.reasoning.done"}


async def names(api: Api, model: str, **body: Any) -> set[str]:
    """The names under which raw reasoning is told in a stream, from the cache where it has one."""
    sent = {"model": model, "input": "Think.", "stream": True, **body}
    answer = await api.client.post("/v1/responses", sent)
    told = {
        line.removeprefix("event: ") for line in answer.body.decode().splitlines() if line[:7] == "event: "
    }
    return told & (OPENAI_NAMES | OPEN_NAMES)


def test_raw_reasoning_has_the_names_that_the_model_is_set_to(upstream: Served):
    """Live, replayed, and made from a JSON answer."""

    async def scenario(api: Api) -> None:
        if api.dialect in {"messages", "gemini"}:
            pytest.skip(f"{api.dialect} has summaries")
        api.says(THINKING)
        calls = len(api.simulator.calls)
        for question in ("streamed", "whole"):
            for model in ("model", OPEN_MODEL) if question == "whole" else ():
                await api.client.post("/v1/responses", {"model": model, "input": question})
            for _ in range(2):
                assert await names(api, "model", input=question) == OPENAI_NAMES
                assert await names(api, OPEN_MODEL, input=question) == OPEN_NAMES
        assert len(api.simulator.calls) == calls + 4

    run(upstream, scenario)


def test_reasoning_comes_before_the_text(upstream: Served):
    """As an item of its own, with no status and nothing that is null."""

    async def scenario(api: Api) -> None:
        api.says(THINKING)
        response = whole(await api.stream(OPEN_MODEL, input="Think."))
        reasoning, message = response["output"]
        (part,) = reasoning.get("content") or reasoning["summary"]
        assert part["text"] == "Let me think."
        assert "status" not in reasoning
        # Anthropic's signature, without which it would not take its own thinking back.
        assert ("encrypted_content" in reasoning) == (api.dialect == "messages")
        assert message["content"][0]["text"] == TEXT

    run(upstream, scenario)


def test_reasoning_goes_back_over_a_websocket(upstream: Served):
    """A continuation shows the model its own earlier turn."""

    async def scenario(api: Api) -> None:
        api.says(THINKING)
        async with api.socket() as socket:
            await socket.talk.send(
                {"type": "response.create", "model": OPEN_MODEL, "store": False, "input": "Think."}
            )
            events = await socket.talk.rest()
            assert [fault for event in events for fault in faults(EVENT, event)] == []
            api.says(HELLO)
            going_on = {"previous_response_id": whole(events)["id"], "store": False}
            assert (await socket.response(input="And now?", **going_on))["status"] == "completed"

    run(upstream, scenario)


# Refusals.


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
        ({"input": [{"type": "wish"}]}, "invalid_value", "input[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, None, "input"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        (
            {"previous_response_id": "resp_1", "conversation": "conv_1"},
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
        ({"background": True, "store": False}, None, "background"),
    ],
)
def test_a_bad_request_is_refused_before_the_upstream_is_asked(
    upstream: Served, body: dict[str, Any], code: str | None, param: str
):
    """With the envelope, and as an error of HTTP also where a stream was asked for."""

    async def scenario(api: Api) -> None:
        if api.dialect == "responses" and param in {"max_output_tokens", "input", "input[0].type", "prompt"}:
            pytest.skip("who has the Responses API itself says what is wrong")
        calls = len(api.simulator.calls)
        for stream in (False, True):
            answer = await api.post(**{"model": "model", "input": "Hi", "stream": stream, **body})
            error = answer.json()["error"]
            assert (answer.status, error["type"]) == (400, "invalid_request_error")
            assert (error["code"], error["param"]) == (code, param)
        assert len(api.simulator.calls) == calls

    run(upstream, scenario)
