"""The plugin for pytest: `pytest --antiphon=MODE`, the fixture `antiphon`, and the marker of the same name.

Nothing of the gateway is imported before a test uses the fixture.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.cassettes import variables_set

if TYPE_CHECKING:
    from antiphon.cassettes.handle import CassetteGateway
    from antiphon.cassettes.serving import ServingThread

_MODES = ("once", "new", "record", "replay", "strict", "off")
_MARKER = (
    "antiphon(cassette=, mode=, config=, pace=, redact=, redact_text=, faults=): what the fixture is to play"
)
_KEYWORDS = ("cassette", "mode", "config", "pace", "redact", "redact_text", "faults")
_NOT_IN_A_NAME = re.compile(r"[^\w.-]+", re.ASCII)
_thread: pytest.StashKey["ServingThread"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and what may stand in the configuration of pytest."""
    group = parser.getgroup("antiphon")
    group.addoption(
        "--antiphon",
        choices=_MODES,
        metavar="MODE",
        help="How the `antiphon` fixture uses cassettes: once, new, record, replay, strict, or off.",
    )
    parser.addini("antiphon_mode", "The mode without --antiphon.", default="once")
    parser.addini(
        "antiphon_config", "The configuration file of the gateway, below the root folder.", default=""
    )
    parser.addini("antiphon_redact", "Paths in requests that are not recorded.", type="linelist")
    parser.addini("antiphon_redact_text", "Patterns of what is not recorded.", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the gateway, if one was started."""
    thread = config.stash.get(_thread, None)
    if thread is not None:
        del config.stash[_thread]
        thread.close()


@pytest.fixture
def antiphon(request: pytest.FixtureRequest) -> "Iterator[CassetteGateway]":
    """A gateway that plays or records this test's cassette; clients find it by their usual variables."""
    from antiphon.cassettes.composing import Wanted
    from antiphon.settings import ConfigurationError

    given = _given(request)
    mode = (
        given.get("mode") or request.config.getoption("--antiphon") or request.config.getini("antiphon_mode")
    )
    if mode not in _MODES:
        raise pytest.UsageError(f"{mode!r} is no mode of the antiphon plugin; there is: {', '.join(_MODES)}")
    config_file = given.get("config") or request.config.getini("antiphon_config")
    wanted = Wanted(
        None if mode == "off" else str(_folder(request, given.get("cassette"))),
        "append" if mode == "off" else mode,
        request.config.rootpath / config_file if config_file else None,
        given.get("pace"),
        (*request.config.getini("antiphon_redact"), *given.get("redact", ())),
        (*request.config.getini("antiphon_redact_text"), *given.get("redact_text", ())),
        tuple(given.get("faults", ())),
    )
    thread = _serving(request.config)
    try:
        gateway = thread.open(wanted, dict(os.environ))
    except ConfigurationError as error:
        pytest.fail(f"antiphon: {error}", pytrace=False)
    try:
        with variables_set(gateway.environ):
            yield gateway
    finally:
        thread.close_gateway()
        if gateway.misses:
            # Programs may swallow the error that told them.
            request.node.add_report_section("teardown", "antiphon", "\n".join(gateway.misses))


def _given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what markers say; the nearest to the test counts."""
    given: dict[str, Any] = {}
    for marker in request.node.iter_markers("antiphon"):
        unknown = set(marker.kwargs) - set(_KEYWORDS)
        if unknown or marker.args:
            raise pytest.UsageError(f"the marker is {_MARKER.partition(':')[0]}, by keyword")
        given = {**marker.kwargs, **given}
    return given


def _folder(request: pytest.FixtureRequest, named: str | None) -> Path:
    """Return the cassette of a test: `cassettes/MODULE/TEST` beside its module, unless the marker names another."""
    beside = request.path.parent
    if named is not None:
        return beside / named
    names = [request.path.stem]
    if request.cls is not None:
        names.append(request.cls.__name__)
    names.append(_NOT_IN_A_NAME.sub("-", request.node.name).strip("-"))
    return beside.joinpath("cassettes", *names)


def _serving(config: pytest.Config) -> "ServingThread":
    thread = config.stash.get(_thread, None)
    if thread is None:
        from antiphon.cassettes.serving import ServingThread

        config.stash[_thread] = thread = ServingThread()
    return thread
