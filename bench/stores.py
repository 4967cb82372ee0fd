"""Real servers to measure with, and the configuration that uses each."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError
from bench.rounds import Bench

_TESTS = Path(__file__).resolve().parents[1] / "tests"


@dataclass(frozen=True, slots=True)
class Store:
    """A place for entries, empty when it is made."""

    storage: str
    more: str = ""
    cache: str = ""

    def configuration(self, cache: str) -> str:
        """Return what stands in the file beside `storage`, with these members of `cache` too."""
        return f"cache: {{{', '.join(filter(None, (self.cache, cache)))}}}\n{self.more}"


def shared_stores(
    bench: Bench, stack: contextlib.ExitStack, missing: list[str], what: str
) -> dict[str, Callable[[], Store]]:
    """Start the servers that several hosts can share, until `stack` is left; each makes empty stores."""
    stores: dict[str, Callable[[], Store]] = {}
    with noting(missing, f"{what} in PostgreSQL"):
        new_database = stack.enter_context(postgres())
        stores["PostgreSQL"] = lambda: Store(new_database())
    with noting(missing, f"{what} in Redis"):
        new_redis = stack.enter_context(redis(bench.new_folder()))
        stores["Redis"] = lambda: Store(
            f"sqlite:///{bench.new_folder()}/antiphon.db", f"redis: {{url: {new_redis()}}}", "store: redis"
        )
    return stores


@contextlib.contextmanager
def noting(missing: list[str], what: str) -> Iterator[None]:
    """Write down why something is not measured, whatever keeps its server from starting here."""
    try:
        yield
    except Exception as error:
        missing.append(f"{what}: {error}")


@contextlib.contextmanager
def _tests_importable() -> Iterator[None]:
    sys.path.insert(0, str(_TESTS))
    try:
        yield
    finally:
        sys.path.remove(str(_TESTS))


@contextlib.contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """Start the server that the tests use."""
    with _tests_importable():
        from postgres import PostgresServer, find_programs
    programs = find_programs()
    if programs is None:
        raise BenchError("it is not installed (Debian: `apt-get install postgresql`)")
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-pg-") as folder:
        server = PostgresServer(programs, Path(folder))
        server.start()
        try:
            yield server.create_database
        finally:
            server.stop()


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Callable[[], str]]:
    """Start the server that the tests use."""
    with _tests_importable():
        from redis_server import RedisServer, find_program
    program = find_program()
    if program is None:
        raise BenchError("it is not installed (Debian: `apt-get install redis-server`)")
    server = RedisServer(program, folder)
    server.start()

    def emptied() -> str:
        server.ask("FLUSHALL")
        return server.url

    try:
        yield emptied
    finally:
        server.kill()
