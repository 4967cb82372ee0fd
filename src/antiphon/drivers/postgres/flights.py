"""Equal requests in flight, of all processes that share a PostgreSQL database; implements `ports.flights.Flights`.

In tables that are not logged: a claim waits for no disk. Processes tell each other in channels of their own, over the
one connection of each that listens.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from antiphon.drivers.postgres import flight_statements as sql
from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.postgres.hints import Hints
from antiphon.ports.flights import FOLLOWER_SECONDS, KEPT_SECONDS, Claim, Page, Standing, Wanted

_ATTEMPTS: Final = 5


class PostgresFlights:
    """Flights in three tables: who leads, who follows, and what these are told."""

    def __init__(self, database: Database, hints: Hints) -> None:
        """Share what is in `database`; `hints` has not begun to listen."""
        self._database = database
        self._process = secrets.token_hex(8)
        self._moved: Callable[[bytes | None], object] = lambda _: None
        hints.hear(sql.CHANNEL + self._process, self._heard)

    async def claim(self, claim: Claim, lease: float) -> str | None:
        """Lead, or return the epoch that is followed."""
        for _ in range(_ATTEMPTS):
            if await self._database.fetch(sql.CLAIM, *claim, self._process, lease):
                return None
            led = await self._database.fetch_row(sql.FOLLOW, claim.flight, self._process, FOLLOWER_SECONDS)
            if led is not None:
                return str(led[0])
        return None  # it comes and goes: whatever this process does is right

    async def renew(self, held: Sequence[Claim], lease: float) -> list[Standing]:
        """Prolong leases."""
        followed = {row[0]: row[1] for row in await self._database.fetch(sql.RENEW, *_columns(held), lease)}
        return [
            Standing.LOST
            if claim.epoch not in followed
            else Standing.FOLLOWED
            if followed[claim.epoch]
            else Standing.ALONE
            for claim in held
        ]

    async def append(
        self, claim: Claim, at: int, pieces: Sequence[bytes], lease: float, next_epoch: str | None = None
    ) -> bool:
        """Tell the followers more."""
        row = await self._database.fetch_row(sql.APPEND, *claim, at, pieces, lease, next_epoch)
        return row is not None and row[0] > 0

    async def release(self, held: Sequence[Claim], *, even_if_followed: bool) -> list[Standing]:
        """Let flights go."""
        rows = await self._database.fetch(sql.RELEASE, *_columns(held), even_if_followed)
        gone = {row[0] for row in rows if not row[1]}
        followed = {row[0] for row in rows if row[1]} - gone
        return [
            Standing.ALONE
            if claim.epoch in gone
            else Standing.FOLLOWED
            if claim.epoch in followed
            else Standing.LOST
            for claim in held
        ]

    async def read(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Return what has been told."""
        claims = [each.claim for each in wanted]
        rows = await self._database.fetch(
            sql.READ,
            *_columns(claims),
            [each.position for each in wanted],
            [each.most for each in wanted],
            self._process,
            FOLLOWER_SECONDS,
        )
        return [Page(pieces, is_led) for pieces, is_led in rows]

    async def leave(self, claim: Claim) -> None:
        """Follow no more."""
        await self._database.fetch(sql.LEAVE, *claim, self._process)

    async def listen(self, moved: Callable[[bytes | None], object]) -> None:
        """Call `moved` with what is heard where the database's hints are."""
        self._moved = moved
        moved(None)
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Leave the connections to the database."""

    def sweep(self) -> None:
        """Drop, in the background, what nobody needs any more."""

        async def write(connection: Connection) -> None:
            for statement in sql.SWEEP:
                await connection.execute(statement, KEPT_SECONDS)

        self._database.queue.put(write)

    def _heard(self, said: str | None) -> None:
        self._moved(None if said is None else bytes.fromhex(said))


def _columns(claims: Sequence[Claim]) -> tuple[list[bytes], list[str]]:
    return [claim.flight for claim in claims], [claim.epoch for claim in claims]
