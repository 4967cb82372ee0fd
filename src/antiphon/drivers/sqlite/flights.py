"""Equal requests in flight, of all workers of one host; implements `ports.flights.Flights`.

In a file of its own beside the database, which nobody waits to see on disk: after a crash of the host it is worth
nothing. Workers tell each other by rows that they look for whenever the file has changed; while there is nothing in
flight nobody looks.
"""

import asyncio
import contextlib
import functools
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from antiphon.drivers.sqlite.busy import WAL, execute_when_free
from antiphon.drivers.sqlite.database import make_private
from antiphon.ports.flights import FOLLOWER_SECONDS, KEPT_SECONDS, Claim, Page, Standing, Wanted
from antiphon.wire.errors import StoreFault

_T = TypeVar("_T")

_LOOK_SECONDS: Final = 0.02
_USED_SECONDS: Final = 5.0
"""How long one looks on after something was in flight."""
_GONE_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 10.0

_SCHEMA: Final = """
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS flights (
    flight BLOB PRIMARY KEY, epoch TEXT NOT NULL, leader TEXT NOT NULL, lease_until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS followers (
    epoch TEXT NOT NULL, process TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (epoch, process)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pieces (
    epoch TEXT NOT NULL, number INTEGER NOT NULL, piece BLOB NOT NULL, told_at REAL NOT NULL,
    PRIMARY KEY (epoch, number)
);
CREATE TABLE IF NOT EXISTS hints (
    process TEXT NOT NULL, flight BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (process, flight)
) WITHOUT ROWID;
"""
_LED = "SELECT epoch, leader FROM flights WHERE flight = ? AND lease_until >= ?"
_LEAD = "REPLACE INTO flights (flight, epoch, leader, lease_until) VALUES (?, ?, ?, ?)"
_FOLLOW = "REPLACE INTO followers (epoch, process, until) VALUES (?, ?, ?)"
_FOLLOWERS = "SELECT process FROM followers WHERE epoch = ? AND until >= ?"
_LEAVE = "DELETE FROM followers WHERE epoch = ? AND process = ?"
_RENEW = "UPDATE flights SET lease_until = ? WHERE flight = ? AND epoch = ?"
_MOVE_ON = "UPDATE flights SET lease_until = ?, epoch = ? WHERE flight = ? AND epoch IN (?, ?)"
_TELL = "INSERT OR IGNORE INTO pieces (epoch, number, piece, told_at) VALUES (?, ?, ?, ?)"
_IS_LED = "SELECT 1 FROM flights WHERE flight = ? AND epoch = ?"
_RELEASE = "DELETE FROM flights WHERE flight = ? AND epoch = ?"
_READ = "SELECT piece FROM pieces WHERE epoch = ? AND number >= ? ORDER BY number LIMIT ?"
_HINT = "REPLACE INTO hints (process, flight, at) VALUES (?, ?, ?)"
_HINTS = "SELECT flight FROM hints WHERE process = ?"
_HEARD = "DELETE FROM hints WHERE process = ?"
_SWEEP: Final = (
    "DELETE FROM flights WHERE lease_until < ?",
    "DELETE FROM followers WHERE until < ?",
    "DELETE FROM hints WHERE at < ?",
    """
    DELETE FROM pieces WHERE told_at < ?
    AND NOT EXISTS (SELECT 1 FROM flights WHERE flights.epoch = pieces.epoch)
    AND NOT EXISTS (SELECT 1 FROM followers WHERE followers.epoch = pieces.epoch)
    """,
)


