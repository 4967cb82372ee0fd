"""The drivers that every test of this folder is run with."""

import pytest

from drivers.stores.place import PostgresPlace, SqlitePlace

DRIVERS = {
    "sqlite": lambda request: SqlitePlace(request.getfixturevalue("tmp_path")),
    "postgres": lambda request: PostgresPlace(request.getfixturevalue("postgres_url")),
}


@pytest.fixture(params=DRIVERS)
def place(request):
    """An empty database of each driver."""
    return DRIVERS[request.param](request)
