"""A storm: gateways that die and freeze while clients want answers, and a look at what they have seen afterwards."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.clients import Client
from chaos.gateways import Gateway, Upstream
from invariants import violations


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What is to happen."""

    seconds: float
    """How long workers are killed and frozen."""
    runs: int
    seed: int
    frames: int = 40
    gap: float = 0.2
    """Seconds between two frames of an answer."""
    gateways: Sequence[int] = (1, 1, 2)
    """The number of workers of each."""
    concurrency: int = 64
    pause: tuple[float, float] = (0.5, 2.0)
    """Seconds between two misfortunes."""


@dataclass(slots=True)
class Outcome:
    """What was seen."""

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return "\n".join([told, *self.violations])


async def storm(folder: Path, storage: str, weather: Weather, say: Callable[[str], object]) -> Outcome:
    """Let it happen, and return what was seen."""
    chance = Random(weather.seed)
    outcome = Outcome()
    upstream = Upstream(weather.frames, weather.gap)
    gateways = [
        Gateway(
            folder,
            f"gateway-{number}",
            storage,
            upstream.port,
            workers=workers,
            concurrency=weather.concurrency,
        )
        for number, workers in enumerate(weather.gateways)
    ]
    try:
        for gateway in gateways:
            await gateway.start()
        say(f"{len(gateways)} gateways are up; seed {weather.seed}")
        clients = await _live_through(gateways, weather, chance, outcome, say)
        say("the storm is over, and every answer has ended")
        await _look(clients, outcome)
    finally:
        for gateway in gateways:
            gateway.stop()
        upstream.stop()
    return outcome


async def _live_through(
    gateways: list[Gateway],
    weather: Weather,
    chance: Random,
    outcome: Outcome,
    say: Callable[[str], object],
) -> list[Client]:
    def port() -> int:
        return chance.choice(gateways).port

    patience = max(5.0, 5 * weather.gap)
    clients = [Client(port, Random(chance.random()), patience=patience) for _ in range(weather.runs)]
    async with asyncio.TaskGroup() as group:
        weathering = group.create_task(_blow(gateways, weather, chance, outcome))
        running = [
            group.create_task(_begin_later(client, chance.uniform(0, weather.seconds / 2)))
            for client in clients
        ]
        while not all(task.done() for task in running):
            await asyncio.wait([*running, weathering], timeout=5, return_when=asyncio.FIRST_EXCEPTION)
            say(f"{sum(task.done() for task in running)} of {len(running)} answers have ended")
            await asyncio.sleep(0.5 if not all(task.done() for task in running) else 0)
    outcome.counts["connections"] = sum(client.connections for client in clients)
    outcome.counts["cancelled in time"] = sum(client.was_cancelled for client in clients)
    return clients


async def _begin_later(client: Client, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await client.run()


async def _blow(gateways: list[Gateway], weather: Weather, chance: Random, outcome: Outcome) -> None:
    """Kill and freeze; in the end everybody is up again."""
    loop = asyncio.get_running_loop()
    end = loop.time() + weather.seconds
    async with asyncio.TaskGroup() as group:
        while loop.time() < end:
            await asyncio.sleep(chance.uniform(*weather.pause))
            well = [
                (gateway, pid)
                for gateway in gateways
                for pid in gateway.workers()
                if pid not in gateway.frozen
            ]
            if len(well) < 2:
                continue  # somebody has to be there
            gateway, pid = chance.choice(well)
            if chance.random() < 0.5:
                outcome.counts["killed"] += 1
                if gateway.kill(pid):
                    group.create_task(_start_again(gateway, chance.uniform(0, 3)))
            else:
                outcome.counts["frozen"] += 1
                gateway.freeze(pid)
                group.create_task(_thaw_later(gateway, pid, chance.uniform(0.5, 6)))


async def _start_again(gateway: Gateway, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await gateway.start()


async def _thaw_later(gateway: Gateway, pid: int, seconds: float) -> None:
    await asyncio.sleep(seconds)
    gateway.thaw(pid)


async def _look(clients: list[Client], outcome: Outcome) -> None:
    """Read everything once more; whoever was frozen has had time to write what it must not."""
    accepted = [client for client in clients if client.seen is not None]
    for client in accepted:
        await client.look_back()
        assert client.seen is not None
        assert client.seen.final is not None
        outcome.counts[client.seen.final["status"]] += 1
        outcome.counts["events"] += len(client.seen.stored)
        outcome.violations += violations(client.seen)
    outcome.counts["accepted"] = len(accepted)
