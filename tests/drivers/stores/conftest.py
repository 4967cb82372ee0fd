"""The drivers that every test of this folder is run with."""

import pytest

from drivers.stores.place import SqlitePlace

DRIVERS = {"sqlite": SqlitePlace}


@pytest.fixture(params=DRIVERS)
def place(request, tmp_path):
    """An empty database of each driver."""
    return DRIVERS[request.param](tmp_path)