class SqliteFlights:
    """Flights in a file, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        """Share flights with whoever has the same file."""
        self._path = path
        self._process = secrets.token_hex(8)
        self._executor = ThreadPoolExecutor(1, "antiphon-flights")
        self._opened: sqlite3.Connection | None = None
        self._used_until = 0.0
        self._is_used = asyncio.Event()
        self._sweep_at = 0.0

    async def claim(self, claim: Claim, lease: float) -> str | None:
        """Lead, or return the epoch that is followed."""

        def work(connection: sqlite3.Connection) -> str | None:
            now = time.time()
            self._sweep(connection, now)
            led = connection.execute(_LED, (claim.flight, now)).fetchone()
            if led is None or led[0] == claim.epoch:
                connection.execute(_LEAD, (*claim, self._process, now + lease))
                return None
            epoch, leader = led
            connection.execute(_FOLLOW, (epoch, self._process, now + FOLLOWER_SECONDS))
            connection.execute(_HINT, (leader, claim.flight, now))
            return str(epoch)

        return await self._write(work)

    async def renew(self, held: Sequence[Claim], lease: float) -> list[Standing]:
        """Prolong leases."""

        def work(connection: sqlite3.Connection) -> list[Standing]:
            now = time.time()
            standings = []
            for flight, epoch in held:
                is_mine = connection.execute(_RENEW, (now + lease, flight, epoch)).rowcount
                standings.append(_standing(connection, epoch, now) if is_mine else Standing.LOST)
            return standings

        return await self._write(work)

    async def append(
        self, claim: Claim, at: int, pieces: Sequence[bytes], lease: float, next_epoch: str | None = None
    ) -> bool:
        """Tell the followers more."""
        flight, epoch = claim
        following = next_epoch or epoch

        def work(connection: sqlite3.Connection) -> bool:
            now = time.time()
            moved = connection.execute(_MOVE_ON, (now + lease, following, flight, epoch, following))
            if not moved.rowcount:
                return False
            rows = [(epoch, number, piece, now) for number, piece in enumerate(pieces, at)]
            connection.executemany(_TELL, rows)
            self._tell(connection, claim, now)
            return True

        return await self._write(work)

    async def release(self, held: Sequence[Claim], *, even_if_followed: bool) -> list[Standing]:
        """Let flights go."""

        def work(connection: sqlite3.Connection) -> list[Standing]:
            now = time.time()
            standings = []
            for claim in held:
                if connection.execute(_IS_LED, claim).fetchone() is None:
                    standings.append(Standing.LOST)
                elif _standing(connection, claim.epoch, now) is Standing.FOLLOWED and not even_if_followed:
                    standings.append(Standing.FOLLOWED)
                else:
                    connection.execute(_RELEASE, claim)
                    self._tell(connection, claim, now)
                    standings.append(Standing.ALONE)
            return standings

        return await self._write(work)

    async def read(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Return what has been told."""

        def work(connection: sqlite3.Connection) -> list[Page]:
            now = time.time()
            pages = []
            for claim, position, most in wanted:
                connection.execute(_FOLLOW, (claim.epoch, self._process, now + FOLLOWER_SECONDS))
                led = connection.execute(_LED, (claim.flight, now)).fetchone()
                pieces = connection.execute(_READ, (claim.epoch, position, most)).fetchall()
                is_led = led is not None and led[0] == claim.epoch
                pages.append(Page([piece for (piece,) in pieces], is_led))
            return pages

        return await self._write(work)

    async def leave(self, claim: Claim) -> None:
        """Follow no more."""

        def work(connection: sqlite3.Connection) -> None:
            now = time.time()
            led = connection.execute(_LED, (claim.flight, now)).fetchone()
            left = connection.execute(_LEAVE, (claim.epoch, self._process)).rowcount
            if left and led is not None and led[0] == claim.epoch:
                connection.execute(_HINT, (led[1], claim.flight, now))

        await self._write(work)

    async def listen(self, moved: Callable[[bytes | None], object]) -> None:
        """Look for hints whenever the file has changed."""
        with contextlib.suppress(StoreFault):
            await self._do(lambda _: None)  # so that no claim waits until it is opened
        moved(None)
        seen: int | None = None
        while True:
            if time.monotonic() >= self._used_until:
                self._is_used.clear()
                await self._is_used.wait()
            try:
                version, flights = await self._do(functools.partial(self._hear, seen))
            except StoreFault:
                await asyncio.sleep(_GONE_SECONDS)
                continue
            seen = version
            for flight in flights:
                moved(flight)
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(StoreFault):
            if self._opened is not None:
                await self._do(lambda connection: connection.close())
        self._executor.shutdown()

    def _hear(self, seen: int | None, connection: sqlite3.Connection) -> tuple[int, list[bytes]]:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == seen:
            return version, []
        flights = [flight for (flight,) in connection.execute(_HINTS, (self._process,))]
        if flights:
            with _transaction(connection):
                flights = [flight for (flight,) in connection.execute(_HINTS, (self._process,))]
                connection.execute(_HEARD, (self._process,))
        return version, flights

    def _tell(self, connection: sqlite3.Connection, claim: Claim, now: float) -> None:
        followers = connection.execute(_FOLLOWERS, (claim.epoch, now)).fetchall()
        connection.executemany(_HINT, [(process, claim.flight, now) for (process,) in followers])

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            for statement in _SWEEP:
                connection.execute(statement, (now - KEPT_SECONDS,))

    async def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        self._used_until = time.monotonic() + _USED_SECONDS
        self._is_used.set()

        def transact(connection: sqlite3.Connection) -> _T:
            with _transaction(connection):
                return work(connection)

        return await self._do(transact)

    async def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` on the thread. Raises StoreFault."""
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: work(self._connection())
            )
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StoreFault(f"Flights cannot be shared: {error}", code="storage_unavailable") from error

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            make_private(self._path)
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                execute_when_free(connection, WAL, _BUSY_SECONDS)
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._opened = connection
        return self._opened


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _standing(connection: sqlite3.Connection, epoch: str, now: float) -> Standing:
    followed = connection.execute(_FOLLOWERS, (epoch, now)).fetchone() is not None
    return Standing.FOLLOWED if followed else Standing.ALONE
