"""A gateway for each upstream, kept up for the tests of one module."""

import asyncio
from collections.abc import Iterator

import pytest

from conformance.api import Api, served
from conformance.upstreams import PROVIDER_TYPES


@pytest.fixture(scope="module", params=PROVIDER_TYPES)
def upstream(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Api, asyncio.Runner]]:
    with served(tmp_path_factory.mktemp(request.param), request.param) as there:
        yield there
