"""The official client in WebSocket mode, asynchronous and not."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Key, Responses, Secret, Server
from e2e.callers import _TLS
from e2e.samples import MODEL, responses_frames
from e2e.scenes import Scene, play, scene
from waiting import eventually

HELLO = Answer(frames=responses_frames())
KEYS = (Key(name="alice", key=Secret("key-a")),)


def official(there: Scene, key: str = "key-a") -> openai.AsyncOpenAI:
    http_client = openai.DefaultAsyncHttpxClient(verify=_TLS)
    return openai.AsyncOpenAI(base_url=there.base_url, api_key=key, http_client=http_client)


async def turn(connection: Any, **members: Any) -> list[Any]:
    """Create a response and collect its events."""
    await connection.response.create(**{"model": MODEL, "store": False, **members})
    events: list[Any] = []
    async for event in connection:
        events.append(event)
        if event.type in {"response.completed", "error", "response.failed"}:
            break
    return events


def run(folder: Path, scenario: Callable[[Scene], Any], *answers: Answer, **changes: Any) -> None:
    async def within() -> None:
        async with scene(folder, *answers, keys=KEYS, **changes) as there:
            await scenario(there)

    play(within())


def test_turns_follow_and_continue_each_other(tmp_path: Path):
    """Events have the library's types; a warm-up first, as agents do it."""

    async def scenario(there: Scene) -> None:
        async with official(there) as client, client.responses.connect() as connection:
            warm = await turn(connection, input="context", generate=False)
            first = await turn(connection, input="one", previous_response_id=warm[-1].response.id)
            second = await turn(connection, input="two", previous_response_id=first[-1].response.id)
            assert [event.type for event in warm] == ["response.created", "response.completed"]
            assert first[-1].response.output_text == second[-1].response.output_text == "Hello there"
            assert second[-1].response.previous_response_id == first[-1].response.id
            assert there.calls == 2

    run(tmp_path, scenario, HELLO)


def test_errors_are_read(tmp_path: Path):
    """Code, status and parameter; a lost parent means: send the whole history."""

    async def scenario(there: Scene) -> None:
        async with official(there) as client:
            async with client.responses.connect() as connection:
                known = (await turn(connection, input="one"))[-1].response.id
                (missing,) = await turn(connection, input="x", previous_response_id="resp_x")
                assert (missing.status, missing.error.code) == (400, "previous_response_not_found")
                assert missing.error.param == "previous_response_id"
                output = {"type": "function_call_output", "call_id": "call_x", "output": ""}
                (failed,) = await turn(connection, input=[output], previous_response_id=known)
                assert failed.error.message.startswith("No tool call found")
                (evicted,) = await turn(connection, input="two", previous_response_id=known)
                assert evicted.error.code == "previous_response_not_found"
                known = (await turn(connection, input="one"))[-1].response.id
            async with client.responses.connect() as connection:
                (elsewhere,) = await turn(connection, input="two", previous_response_id=known)
                assert elsewhere.error.code == "previous_response_not_found"
                assert (await turn(connection, input="one"))[-1].type == "response.completed"

    run(tmp_path, scenario, HELLO)


def test_steering_is_refused(tmp_path: Path):
    """In the event that the library has for it."""

    async def scenario(there: Scene) -> None:
        async with official(there) as client, client.responses.connect() as connection:
            await connection.response.steer(previous_response_id="resp_1", input="Stop")
            event = await connection.recv()
            assert (event.type, event.error.code) == ("response.steer.failed", "steering_not_supported")
            assert event.steer.input == "Stop"

    run(tmp_path, scenario)


def test_a_wrong_key_is_refused_at_the_door(tmp_path: Path):
    """With the status that it has everywhere."""

    async def scenario(there: Scene) -> None:
        async with official(there, "wrong") as client:
            with pytest.raises(Exception, match="401") as refused:
                await client.responses.connect().enter()
            assert type(refused.value).__name__ == "InvalidStatus"

    run(tmp_path, scenario)


def test_it_comes_again_when_the_gateway_asks_it_to(tmp_path: Path):
    """A connection that has lived long enough ends with a code after which the library reconnects."""

    async def scenario(there: Scene) -> None:
        seen: list[Any] = []
        async with (
            official(there) as client,
            client.responses.connect(on_reconnecting=seen.append, initial_delay=0.01) as connection,
        ):
            limit = await connection.recv()
            assert limit.error.code == "websocket_connection_limit_reached"
            events = connection.__aiter__()
            waiting = asyncio.ensure_future(anext(events))
            again = await waiting
            assert again.error.code == "websocket_connection_limit_reached"
            assert [event.close_code for event in seen] == [1001]

    run(tmp_path, scenario, server=Server(port=0, websocket_lifetime=0.1))


def test_the_synchronous_client_works_too(tmp_path: Path):
    """On a thread of its own."""

    async def scenario(there: Scene) -> None:
        def converse() -> Iterator[str]:
            http_client = openai.DefaultHttpxClient(verify=_TLS)
            with (
                openai.OpenAI(base_url=there.base_url, api_key="key-a", http_client=http_client) as client,
                client.responses.connect() as connection,
            ):
                previous: Any = {}
                for text in ("one", "two"):
                    connection.response.create(model=MODEL, store=False, input=text, **previous)
                    for event in connection:
                        if event.type == "response.completed":
                            previous = {"previous_response_id": event.response.id}
                            yield event.response.output_text
                            break

        assert await asyncio.to_thread(lambda: list(converse())) == ["Hello there"] * 2

    run(tmp_path, scenario, HELLO)


def test_an_answer_whose_socket_was_left_is_finished(tmp_path: Path):
    """With `on_disconnect: finish` it is to be found under its id."""
    gate = asyncio.Event()
    frames = responses_frames()

    async def scenario(there: Scene) -> None:
        async with official(there) as client:
            async with client.responses.connect() as connection:
                whole = await turn(connection, input="one", store=True)
                assert whole[-1].response.output_text == "Hello there"
                await connection.response.create(model=MODEL, input="two", store=True)
                created = await anext(aiter(connection))
            gate.set()

            async def completed() -> Any:
                got = await client.responses.retrieve(created.response.id)
                return got if got.status == "completed" else None

            assert (await eventually(completed)).output_text == "Hello there"

    held = Answer(frames=frames, gate_at=2, gate=gate)
    run(tmp_path, scenario, HELLO, held, responses=Responses(on_disconnect="finish"))
