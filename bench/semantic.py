"""Look-ups of the semantic cache among a million vectors: all in one partition, or ten in each.

The vectors are made like those of texts: many around each of some topics, and what is asked for is near one of them.
"""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rounds import Bench
from bench.tables import Table

if TYPE_CHECKING:
    import numpy as np

_DIMENSIONS = 384
_TOPICS = 5_000
_MANY, _FEW = 1_000_000, 100_000
_AT_ONCE = 20_000
_ASKED = 40
_INSERT = """
INSERT INTO semantic_vectors (partition, digest, code, vector, text, expires_at) VALUES (?, ?, ?, ?, 'a text of forty letters, as many are....', 1e12)
"""

TITLE = "Semantic look-ups"
EXPLANATION = """\
Vectors of 384 numbers in SQLite, around 5,000 topics, asked for what is near one of them, without the embedding itself. The \
first look-up of a partition reads its codes, 48 bytes for each vector; a request waits no longer for it than `semantic.timeout`."""


def measure(bench: Bench, table: Table, missing: list[str]) -> None:
    """Measure with SQLite."""
    try:
        import numpy as np  # noqa: F401
    except ImportError:
        missing.append("semantic: NumPy is not installed (`pip install 'antiphon[semantic]'`)")
        return
    count = _FEW if bench.rounds == 1 else _MANY
    for name, partitions in (
        (f"{count:,} in one partition", 1),
        (f"{count:,} in partitions of 10", count // 10),
    ):
        for what, unit, value in _measured(count, partitions):
            table.note(name, what, unit, value)


def _measured(count: int, partitions: int) -> Iterator[tuple[str, str, float]]:
    import numpy as np

    random = np.random.default_rng(1)
    topics = random.standard_normal((_TOPICS, _DIMENSIONS), np.float32)
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-semantic-") as folder:
        path = Path(folder) / "antiphon.db"
        kept = np.empty((count, _DIMENSIONS), np.float16)
        asyncio.run(_opened(path, _nothing))
        _fill(path, kept, topics, partitions, random)
        yield "disk", "bytes a vector", path.stat().st_size / count
        asked = [int(place) for place in random.integers(0, count, _ASKED)]
        questions = [
            _unit(kept[place].astype(np.float32) + 0.02 * random.standard_normal(_DIMENSIONS, np.float32))
            for place in asked
        ]
        yield from asyncio.run(
            _opened(path, lambda store: _look_ups(store, kept, asked, questions, partitions))
        )


def _fill(
    path: Path, kept: "np.ndarray", topics: "np.ndarray", partitions: int, random: "np.random.Generator"
) -> None:
    import numpy as np

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for start in range(0, len(kept), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(kept))
        some = topics[random.integers(0, _TOPICS, stop - start)]
        some = some + 0.6 * random.standard_normal(some.shape, np.float32)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        kept[start:stop] = some
        bits = np.packbits(some > 0, axis=1)
        connection.execute("BEGIN")
        connection.executemany(
            _INSERT,
            (
                (
                    _partition(number % partitions),
                    b"%015d" % number,
                    bits[i].tobytes(),
                    kept[number].tobytes(),
                )
                for i, number in enumerate(range(start, stop))
            ),
        )
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def _look_ups(
    store: object, kept: "np.ndarray", asked: list[int], questions: list["np.ndarray"], partitions: int
) -> list[tuple[str, str, float]]:
    from antiphon.drivers.sqlite.vectors import SqliteVectors

    assert isinstance(store, SqliteVectors)
    first, times, found = 0.0, [], 0
    used = 0.0
    for place, question in zip(asked, questions, strict=True):
        began, cpu = time.perf_counter(), time.process_time()
        near = await store.nearest(_partition(place % partitions), question.tobytes(), 24)
        took = time.perf_counter() - began
        if not times and not first:
            first = took
            continue
        used += time.process_time() - cpu
        times.append(took)
        nearest = _nearest(kept, question, place % partitions, partitions)
        found += near[0].digest == b"%015d" % nearest
    return [
        ("the first look-up", "ms", first * 1000),
        ("a look-up, median", "ms", statistics.median(times) * 1000),
        ("a look-up: CPU", "ms", used / len(times) * 1000),
        ("the nearest was found", "%", 100 * found / len(times)),
        ("held in memory", "MB", store._partitions.size / 1e6),
    ]


def _nearest(kept: "np.ndarray", question: "np.ndarray", partition: int, partitions: int) -> int:
    """Compare with all."""
    import numpy as np

    best, most = 0, -1.0
    places = range(partition, len(kept), partitions)
    for start in range(0, len(places), 50_000):
        some = places[start : start + 50_000]
        likeness = kept[some.start : some.stop : some.step].astype(np.float32) @ question
        place = int(np.argmax(likeness))
        if likeness[place] > most:
            best, most = some[place], float(likeness[place])
    return best


def _unit(vector: "np.ndarray") -> "np.ndarray":
    import numpy as np

    made: np.ndarray = (vector / np.linalg.norm(vector)).astype("<f4")
    return made


def _partition(number: int) -> bytes:
    return b"%016d" % number


async def _nothing(store: object) -> list[tuple[str, str, float]]:  # noqa: ARG001 - it only makes the file
    return []


async def _opened(
    path: Path, work: Callable[[object], "asyncio.Future[list[tuple[str, str, float]]]"]
) -> list[tuple[str, str, float]]:
    from antiphon.drivers.sqlite.storage import SqliteStorage
    from antiphon.settings import Cache, Semantic, Settings, Storage

    cache = Cache(semantic=Semantic(enabled=True))
    storage = await SqliteStorage.open(Settings(storage=Storage(url=f"sqlite:///{path}"), cache=cache))
    try:
        return await work(storage.vectors)
    finally:
        await storage.close()
