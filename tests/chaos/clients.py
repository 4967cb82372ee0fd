"""Clients that ask for answers, follow them through whatever gateway there is, and never give up."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

from e2e.plain_client import PlainClient, plain_client
from invariants import Reading, Witnessed, frames_of

_PATH = "/v1/responses"
_PATIENCE_SECONDS = 10.0
"""For an answer that is not a stream; a gateway that is frozen says nothing, and another is asked."""
_BROKEN = (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Lost(AssertionError):
    """An answer that was accepted is not known any more."""


class Client:
    """Asks for one answer, and sees to its end."""

    def __init__(self, ports: Callable[[], int], chance: Random, *, patience: float) -> None:
        """`ports` gives the gateway to be asked next; `patience` is how many seconds a stream may be silent."""
        self._ports = ports
        self._chance = chance
        self._patience = patience
        self.seen: Witnessed | None = None
        """None: it was never accepted."""
        self.connections = 0
        self.was_cancelled = False

    async def run(self) -> None:
        """Ask, and follow until the end was seen."""
        follows = self._chance.random() < 0.6
        await self._create(stream=follows and self._chance.random() < 0.5)
        if self.seen is None:
            return
        cancels = self._chance.random() < 0.15
        async with asyncio.TaskGroup() as group:
            if follows:
                group.create_task(self._follow())
            if cancels:
                group.create_task(self._cancel())
            group.create_task(self._poll())

    async def look_back(self) -> None:
        """Read what is stored in the end."""
        assert self.seen is not None
        self.seen.final = await self._ask("GET", "")
        reading = Reading()
        while not reading.is_whole:
            reading = await self._read(-1, cuts=False)
        self.seen.stored = reading.frames

    async def _create(self, *, stream: bool) -> None:
        asked = {"model": "up/m", "input": "Hi", "background": True, "stream": stream}
        while self.seen is None:
            try:
                async with plain_client(self._ports()) as client:
                    client.send("POST", _PATH, asked)
                    status, headers = await asyncio.wait_for(client.head(), _PATIENCE_SECONDS)
                    if status != 200:
                        await client.rest(headers)
                    elif not stream:
                        self._accepted(json.loads(await client.rest(headers)))
                    else:
                        await self._receive(client, self._begin)
            except _BROKEN:
                pass  # nobody has said that it was accepted
            if self.seen is None:
                await asyncio.sleep(0.1)

    def _begin(self, body: bytes) -> bool:
        """Take the beginning of a streamed answer; the rest is followed like any other."""
        frames, _ = frames_of(body)
        if frames:
            event = json.loads(frames[0].partition(b"data: ")[2])
            self._accepted(event["response"])
            assert self.seen is not None
            self.seen.readings.append(Reading(-1, frames))
        return not frames

    def _accepted(self, response: dict[str, Any]) -> None:
        self.seen = Witnessed(response["id"], [], None)
        self.seen.statuses.append(response["status"])

    async def _follow(self) -> None:
        assert self.seen is not None
        after = (
            self.seen.readings[-1].after + len(self.seen.readings[-1].frames) if self.seen.readings else -1
        )
        while True:
            reading = await self._read(after, cuts=True)
            self.seen.readings.append(reading)
            after += len(reading.frames)
            if reading.is_whole:
                return
            if not reading.frames:
                await asyncio.sleep(0.05)

    async def _read(self, after: int, *, cuts: bool) -> Reading:
        """Follow for a while through some gateway."""
        assert self.seen is not None
        frames: list[bytes] = []
        is_whole = False
        events = self._chance.randrange(1, 15) if cuts else 1 << 30

        def take(body: bytes) -> bool:
            nonlocal frames, is_whole
            frames, is_whole = frames_of(body)
            return not is_whole and len(frames) < events

        with contextlib.suppress(*_BROKEN):
            async with plain_client(self._ports()) as client:
                self.connections += 1
                where = f"{_PATH}/{self.seen.response_id}?stream=true"
                client.send("GET", where if after < 0 else f"{where}&starting_after={after}", b"")
                status, headers = await asyncio.wait_for(client.head(), _PATIENCE_SECONDS)
                if status == 404:
                    raise Lost(self.seen.response_id)
                if status == 200:
                    await self._receive(client, take)
                else:
                    await client.rest(headers)
        return Reading(after, frames, is_whole)

    async def _receive(self, client: PlainClient, take: Callable[[bytes], bool]) -> None:
        """Give `take` all that has come of a chunked body, as long as it wants more."""
        body = b""
        while True:
            size = int(await asyncio.wait_for(client.reader.readuntil(b"\r\n"), self._patience), 16)
            body += (await client.reader.readexactly(size + 2))[:-2]
            if not take(body) or size == 0:
                return

    async def _poll(self) -> None:
        assert self.seen is not None
        while True:
            await asyncio.sleep(self._chance.uniform(0.2, 2))
            response = await self._ask("GET", "")
            self.seen.statuses.append(response["status"])
            if response["status"] not in {"queued", "in_progress"}:
                return

    async def _cancel(self) -> None:
        assert self.seen is not None
        await asyncio.sleep(self._chance.uniform(0, 4))
        response = await self._ask("POST", "/cancel")
        self.was_cancelled = response["status"] == "cancelled"
        assert response["status"] not in {"queued", "in_progress"}, response["status"]
        if self.was_cancelled:
            reading = Reading()
            while not reading.is_whole:
                reading = await self._read(-1, cuts=False)
            self.seen.cancelled_at = len(reading.frames) - 1

    async def _ask(self, method: str, end: str) -> dict[str, Any]:
        """Ask until somebody answers."""
        assert self.seen is not None
        while True:
            with contextlib.suppress(*_BROKEN):
                async with plain_client(self._ports()) as client:
                    client.send(method, f"{_PATH}/{self.seen.response_id}{end}", b"")
                    answer = await asyncio.wait_for(client.answer(), _PATIENCE_SECONDS)
                    if answer.status == 200:
                        told: dict[str, Any] = answer.json()
                        return told
                    if answer.status == 404:
                        raise Lost(self.seen.response_id)
            await asyncio.sleep(0.1)
