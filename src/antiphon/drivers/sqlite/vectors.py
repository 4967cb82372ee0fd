"""Vectors in SQLite; implements `ports.vectors.VectorStore`."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from antiphon.drivers.sqlite.database import Database
from antiphon.drivers.vectors.codes import Floats, Partitions, code_of, unit
from antiphon.drivers.vectors.nearest import COMPARED, NearRow, ranked, row_of, size_of, unpacked, without
from antiphon.ports.vectors import MOST_EVIDENCE, Evidence, Neighbour, Placed

_LOAD = "SELECT number, code FROM semantic_vectors WHERE partition = ? AND number > ? ORDER BY number LIMIT ?"
_NEAR = "SELECT number, digest, text, vector FROM semantic_vectors WHERE number IN ({})"
_OF = "SELECT partition, vector FROM semantic_vectors WHERE digest = ?"
_REPLACE = """
REPLACE INTO semantic_vectors (partition, digest, code, vector, text, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_DELETE = "DELETE FROM semantic_vectors WHERE digest = ?"
# Where the entries are in this file, those that are kept for longer keep their vectors.
_EXPIRED = """
SELECT digest FROM semantic_vectors AS old WHERE expires_at < ?
AND NOT EXISTS (SELECT 1 FROM cache_entries WHERE digest = old.digest) LIMIT ?
"""
_OLDEST = "SELECT digest FROM semantic_vectors ORDER BY number LIMIT ?"
_COUNT = "SELECT count(*) FROM semantic_vectors"
_RELEASED = "SELECT digest FROM released_vectors LIMIT ?"
_FORGET_RELEASED = "DELETE FROM released_vectors WHERE digest = ?"
_DELETE_RELEASED = """
DELETE FROM semantic_vectors WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM cache_entries WHERE digest = ?1)
"""
_NOTE = "INSERT INTO semantic_evidence (model, similarity, agreed, source, time) VALUES (?, ?, ?, ?, ?)"
_EVIDENCE = "SELECT model, similarity, agreed, source, time FROM semantic_evidence ORDER BY id DESC LIMIT ?"
_TRIM_EVIDENCE = "DELETE FROM semantic_evidence WHERE id <= (SELECT max(id) FROM semantic_evidence) - ?"

_AT_ONCE: Final = 500
_LOADED_AT_ONCE: Final = 20_000


class SqliteVectors:
    """Vectors of all workers that share the file, compared in this process."""

    def __init__(self, database: Database, *, max_vectors: int, memory: int) -> None:
        """Keep at most about `max_vectors`, oldest out first, and the codes of some in so many bytes of memory."""
        self._database = database
        self._max_vectors = max_vectors
        self._partitions = Partitions(memory)

    async def nearest(self, partition: bytes, vector: bytes, limit: int) -> list[Neighbour]:
        """Return the nearest of a partition, nearest first. Raises StoreFault."""
        try:
            asked = unit(vector)
        except ValueError:
            return []
        # In slices, so that others who read much have their turn, and whoever gives up has got somewhere.
        while await self._database.read(
            lambda connection: self._load(connection, partition, asked), is_long=True
        ):
            pass
        return await self._database.read(
            lambda connection: self._nearest(connection, partition, asked, limit), is_long=True
        )

    async def around(self, digest: bytes, similarity: float, limit: int) -> list[Neighbour]:
        """Return whatever is at least so near to the text of an entry, without it. Raises StoreFault."""
        row = await self._database.read(lambda connection: connection.execute(_OF, (digest,)).fetchone())
        if row is None:
            return []
        return without(await self.nearest(row[0], unpacked(row[1]), limit + 1), digest, similarity)

    def put(self, placed: Placed) -> None:
        """Write in the background."""
        row = row_of(placed)
        if row is not None:
            size = size_of(placed)
            self._database.write(lambda connection: _run(connection, _REPLACE, *row), size, may_drop=True)

    def remove(self, digests: Sequence[bytes]) -> None:
        """Forget the texts of these entries."""
        gone = [(digest,) for digest in digests]
        self._database.write(lambda connection: _run_many(connection, _DELETE, gone))

    def note(self, evidence: Evidence) -> None:
        """Write in the background."""
        self._database.write(lambda connection: _run(connection, _NOTE, *evidence), may_drop=True)

    async def evidence(self, limit: int) -> list[Evidence]:
        """Return the latest, newest first. Raises StoreFault."""
        rows = await self._database.read(
            lambda connection: connection.execute(_EVIDENCE, (limit,)).fetchall(), is_long=True
        )
        return [
            Evidence(model, similarity, bool(agreed), source, time)
            for model, similarity, agreed, source, time in rows
        ]

    async def count(self) -> int:
        """Return how many vectors there are. Raises StoreFault."""
        (count,) = await self._database.read(
            lambda connection: connection.execute(_COUNT).fetchone(), is_long=True
        )
        return int(count)

    def sweep(self, now: float) -> None:
        """Delete what has expired, what lost its entry, and the oldest beyond the bound."""
        self._database.write_in_slices(_drop_released)
        self._database.write_in_slices(lambda connection: _drop_expired(connection, now))
        self._database.write_in_slices(self._make_room)
        self._database.write(lambda connection: _run(connection, _TRIM_EVIDENCE, MOST_EVIDENCE))

    def _load(self, connection: sqlite3.Connection, partition: bytes, asked: Floats) -> bool:
        """Load more of a partition; whether there may be still more."""
        codes = self._partitions.of(partition, len(code_of(asked)) // 8)
        rows = connection.execute(_LOAD, (partition, codes.last, _LOADED_AT_ONCE)).fetchall()
        self._partitions.add(codes, rows)
        return len(rows) == _LOADED_AT_ONCE

    def _nearest(
        self, connection: sqlite3.Connection, partition: bytes, asked: Floats, limit: int
    ) -> list[Neighbour]:
        code = code_of(asked)
        codes = self._partitions.of(partition, len(code) // 8)
        numbers = codes.nearest(code, max(limit, COMPARED))
        marks = ",".join("?" * len(numbers))
        rows = [NearRow(*row) for row in connection.execute(_NEAR.format(marks), numbers)]
        if len(rows) < len(numbers):
            codes.drop(set(numbers) - {row.number for row in rows})
        return ranked(rows, asked, limit)

    def _make_room(self, connection: sqlite3.Connection) -> bool:
        count: int = connection.execute(_COUNT).fetchone()[0]
        beyond = min(count - self._max_vectors, _AT_ONCE)
        if beyond <= 0:
            return False
        _run_many(connection, _DELETE, connection.execute(_OLDEST, (beyond,)).fetchall())
        return beyond == _AT_ONCE


def _drop_released(connection: sqlite3.Connection) -> bool:
    released = connection.execute(_RELEASED, (_AT_ONCE,)).fetchall()
    _run_many(connection, _DELETE_RELEASED, released)
    _run_many(connection, _FORGET_RELEASED, released)
    return len(released) == _AT_ONCE


def _drop_expired(connection: sqlite3.Connection, before: float) -> bool:
    expired = connection.execute(_EXPIRED, (before, _AT_ONCE)).fetchall()
    _run_many(connection, _DELETE, expired)
    return len(expired) == _AT_ONCE


def _run(connection: sqlite3.Connection, statement: str, *values: object) -> None:
    connection.execute(statement, values)


def _run_many(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[bytes]]) -> None:
    connection.executemany(statement, rows)
