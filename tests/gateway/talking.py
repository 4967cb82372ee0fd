"""Clients in WebSocket mode: over a real socket, and through ASGI without one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import antiphon
from antiphon.drivers.simulator import Answer, Simulator
from e2e.samples import MODEL
from serving import Running, serving, settings_for
from waiting import PATIENCE

ENDS = {"response.completed", "response.incomplete", "response.failed", "error"}
Event = dict[str, Any]


class Talk:
    """What a client says and hears."""

    async def send(self, frame: Any) -> None:
        """Send a frame, JSON unless it is text or bytes already."""
        await self.put(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def create(self, **members: Any) -> None:
        await self.send({"type": "response.create", "model": MODEL, "store": False, **members})

    async def next(self) -> Event:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.get())

    async def turn(self, **members: Any) -> list[Event]:
        """Create a response and hear all of it."""
        await self.create(**members)
        return await self.rest()

    async def rest(self) -> list[Event]:
        events = [await self.next()]
        while events[-1]["type"] not in ENDS:
            events.append(await self.next())
        return events

    async def code(self, **members: Any) -> str | None:
        """Return the code of the error that a request ends in."""
        (event,) = await self.turn(**members)
        return code_of(event)

    async def put(self, data: str | bytes) -> None:
        raise NotImplementedError

    async def get(self) -> str | bytes:
        raise NotImplementedError

    async def closed(self) -> tuple[int, str]:
        """Return code and reason once the server has closed; there must be nothing else before."""
        raise NotImplementedError


class SocketTalk(Talk):
    """Over TCP."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def put(self, data: str | bytes) -> None:
        await self.connection.send(data)

    async def get(self) -> str | bytes:
        return await self.connection.recv()

    async def closed(self) -> tuple[int, str]:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionClosed) as closed:
                await self.connection.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


class AsgiTalk(Talk):
    """As an ASGI server would hand it over."""

    def __init__(self, app: Any, **scope: Any) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.scope = {
            "type": "websocket",
            "path": "/v1/responses",
            "raw_path": b"/v1/responses",
            "query_string": b"",
            "headers": [(b"Host", b"antiphon")],
            "client": ("127.0.0.1", 1),
            "extensions": {},
            **scope,
        }
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(self.scope, self.inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        await self.may_send.wait()
        await self.outbox.put(message)

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self.outbox.get()

    async def put(self, data: str | bytes) -> None:
        kind = "text" if isinstance(data, str) else "bytes"
        self.inbox.put_nowait({"type": "websocket.receive", kind: data})

    async def get(self) -> str | bytes:
        message = await self.message()
        assert message["type"] == "websocket.send", message
        return message["text"]

    async def closed(self) -> tuple[int, str]:
        message = await self.message()
        assert message["type"] == "websocket.close", message
        return message["code"], message["reason"]

    async def leave(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})
        async with asyncio.timeout(PATIENCE):
            await self.task


class Talks:
    """A gateway to talk to, and its upstream."""

    def __init__(self, simulator: Simulator, gateway: Running | None, app: Any) -> None:
        self.simulator = simulator
        self.gateway = gateway
        self.app = app

    @contextlib.asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Any]:
        """Open a connection; `options` are those of `websockets`, or more of the ASGI scope."""
        if self.gateway is None:
            talk = AsgiTalk(self.app, **options)
            assert (await talk.message())["type"] == "websocket.accept"
            try:
                yield talk
            finally:
                if not talk.task.done():
                    talk.may_send.set()
                    await talk.leave()
        else:
            async with talking(self.gateway, **options) as talk:
                yield talk

    def asked(self, index: int = -1) -> Any:
        """Return the body of a request that the upstream has seen."""
        return json.loads(self.simulator.calls[index].body)


@contextlib.asynccontextmanager
async def talking(gateway: Running, **options: Any) -> AsyncIterator[SocketTalk]:
    url = f"ws://127.0.0.1:{gateway.port}/v1/responses"
    async with connect(url, max_size=None, **options) as connection:
        yield SocketTalk(connection)


@contextlib.asynccontextmanager
async def talks(
    folder: Path,
    *answers: Answer,
    through: str = "socket",
    up: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Talks]:
    """Serve through a `socket` or through `asgi`, with these answers and changed settings; `up` are those of the provider."""
    async with Simulator(answers) as simulator:
        settings = settings_for(folder, simulator.base_url, **changes)
        providers = settings.providers | {"up": replace(settings.providers["up"], **up or {})}
        settings = replace(settings, providers=providers)
        if through == "socket":
            async with serving(settings) as gateway:
                yield Talks(simulator, gateway, None)
        else:
            app = antiphon.create_app(settings)
            try:
                yield Talks(simulator, None, app)
            finally:
                await app.aclose()


def types(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def code_of(event: Event) -> str | None:
    """Return the code of an error frame, whose form is checked."""
    assert event["type"] == "error", event
    assert {"type", "code", "message", "param"} <= set(event["error"])
    assert isinstance(event["error"]["code"], str)
    assert isinstance(event["status"], int)
    return event["error"]["code"]


def id_of(events: list[Event]) -> str:
    """Return the id of the response that a turn has ended with."""
    assert events[-1]["type"] in {"response.completed", "response.incomplete"}, events[-1]
    return events[-1]["response"]["id"]
