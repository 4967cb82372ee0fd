"""What a model name resolves to."""

import pytest

from antiphon.routing.names import Resolver, Target
from antiphon.settings import Model, Provider
from antiphon.wire.errors import ClientFault

PROVIDERS = {
    "local": Provider(type="openai-chat", base_url="http://127.0.0.1:1/v1"),
    "openai": Provider(type="openai"),
}
MODELS = {
    "fast": Model(target="local/meta-llama/Llama-3"),
    "smart": Model(target="openai/gpt-5"),
    "openai/gpt-4": Model(target="local/gpt-oss"),
}
LISTED = {"openai": ["gpt-5", "gpt-5-mini", "shared"], "local": ["shared", "org/thing"], "gone": ["ghost"]}
resolver = Resolver(PROVIDERS, MODELS)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("fast", Target("local", "meta-llama/Llama-3", "fast")),
        ("smart", Target("openai", "gpt-5", "smart")),
        ("openai/gpt-4", Target("local", "gpt-oss", "openai/gpt-4")),
        ("openai/anything", Target("openai", "anything", "openai/anything")),
        ("local/org/thing", Target("local", "org/thing", "local/org/thing")),
        ("gpt-5-mini", Target("openai", "gpt-5-mini", "gpt-5-mini")),
        ("org/thing", Target("local", "org/thing", "org/thing")),
        ("shared", Target("local", "shared", "shared")),
    ],
)
def test_a_name_is_an_alias_then_provider_and_model_then_a_listed_model(name, target):
    """Aliases win, then a known provider before the first slash, then the first provider that lists the name."""
    assert resolver.resolve(name, LISTED) == target


@pytest.mark.parametrize("name", ["nope", "openai/", "/gpt-5", "nobody/gpt-9x", "ghost", "/"])
def test_an_unknown_name_is_not_found(name):
    """Nobody knows it: 404 with code and parameter."""
    with pytest.raises(ClientFault) as raised:
        resolver.resolve(name, LISTED)
    fault = raised.value
    assert (fault.status, fault.code, fault.param) == (404, "model_not_found", "model")


def test_the_fault_names_near_names():
    """A misspelt model is answered with what it may have been meant to be, as it must be written."""
    with pytest.raises(ClientFault, match=r"Did you mean 'openai/gpt-5-mini'( or|,|\?)"):
        resolver.resolve("gpt-5-mni", LISTED)
    with pytest.raises(ClientFault, match=r"Did you mean 'fast' or 'smart'\?"):
        resolver.resolve("fsat", {})


def test_the_fault_names_at_most_three():
    """Many near names are cut to three."""
    listed = {"openai": [f"gpt-5-{n}" for n in range(50)]}
    with pytest.raises(ClientFault) as raised:
        resolver.resolve("gpt-5-x", listed)
    assert raised.value.message.count("openai/") == 3


def test_a_huge_name_is_not_echoed_whole():
    """The message stays short whatever the client sent."""
    with pytest.raises(ClientFault) as raised:
        resolver.resolve("x" * 1_000_000, LISTED)
    assert len(raised.value.message) < 200


def test_an_empty_name_is_a_missing_parameter():
    """No model at all is 400, even if a provider lists the empty name."""
    with pytest.raises(ClientFault) as raised:
        resolver.resolve("", {"local": [""]})
    assert (raised.value.status, raised.value.code) == (400, "missing_required_parameter")


def test_names_are_aliases_and_then_everything_listed():
    """The list has aliases first, providers in their order, nothing twice and nothing of unknown providers."""
    assert resolver.names({**LISTED, "openai": ["gpt-5", "gpt-4"]}) == [
        "fast",
        "smart",
        "openai/gpt-4",
        "local/shared",
        "local/org/thing",
        "openai/gpt-5",
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [("openai/*", Target("openai", "new", "new")), ("local/one", Target("local", "one", "new"))],
)
def test_the_alias_for_all_other_names_keeps_the_name_or_replaces_it(target, expected):
    """It is no name of a model itself, and is not shown as one."""
    everything = Resolver(PROVIDERS, {**MODELS, "*": Model(target=target)})
    assert everything.other("new") == expected
    assert everything.other("") is None
    assert resolver.other("new") is None
    assert "*" not in everything.names({})
    with pytest.raises(ClientFault):
        everything.resolve("*", {})
