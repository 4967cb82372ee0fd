"""A gateway and an upstream that plays recordings, kept up for many tests in one event loop that is run by turns."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Cache, Provider, Secret, Settings
from antiphon.settings.values import ProviderType
from e2e.plain_client import PlainClient, plain_client
from recorded import Exchange
from serving import Clock, Running, serving, settings_for
from waiting import PATIENCE

T = TypeVar("T")

_FRAMING = {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive"}


class Stage:
    """What a test plays on. Between two calls of `run` nothing moves, and wall time never does."""

    def __init__(
        self,
        runner: asyncio.Runner,
        clock: Clock,
        gateway: Running,
        simulator: Simulator,
        client: PlainClient,
    ) -> None:
        self._runner = runner
        self.clock = clock
        self.gateway = gateway
        self.simulator = simulator
        self.client = client

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        async def within_reason() -> T:
            async with asyncio.timeout(PATIENCE):
                return await coroutine

        return self._runner.run(within_reason())


@contextlib.contextmanager
def stage(
    folder: Path, cache: Cache, kind: ProviderType = "openai", more: Sequence[ProviderType] = ()
) -> Iterator[Stage]:
    """Set the stage, with its database in `folder`, with the provider `up` of this type, and `more` by their types."""
    clock = Clock()
    with asyncio.Runner() as runner:
        scene = _scene(
            folder, cache, clock, {"up": kind, "chat": "openai-chat", **{each: each for each in more}}
        )
        entered = runner.run(scene.__aenter__())
        try:
            yield Stage(runner, clock, *entered)
        finally:
            runner.run(scene.__aexit__(None, None, None))


@contextlib.asynccontextmanager
async def _scene(
    folder: Path, cache: Cache, clock: Clock, kinds: Mapping[str, ProviderType]
) -> AsyncIterator[tuple[Running, Simulator, PlainClient]]:
    async with (
        Simulator() as simulator,
        serving(_settings(folder, simulator.base_url, cache, kinds), clock) as gateway,
        plain_client(gateway.port) as client,
    ):
        yield gateway, simulator, client


def _settings(folder: Path, url: str, cache: Cache, kinds: Mapping[str, ProviderType]) -> Settings:
    providers = {
        name: Provider(
            type=kind,
            base_url=url,
            api_key=None if kind == "openai-chat" else Secret("sk-upstream"),
            models=(),
        )
        for name, kind in kinds.items()
    }
    return settings_for(folder, url, cache=cache, providers=providers)


def played(exchange: Exchange, body: bytes, content_type: str) -> Answer:
    """Let the upstream answer as recorded, cut anywhere: at places that depend on nothing but the recording."""
    headers = tuple(
        (name, value) for name, value in exchange.headers if name.lower() not in {*_FRAMING, "content-type"}
    )
    chance = random.Random(exchange.id)
    cuts = sorted(chance.sample(range(1, len(body)), min(len(body) - 1, chance.choice((0, 3, 40)))))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return Answer(
        status=exchange.status, headers=headers, frames=pieces, content_type=content_type, chunked=True
    )
