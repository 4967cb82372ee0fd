"""Every upstream answers the tests of Open Responses."""

import asyncio
from collections.abc import Iterator

import pytest

from conformance.api import Api, obliging, served, within_reason
from conformance.suite import LATER, RELEASED, Scenario
from conformance.upstreams import PROVIDER_TYPES

Served = tuple[Api, asyncio.Runner]


@pytest.fixture(scope="module", params=PROVIDER_TYPES)
def upstream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp(request.param), request.param) as there:
        yield there


def run(upstream: Served, scenario: Scenario) -> None:
    api, runner = upstream
    api.says(obliging)
    runner.run(within_reason(scenario(api)))


@pytest.mark.parametrize("name", RELEASED)
def test_release_2026_04_24(upstream: Served, name: str):
    """The tests of the release, by their names."""
    run(upstream, RELEASED[name])


@pytest.mark.parametrize("name", LATER)
def test_later_versions(upstream: Served, name: str):
    """The tests of development versions that need nothing kept."""
    run(upstream, LATER[name])


def test_all_tests_of_the_release_are_there():
    """17, of which 7 over a WebSocket."""
    assert len(RELEASED) == 17
    assert sum(name.startswith("websocket-") for name in RELEASED) == 7
