"""The WebSocket tests of Open Responses (release 2026-04-24), in our own words, over recorded answers of OpenAI.

Each has the name that the suite gives it. All tests, over every kind of upstream, are in tests/conformance.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.turn.grammar import violations
from e2e.scenes import play
from e2e.stage import played
from gateway.talking import code_of, id_of, talks, types
from official_library import accumulate, first_answer
from recorded import Exchange, exchanges, needs_recordings

pytestmark = needs_recordings

NEVER_NULL = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "store"),
    *("background", "service_tier", "truncation", "text", "parallel_tool_calls", "tools", "metadata"),
)
PRESENT = (
    *("completed_at", "incomplete_details", "previous_response_id", "instructions", "error", "reasoning"),
    *("usage", "max_output_tokens", "max_tool_calls", "safety_identifier", "prompt_cache_key"),
)
ITEMS = {"message", "function_call", "function_call_output", "reasoning", "compaction"}
OMITTED = ("phase", "content", "encrypted_content", "status")


def recordings() -> list[Exchange]:
    """Answers of text, perhaps after reasoning, that say all that Open Responses wants to hear."""
    return [
        each
        for each in exchanges("openai.responses", "stream")
        if each.provider == "openai"
        and b'"presence_penalty"' in each.body
        and is_text(first_answer(each.body))
    ][:6]


def is_text(frames: list[bytes]) -> bool:
    last = json.loads(frames[-1].partition(b"data: ")[2] or b"{}")
    return last.get("type") == "response.completed" and last["response"]["output"][-1]["type"] == "message"


@pytest.fixture(params=recordings(), ids=lambda exchange: exchange.id)
def upstream(request: pytest.FixtureRequest) -> Answer:
    body = b"".join(first_answer(request.param.body))
    return played(request.param, body, "text/event-stream")


def check(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Every event and the terminal response as the suite wants them; return the response."""
    assert violations(events) == []
    accumulate(events)
    for event in events:
        assert event.get("logprobs", []) is not None
        assert event.get("obfuscation", "") is not None
        if "response" in event:
            check_response(event["response"])
    assert types(events)[-1] == "response.completed"
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert response["output"]
    return response


def check_response(response: dict[str, Any]) -> None:
    assert [name for name in NEVER_NULL if response.get(name) is None] == []
    assert [name for name in PRESENT if name not in response] == []
    assert response["text"]["format"]
    assert {type(response["created_at"]), type(response["completed_at"])} <= {int, type(None)}
    for item in response["output"]:
        assert item["type"] in ITEMS
        assert [name for name in OMITTED if name in item and item[name] is None] == []


def run(folder: Path, upstream: Answer, scenario: Any) -> None:
    async def scene() -> None:
        async with talks(folder, upstream) as there:
            await scenario(there)

    play(scene())


def user(text: str) -> list[dict[str, Any]]:
    return [{"type": "message", "role": "user", "content": text}]


def test_websocket_response(tmp_path: Path, upstream: Answer):
    """One user message."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            check(await talk.turn(input=user("Say hello.")))

    run(tmp_path, upstream, scenario)


def test_websocket_sequential_responses(tmp_path: Path, upstream: Answer):
    """Two of them with string input on one socket."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            first, second = await talk.turn(input="One."), await talk.turn(input="Two.")
            assert check(first)["id"] != check(second)["id"]

    run(tmp_path, upstream, scenario)


def test_websocket_continuation(tmp_path: Path, upstream: Answer):
    """The second request brings only what is new; nothing of it is stored."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            first = check(await talk.turn(input=user("Remember 7.")))
            second = check(await talk.turn(input=user("Which?"), previous_response_id=first["id"]))
            assert second["previous_response_id"] == first["id"]
            kinds = [item["type"] for item in there.asked()["input"]]
            assert kinds[0] == kinds[-1] == kinds[-2] == "message"

    run(tmp_path, upstream, scenario)


def test_websocket_reconnect_store_false_recovery(tmp_path: Path, upstream: Answer):
    """A new socket has an empty memory; it goes on with a request that brings the whole history."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            first = check(await talk.turn(input=user("Remember 7.")))
        async with there.open() as talk:
            code = await talk.code(input=user("Which?"), previous_response_id=first["id"])
            assert code == "previous_response_not_found"
            check(await talk.turn(input=[*user("Remember 7."), *first["output"][-1:], *user("Which?")]))

    run(tmp_path, upstream, scenario)


def test_websocket_previous_response_not_found(tmp_path: Path, upstream: Answer):
    """An id that nobody has given."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            code = await talk.code(input=user("Hi"), previous_response_id="resp_nothing")
            assert code == "previous_response_not_found"

    run(tmp_path, upstream, scenario)


def test_websocket_failed_continuation_evicts_cache(tmp_path: Path, upstream: Answer):
    """A continuation that fails takes its parent with it."""

    async def scenario(there: Any) -> None:
        async with there.open() as talk:
            first = id_of(await talk.turn(input=user("Hi")))
            output = {"type": "function_call_output", "call_id": "call_unknown", "output": "x"}
            (failed,) = await talk.turn(input=[output], previous_response_id=first)
            assert code_of(failed)
            code = await talk.code(input=user("Hi"), previous_response_id=first)
            assert code == "previous_response_not_found"

    run(tmp_path, upstream, scenario)
