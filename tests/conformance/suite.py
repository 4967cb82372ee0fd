"""The tests of Open Responses, release 2026-04-24, by the names that they have there, and those of its later versions.

The requests are our own, of the same kind.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from conformance.api import CALL, HELLO, WEATHER, Api, Events, completed
from conformance.schema import COMPACTION, RESPONSE, faults

Scenario = Callable[[Api], Awaitable[None]]
RELEASED: dict[str, Scenario] = {}
"""The 17 tests of the release."""
LATER: dict[str, Scenario] = {}
"""Those of development versions, as far as they need nothing that is kept."""

IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").decode()


def named(name: str, tests: dict[str, Scenario]) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        tests[name] = scenario
        return scenario

    return register


def said(role: str, content: Any, **members: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **members}


def check_hello(response: dict[str, Any]) -> None:
    assert response["status"] == "completed"
    assert [part["text"] for part in response["output"][-1]["content"]] == ["".join(HELLO.text)]


def call_in(response: dict[str, Any]) -> dict[str, Any]:
    (call,) = (item for item in response["output"] if item["type"] == "function_call")
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"place": "Oslo"})
    return call


# Over HTTP.


@named("basic-response", RELEASED)
async def basic_response(api: Api) -> None:
    check_hello(await api.create(input=[said("user", "Say hello.")]))


@named("assistant-phase", RELEASED)
async def assistant_phase(api: Api) -> None:
    history = [
        said("assistant", "Let me look.", phase="commentary"),
        said("assistant", "It is 42.", phase="final_answer"),
    ]
    check_hello(await api.create(input=[*history, said("user", "Thanks.")]))


@named("response-output-phase-schema", RELEASED)
async def response_output_phase_schema(api: Api) -> None:
    response = await api.create(input="Hi")
    message = response["output"][-1]
    for phase in ("commentary", "final_answer"):
        assert faults(RESPONSE, {**response, "output": [{**message, "phase": phase}]}) == []
    assert faults(RESPONSE, {**response, "output": [{**message, "phase": None}]}) != []


@named("streaming-response", RELEASED)
async def streaming_response(api: Api) -> None:
    events = await api.stream(input=[said("user", "Count to three.")])
    check_hello(completed(events[-1]))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == list(HELLO.text)


@named("system-prompt", RELEASED)
async def system_prompt(api: Api) -> None:
    check_hello(await api.create(input=[said("system", "Talk like a pirate."), said("user", "Say hello.")]))
    assert "pirate" in json.dumps(api.asked())


@named("tool-calling", RELEASED)
async def tool_calling(api: Api) -> None:
    response = await api.create(input=[said("user", "What is the weather in Oslo?")], tools=[WEATHER])
    call_in(response)
    assert response["tools"] == ([{**WEATHER, "strict": None}] if api.dialect != "responses" else [])


@named("image-input", RELEASED)
async def image_input(api: Api) -> None:
    content = [
        {"type": "input_text", "text": "What do you see?"},
        {"type": "input_image", "image_url": IMAGE},
    ]
    check_hello(await api.create(input=[said("user", content)]))
    assert IMAGE.partition(",")[2] in json.dumps(api.asked())


@named("multi-turn", RELEASED)
async def multi_turn(api: Api) -> None:
    history = [said("user", "My name is Ada."), said("assistant", "Hello Ada!")]
    check_hello(await api.create(input=[*history, said("user", "What is my name?")]))
    assert json.dumps(api.asked()).count("Ada") == 2


@named("compact-response", RELEASED)
async def compact_response(api: Api) -> None:
    compaction = await compact(api, input=[said("user", "My name is Ada.")], prompt_cache_key="ada")
    assert [item["type"] for item in compaction["output"]].count("compaction") == 1


@named("compact-missing-model", RELEASED)
async def compact_missing_model(api: Api) -> None:
    answer = await api.post("responses/compact", input=[said("user", "Hi")])
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "missing_required_parameter", "model")


async def compact(api: Api, **body: Any) -> dict[str, Any]:
    answer = await api.post("responses/compact", model="model", **body)
    assert answer.status == 200, answer.body
    compaction = answer.json()
    assert faults(COMPACTION, compaction) == []
    return compaction


# Over a WebSocket.


@named("websocket-response", RELEASED)
async def websocket_response(api: Api) -> None:
    async with api.socket() as socket:
        check_hello(await socket.response(input=[said("user", "Count to three.")]))


@named("websocket-sequential-responses", RELEASED)
async def websocket_sequential_responses(api: Api) -> None:
    async with api.socket() as socket:
        first = await socket.response(input="Say one.", store=False)
        second = await socket.response(input="Say two.", store=False)
    assert first["id"] != second["id"]
    assert first["store"] is second["store"] is False


@named("websocket-continuation", RELEASED)
async def websocket_continuation(api: Api) -> None:
    async with api.socket() as socket:
        first = await socket.response(input=[said("user", "Remember seven.")], store=False)
        second = await socket.response(
            input=[said("user", "Which number?")], previous_response_id=first["id"], store=False
        )
    assert second["previous_response_id"] == first["id"]
    told = json.dumps(api.asked())
    assert all(text in told for text in ("Remember seven.", "".join(HELLO.text), "Which number?"))


@named("websocket-reconnect-store-false-recovery", RELEASED)
async def websocket_reconnect_store_false_recovery(api: Api) -> None:
    async with api.socket() as socket:
        first = await socket.response(input=[said("user", "Remember seven.")], store=False)
    async with api.socket() as socket:
        asked = {"input": [said("user", "Which?")], "previous_response_id": first["id"], "store": False}
        assert await socket.error(**asked) == "previous_response_not_found"
        history = [said("user", "Remember seven."), *first["output"], said("user", "Which?")]
        check_hello(await socket.response(input=history, store=False))


@named("websocket-previous-response-not-found", RELEASED)
async def websocket_previous_response_not_found(api: Api) -> None:
    async with api.socket() as socket:
        code = await socket.error(input="Hi", previous_response_id="resp_of_nobody", store=False)
    assert code == "previous_response_not_found"


@named("websocket-failed-continuation-evicts-cache", RELEASED)
async def websocket_failed_continuation_evicts_cache(api: Api) -> None:
    async with api.socket() as socket:
        first = await socket.response(input="Hi", store=False)
        going_on = {"previous_response_id": first["id"], "store": False}
        output = {"type": "function_call_output", "call_id": "call_of_nobody", "output": "x"}
        assert await socket.error(input=[output], **going_on)
        assert await socket.error(input="Go on.", **going_on) == "previous_response_not_found"


@named("websocket-compact-new-chain", RELEASED)
async def websocket_compact_new_chain(api: Api) -> None:
    history = [
        said("user", [{"type": "input_text", "text": "Remember seven."}]),
        said("assistant", [{"type": "output_text", "text": "I shall."}]),
        said("user", [{"type": "input_text", "text": "And eight."}]),
    ]
    compaction = await compact(api, input=history)
    async with api.socket() as socket:
        asked = [*compaction["output"], said("user", "Which numbers?")]
        check_hello(await socket.response(input=asked, tools=[], store=False))
    told = json.dumps(api.asked())
    assert all(text in told for text in ("Remember seven.", "".join(HELLO.text), "Which numbers?"))


# Of later versions.


@named("tool-calling-streaming", LATER)
async def tool_calling_streaming(api: Api) -> None:
    events = await api.stream(input=[said("user", "What is the weather in Oslo?")], tools=[WEATHER])
    call_in(completed(events[-1]))
    check_call_events(events)


def check_call_events(events: Events) -> None:
    of_items = [
        event["type"].removeprefix("response.")
        for event in events
        if event.get("item", {}).get("type") == "function_call"
    ]
    assert of_items == ["output_item.added", "output_item.done"]
    stem = "response.function_call_arguments"
    deltas = [event["delta"] for event in events if event["type"] == f"{stem}.delta"]
    (done,) = (event for event in events if event["type"] == f"{stem}.done")
    assert deltas
    assert "".join(deltas) == done["arguments"]
    assert done["name"] == "get_weather"


@named("function-call-round-trip", LATER)
async def function_call_round_trip(api: Api) -> None:
    question = said("user", "What is the weather in Oslo?")
    forced = {"type": "function", "name": "get_weather"}
    first = await api.create(input=[question], tools=[WEATHER], tool_choice=forced)
    call = call_in(first)
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "3 degrees"}
    check_hello(await api.create(input=[question, *first["output"], output], tools=[WEATHER]))
    told = json.dumps(api.asked())
    assert "3 degrees" in told


@named("websocket-function-call-round-trip", LATER)
async def websocket_function_call_round_trip(api: Api) -> None:
    async with api.socket() as socket:
        first = await socket.response(input="What is the weather in Oslo?", tools=[WEATHER], store=False)
        output = {"type": "function_call_output", "call_id": call_in(first)["call_id"], "output": "3 degrees"}
        second = await socket.response(
            input=[output], tools=[WEATHER], previous_response_id=first["id"], store=False
        )
        check_hello(second)


@named("file-input", LATER)
async def file_input(api: Api) -> None:
    content = [
        {"type": "input_text", "text": "What is in this file?"},
        {
            "type": "input_file",
            "filename": "empty.pdf",
            "file_data": f"data:application/pdf;base64,{PDF}",
        },
    ]
    body = {"input": [said("user", content)]}
    if api.dialect in TAKES_FILES:
        check_hello(await api.create(**body))
        assert PDF in json.dumps(api.asked())
        return
    answer = await api.post(model="model", **body)
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (
        400,
        "unsupported_parameter",
        "input[0].content[1].type",
    )


TAKES_FILES = {"responses", "messages", "gemini"}
"""Chat takes files where the provider does; the one here is any server."""


@named("reasoning", LATER)
async def reasoning(api: Api) -> None:
    thinking = ("Let me ", "think.")
    api.says(type(HELLO)(reasoning=thinking, text=HELLO.text))
    events = await api.stream("open-model", input="Think.", include=["reasoning.encrypted_content"])
    response = completed(events[-1])
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert "".join(
        event["delta"]
        for event in events
        if event["type"] in {"response.reasoning.delta", "response.reasoning_summary_text.delta"}
    ) == "".join(thinking)
    assert await api.create("open-model", input="Think.") is not None
    told = [*response["output"], said("user", "And now?")]
    check_hello(await api.create(input=[said("user", "Think."), *told]))


__all__ = ["CALL", "LATER", "RELEASED"]
