"""The drivers that every test of this folder is run with."""

import pytest

from drivers.stores.place import PostgresPlace, RedisPlace, SqlitePlace

DRIVERS = {
    "sqlite": lambda request: SqlitePlace(request.getfixturevalue("tmp_path")),
    "postgres": lambda request: PostgresPlace(request.getfixturevalue("postgres_url")),
}
OF_CACHE_ALONE = {
    "redis": lambda request: RedisPlace(request.getfixturevalue("redis_server").settings),
    "cluster": lambda request: RedisPlace(request.getfixturevalue("redis_cluster").settings),
}
"""Where only the cache can be; tests of it name them with `LEVELS`."""


@pytest.fixture(params=DRIVERS)
def place(request):
    """An empty database of each driver."""
    return (DRIVERS | OF_CACHE_ALONE)[request.param](request)
