"""Gateways that share the second level of their caches, and nothing else."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Simulator
from antiphon.settings import Cache, Storage, Timeout
from serving import UNHURRIED, Running, serving, settings_for
from waiting import eventually


def shared_by(request: Any, kind: str) -> dict[str, Any]:
    """Return the settings that put the second level into a server of this kind; its fixtures are asked of `request`."""
    if kind == "postgres":
        return {"storage": Storage(url=request.getfixturevalue("postgres_url"))}
    server = request.getfixturevalue({"redis": "redis_server", "cluster": "redis_cluster"}[kind])
    return {"redis": server.settings}


@contextlib.asynccontextmanager
async def gateways(
    folder: Path,
    simulator: Simulator,
    count: int,
    *,
    lookup_timeout: float = UNHURRIED,
    cache: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[list[Running]]:
    """Serve with so many applications; what is not shared by `changes` each has for itself."""
    store = "redis" if "redis" in changes else "storage"
    settings = Cache(**{"store": store, "lookup_timeout": Timeout(lookup_timeout), **(cache or {})})
    async with contextlib.AsyncExitStack() as stack:
        running = []
        for number in range(count):
            own = folder / f"gateway-{number}"
            own.mkdir(exist_ok=True)
            made = settings_for(own, simulator.base_url, cache=settings, **changes)
            running.append(await stack.enter_async_context(serving(made)))
        yield running


async def written(running: Running) -> None:
    """Return when nothing waits to be written into the second level."""
    application = running.application
    level = application.redis_cache or application.storage
    await eventually(lambda: level.queued == 0)
