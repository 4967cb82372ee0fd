"""Every upstream answers the tests of Open Responses."""

import pytest

from conformance.api import Served, run
from conformance.suite import LATER, RELEASED


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
