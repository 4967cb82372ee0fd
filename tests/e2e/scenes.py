"""A gateway, its upstream, a client, and a look into the database: what most end-to-end tests begin with."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Answer, Received, Simulator
from antiphon.settings import Provider
from e2e.plain_client import Answer as Got
from e2e.plain_client import PlainClient, plain_client
from e2e.samples import PATHS, REQUESTS, answer_of
from serving import Running, serving, settings_for
from waiting import PATIENCE, eventually


class Scene:
    """One gateway with one upstream."""

    def __init__(self, folder: Path, gateway: Running, simulator: Simulator, client: PlainClient) -> None:
        self.folder = folder
        self.gateway = gateway
        self.simulator = simulator
        self.client = client

    @property
    def base_url(self) -> str:
        return f"{self.gateway.url}/v1"

    @property
    def calls(self) -> int:
        """How often the upstream was asked."""
        return len(self.simulator.calls)

    async def ask(self, dialect: str, *, headers: dict[str, str] | None = None, **changes: Any) -> Got:
        """Send the sample request of a dialect; the upstream has the sample answer ready."""
        self.prepare(dialect, stream=changes.get("stream", False))
        return await self.again(dialect, headers=headers, **changes)

    async def again(self, dialect: str, *, headers: dict[str, str] | None = None, **changes: Any) -> Got:
        """Send the sample request of a dialect."""
        return await self.client.post(PATHS[dialect], REQUESTS[dialect] | changes, **(headers or {}))

    def prepare(self, dialect: str, *, stream: bool) -> None:
        self.simulator.answer(answer_of(dialect, stream=stream))

    async def rows(self, cache: str | None = None) -> list[dict[str, Any]]:
        """Return the ledger's rows so far as they were written, those with one cache result or all."""
        await self.gateway.application.accounts.flush()
        found = read_rows(self.folder, "SELECT * FROM usage ORDER BY rowid")
        return [row for row in found if cache in (None, row["cache"])]

    async def written(self, rows: int = 1, table: str = "cache_entries") -> None:
        """Wait until so many rows are in the file."""
        await eventually(lambda: read_rows(self.folder, f"SELECT count(*) AS n FROM {table}")[0]["n"] == rows)


def read_rows(folder: Path, query: str) -> list[dict[str, Any]]:
    """Look into the database from outside."""
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


@contextlib.asynccontextmanager
async def scene(
    folder: Path,
    *answers: Answer,
    answering: Callable[[Received], Answer] | None = None,
    clock: Any = None,
    p: str | None = None,
    providers_at: Any = None,
    **changes: Any,
) -> AsyncIterator[Scene]:
    """Set up with these answers, or one that chooses them, and changed settings.

    With `p`, the only provider is `p`, of that type; `providers_at` makes providers from the upstream's URL.
    """
    async with Simulator(answering or answers) as simulator:
        if providers_at is not None:
            changes["providers"] = providers_at(simulator.base_url)
        if p is not None:
            changes["providers"] = {"p": Provider(type=p, base_url=simulator.base_url, models=())}  # type: ignore[arg-type]
        settings = settings_for(folder, simulator.base_url, **changes)
        async with serving(settings, clock) as gateway, plain_client(gateway.port) as client:
            yield Scene(folder, gateway, simulator, client)


def play(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, for a reasonable time."""

    async def within_reason() -> None:
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(within_reason())
