"""A gateway in front of one upstream, and the three ways to ask it that the suite has; what is heard is checked."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from antiphon.drivers.simulator import Simulator
from antiphon.settings import Model, Provider, Secret, Settings
from antiphon.turn.grammar import violations
from conformance.schema import EVENT, RESPONSE, SOCKET_ERROR, faults
from conformance.upstreams import PROVIDER_TYPES, Choose, Said, upstream
from e2e.plain_client import Answer, PlainClient, plain_client
from gateway.talking import SocketTalk, talking
from official_library import accumulate
from serving import Running, serving, settings_for
from waiting import PATIENCE

MODEL = "model"
"""The alias under which the suite asks."""
OPEN_MODEL = "open-model"
"""The same model, whose reasoning is told under the names of Open Responses."""
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
HELLO = Said(text=("Hello ", "there, ", "friend."))
CALL = Said(call=("get_weather", '{"place":"Oslo"}'))
Events = list[dict[str, Any]]


def obliging(body: Any) -> Said:
    """Call the tool if there is one and nothing has been got from it yet, and else say hello."""
    return CALL if body.get("tools") and "degrees" not in json.dumps(body) else HELLO


class Api:
    """Asks. Everything that comes back is checked against the schema, and against the grammar of a stream."""

    def __init__(self, dialect: str, gateway: Running, simulator: Simulator, client: PlainClient) -> None:
        self.dialect = dialect
        self.gateway = gateway
        self.simulator = simulator
        self.client = client
        self._choose: Choose = obliging

    def says(self, choose: Choose | Said) -> None:
        """Set what the model says from here on."""
        self._choose = (lambda _: choose) if isinstance(choose, Said) else choose
        self.simulator._choose = upstream(self.dialect, self._choose)

    def asked(self) -> Any:
        """Return the body of the last request that the upstream has seen."""
        return json.loads(self.simulator.calls[-1].body)

    async def post(self, path: str = "responses", **body: Any) -> Answer:
        """Send a request, and return whatever comes."""
        return await self.client.post(f"/v1/{path}", body, cache_control="no-store")

    async def create(self, model: str = MODEL, **body: Any) -> dict[str, Any]:
        """Ask for a whole response, and check it."""
        answer = await self.post(model=model, **body)
        assert answer.status == 200, answer.body
        response = answer.json()
        assert faults(RESPONSE, response) == []
        return response

    async def stream(self, model: str = MODEL, **body: Any) -> Events:
        """Ask for a stream, and check how it comes, and what."""
        sent = {"model": model, **body, "stream": True}
        self.client.send("POST", "/v1/responses", sent, cache_control="no-store")
        status, headers = await self.client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        frames = frames_of([chunk async for chunk in self._chunks()])
        # A provider of the Responses API itself is passed on as it speaks, and OpenAI says no `[DONE]`.
        if self.dialect != "responses":
            assert frames.pop() == b"data: [DONE]"
        return check_stream([event_of(frame) for frame in frames])

    async def _chunks(self) -> AsyncIterator[bytes]:
        reader = self.client.reader
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator["Socket"]:
        """Open a WebSocket."""
        async with talking(self.gateway) as talk:
            yield Socket(talk)


class Socket:
    """One connection in WebSocket mode."""

    def __init__(self, talk: SocketTalk) -> None:
        self.talk = talk

    async def turn(self, **body: Any) -> Events:
        """Ask, and hear all of the answer."""
        await self.talk.send({"type": "response.create", "model": MODEL, **body})
        events = await self.talk.rest()
        if events[-1]["type"] == "error":
            assert faults(SOCKET_ERROR, events[-1]) == []
            return events
        return check_stream(events)

    async def response(self, **body: Any) -> dict[str, Any]:
        """Ask for a response that is completed."""
        return completed((await self.turn(**body))[-1])

    async def error(self, **body: Any) -> str:
        """Ask for what must fail, and return the code: of an error, or of a failed response."""
        last = (await self.turn(**body))[-1]
        if last["type"] == "error":
            return last["error"]["code"]
        assert last["type"] == "response.failed", last
        return last["response"]["error"]["code"]


Served = tuple[Api, asyncio.Runner]


def completed(event: dict[str, Any]) -> dict[str, Any]:
    """Return the response of a terminal event that says it is completed."""
    response = event["response"]
    assert (event["type"], response["status"]) == ("response.completed", "completed")
    assert response["output"]
    return response


def frames_of(chunks: list[bytes]) -> list[bytes]:
    """Read a stream as the suite does: it understands line feeds only, and loses a frame that comes in two reads."""
    assert [chunk for chunk in chunks if b"\r" in chunk or not chunk.endswith(b"\n\n")] == []
    return [frame for chunk in chunks for frame in chunk[:-2].split(b"\n\n")]


def event_of(frame: bytes) -> dict[str, Any]:
    """Read a frame, which is of two lines that agree about the event's type."""
    head, data = frame.split(b"\n")
    event = json.loads(data.removeprefix(b"data: "))
    assert head == f"event: {event['type']}".encode()
    return event


def check_stream(events: Events) -> Events:
    """Hold events against schema, grammar, and the accumulator of the official library."""
    assert [
        fault for number, event in enumerate(events) for fault in faults(EVENT, event, f"[{number}]")
    ] == []
    assert violations(events) == []
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    accumulate([event for event in events if event["type"] != "error"])
    told = [event["response"] for event in events if "response" in event]
    assert len({(response["id"], response["created_at"]) for response in told}) == 1
    done = {
        event["output_index"]: event["item"]
        for event in events
        if event["type"] == "response.output_item.done"
    }
    assert told[-1]["output"] == [done[index] for index in range(len(done))]
    return events


def _settings(folder: Path, url: str, dialect: str) -> Settings:
    settings = settings_for(folder, url)
    provider = Provider(type=PROVIDER_TYPES[dialect], base_url=url, api_key=Secret("sk-up"), models=())  # type: ignore[arg-type]
    models = {
        MODEL: Model(target="up/m"),
        OPEN_MODEL: Model(target="up/m", reasoning_events="open"),
    }
    return replace(settings, providers={"up": provider}, models=models)


@contextlib.contextmanager
def served(folder: Path, dialect: str) -> Iterator[tuple[Api, asyncio.Runner]]:
    """Serve one upstream's dialect; the event loop stands still between two calls of the runner."""

    @contextlib.asynccontextmanager
    async def scene() -> AsyncIterator[Api]:
        async with (
            Simulator(upstream(dialect, obliging)) as simulator,
            serving(_settings(folder, simulator.base_url, dialect)) as gateway,
            plain_client(gateway.port) as client,
        ):
            yield Api(dialect, gateway, simulator, client)

    with asyncio.Runner() as runner:
        entered = scene()
        api = runner.run(entered.__aenter__())
        try:
            yield api, runner
        finally:
            runner.run(entered.__aexit__(None, None, None))


def run(upstream: Served, scenario: Callable[[Api], Awaitable[None]]) -> None:
    """Play a scenario, for a reasonable time; the model is obliging unless it is told otherwise."""
    api, runner = upstream

    async def within_reason() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario(api)

    api.says(obliging)
    runner.run(within_reason())
