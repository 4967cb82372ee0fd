"""A real PostgreSQL for the tests: one server for each process that runs them, in a folder of its own.

It listens on a Unix socket there and nowhere else, and runs as a user without rights, which it insists on.
"""

import asyncio
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from waiting import PATIENCE

_USER: Final = "antiphon"
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "on",  # what tests prove about crashes is to hold
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum_naptime": "60s",
    "log_min_messages": "warning",
}


class PostgresServer:
    """A server that a test may stop, kill and start again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Make the files of a new one in `folder`, which belongs to it from now on."""
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._databases = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # Root may not run it; the names of those who may are `postgres` where the package has made it.
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{_USER}@/{database}?host={self._folder}&port=5432"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self._folder, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as,  # type: ignore[call-overload]
            )
        self._wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: `SIGINT` throws clients out, `SIGQUIT` is as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """Crash, and start again."""
        self.stop(signal.SIGQUIT)
        self.start()

    def create_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{next(self._databases)}"
        self.run_sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop what `create_database` has made; whoever is still connected is thrown out."""
        name = url.partition("@/")[2].partition("?")[0]
        self.run_sql(f"DROP DATABASE {name} WITH (FORCE)")

    def run_sql(self, statement: str) -> None:
        """Do something that is no part of a test's own story."""

        async def run() -> None:
            import asyncpg

            connection = await asyncpg.connect(self.url())
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def _wait(self) -> None:
        assert self._process is not None
        ready = [self._programs / "pg_isready", "-q", "-h", self._folder, "-t", "10"]
        for _ in range(1000):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self._process.poll() is None, (self._folder / "log").read_text("utf-8", "replace")
        raise AssertionError("PostgreSQL does not start")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            cwd=self._folder,
            check=False,
            **self._as,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr.decode()


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them out of the way."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name))
    return next((each for each in reversed(folders) if (each / "initdb").exists()), None)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server until the block ends; skips the test where there is none to run."""
    pytest.importorskip("asyncpg")
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: `apt-get install postgresql`)")
    # Not below pytest's own folder, where another user may not look; and short, as the paths of sockets must be.
    folder = Path(tempfile.mkdtemp(prefix="antiphon-pg-"))
    try:
        server = PostgresServer(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("there is no user without rights to run PostgreSQL as")
