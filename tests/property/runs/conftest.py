"""The storages under test: what one has to do, the others have to do too."""

import tempfile
from pathlib import Path

import pytest

from drivers.stores.place import PostgresPlace, SqlitePlace

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture(params=["sqlite", "postgres"])
def place(request):
    """Where a driver keeps things; emptied before each example."""
    if request.param == "postgres":
        yield PostgresPlace(request.getfixturevalue("postgres_url"))
        return
    # What a disk does to a commit is tested elsewhere, by pulling the plug; here there are thousands.
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        yield SqlitePlace(Path(folder))
