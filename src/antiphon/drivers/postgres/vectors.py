"""Vectors in PostgreSQL; implements `ports.vectors.VectorStore`.

They are compared in this process, as those in SQLite are: so no extension has to be installed in the server, and the
table is only read by rows of one partition, and by their numbers.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from antiphon.drivers.postgres.connection import Connection
from antiphon.drivers.postgres.database import Database
from antiphon.drivers.vectors.codes import Codes, Partitions, code_of, unit
from antiphon.drivers.vectors.nearest import COMPARED, NearRow, ranked, row_of, size_of, unpacked, without
from antiphon.ports.vectors import MOST_EVIDENCE, Evidence, Neighbour, Placed

_LOAD = (
    "SELECT number, code FROM semantic_vectors WHERE partition = $1 AND number > $2 ORDER BY number LIMIT $3"
)
_NEAR = "SELECT number, digest, text, vector FROM semantic_vectors WHERE number = ANY ($1)"
_OF = "SELECT partition, vector FROM semantic_vectors WHERE digest = $1"
_PUT = """
INSERT INTO semantic_vectors (partition, digest, code, vector, text, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
"""
_DELETE = "DELETE FROM semantic_vectors WHERE digest = ANY ($1::bytea[])"
# Where the entries are in this database, those that are kept for longer keep their vectors.
_DELETE_EXPIRED = """
DELETE FROM semantic_vectors AS old WHERE expires_at < $1
AND NOT EXISTS (SELECT FROM cache_entries WHERE digest = old.digest)
"""
_DELETE_RELEASED = """
WITH released AS (DELETE FROM released_vectors RETURNING digest)
DELETE FROM semantic_vectors AS old WHERE digest IN (SELECT digest FROM released)
AND NOT EXISTS (SELECT FROM cache_entries WHERE digest = old.digest)
"""
_DELETE_BEYOND = """
DELETE FROM semantic_vectors WHERE number <= (SELECT number FROM semantic_vectors ORDER BY number DESC OFFSET $1 LIMIT 1)
"""
_NOTE = "INSERT INTO semantic_evidence (model, similarity, agreed, source, time) VALUES ($1, $2, $3, $4, $5)"
_EVIDENCE = "SELECT model, similarity, agreed, source, time FROM semantic_evidence ORDER BY id DESC LIMIT $1"
_TRIM_EVIDENCE = "DELETE FROM semantic_evidence WHERE id <= (SELECT max(id) FROM semantic_evidence) - $1"

_LOADED_AT_ONCE: Final = 20_000
_OVERLAP: Final = 2_000
"""Numbers are given before they are committed: so many before the last one are looked for once more."""


class PostgresVectors:
    """Vectors of all workers of all hosts."""

    def __init__(self, database: Database, *, max_vectors: int, memory: int) -> None:
        """Keep at most about `max_vectors`, oldest out first, and the codes of some in so many bytes of memory."""
        self._database = database
        self._max_vectors = max_vectors
        self._partitions = Partitions(memory)
        self._comparing = asyncio.Lock()
        """One at a time: the codes are not to change while another thread reads them."""

    async def nearest(self, partition: bytes, vector: bytes, limit: int) -> list[Neighbour]:
        """Return the nearest of a partition, nearest first. Raises StoreFault."""
        try:
            asked = unit(vector)
        except ValueError:
            return []
        code = code_of(asked)
        async with self._comparing:
            codes = self._partitions.of(partition, len(code) // 8)
            await self._load(codes, partition)
            numbers = await asyncio.to_thread(codes.nearest, code, max(limit, COMPARED))
        rows = [NearRow(*row) for row in await self._database.fetch(_NEAR, numbers)]
        if len(rows) < len(numbers):
            async with self._comparing:
                codes.drop(set(numbers) - {row.number for row in rows})
        return ranked(rows, asked, limit)

    async def around(self, digest: bytes, similarity: float, limit: int) -> list[Neighbour]:
        """Return whatever is at least so near to the text of an entry, without it. Raises StoreFault."""
        row = await self._database.fetch_row(_OF, digest)
        if row is None:
            return []
        return without(await self.nearest(row[0], unpacked(row[1]), limit + 1), digest, similarity)

    def put(self, placed: Placed) -> None:
        """Write in the background."""
        row = row_of(placed)
        if row is None:
            return

        async def write(connection: Connection) -> None:
            # A new number: whoever has read the old one will read this one too.
            await connection.execute(_DELETE, [placed.digest])
            await connection.execute(_PUT, *row)

        self._database.queue.put(write, size_of(placed), may_drop=True)

    def remove(self, digests: Sequence[bytes]) -> None:
        """Forget the texts of these entries."""
        self._do(_DELETE, list(digests))

    def note(self, evidence: Evidence) -> None:
        """Write in the background."""
        self._do(_NOTE, *evidence)

    async def evidence(self, limit: int) -> list[Evidence]:
        """Return the latest, newest first. Raises StoreFault."""
        return [Evidence(*row) for row in await self._database.fetch(_EVIDENCE, limit)]

    async def count(self) -> int:
        """Return how many vectors there are. Raises StoreFault."""
        row = await self._database.fetch_row("SELECT count(*) FROM semantic_vectors")
        return 0 if row is None else int(row[0])

    def sweep(self, now: float) -> None:
        """Delete what has expired, what lost its entry, and the oldest beyond the bound."""
        self._do(_DELETE_RELEASED)
        self._do(_DELETE_EXPIRED, now)
        self._do(_DELETE_BEYOND, self._max_vectors)
        self._do(_TRIM_EVIDENCE, MOST_EVIDENCE)

    async def _load(self, codes: Codes, partition: bytes) -> None:
        """Load what is not loaded yet of a partition."""
        while True:
            after = max(0, codes.last - _OVERLAP)
            known = codes.numbers_after(after)
            rows = await self._database.fetch(_LOAD, partition, after, _LOADED_AT_ONCE + len(known))
            new = [(row[0], row[1]) for row in rows if row[0] not in known]
            self._partitions.add(codes, new)
            if len(rows) < _LOADED_AT_ONCE + len(known):
                return

    def _do(self, statement: str, *values: object) -> None:
        async def write(connection: Connection) -> None:
            await connection.execute(statement, *values)

        self._database.queue.put(write)
