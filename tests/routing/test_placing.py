"""Row C10 and C11, as far as names go: who runs the background answers of a model."""

import pytest

from antiphon.routing.names import Target
from antiphon.routing.placing import Place, Placing
from antiphon.settings import Background, Model, Provider

PROVIDERS = {
    "mine": Provider(type="openai"),
    "bedrock": Provider(type="openai-chat", base_url="http://127.0.0.1:1/v1"),
    "vllm": Provider(type="anthropic"),
}
MODELS = {"smart": Model(target="mine/gpt-5"), "fast": Model(target="bedrock/arn:aws:x:model/y")}


def placed(name, *, target=None, **settings):
    return Placing(Background(**settings), PROVIDERS, MODELS).place(name, target)


@pytest.mark.parametrize("name", ["mine/gpt-5", "smart", "fast", "bedrock/arn:aws:bedrock:1:model/x"])
@pytest.mark.parametrize(
    ("providers", "place"), [("all", Place.HERE), ("off", Place.NOWHERE), ((), Place.NOWHERE)]
)
def test_all_and_none(name, providers, place):
    """Whatever the model."""
    assert placed(name, providers=providers) is place


@pytest.mark.parametrize(
    ("name", "providers", "place"),
    [
        ("mine/gpt-5", ("mine",), Place.HERE),
        ("mine/gpt-5", ("openai",), Place.HERE),
        ("smart", ("openai",), Place.HERE),
        ("smart", ("bedrock", "mine"), Place.HERE),
        ("fast", ("mine",), Place.NOWHERE),
        ("bedrock/arn:aws:bedrock:1:model/x", ("bedrock",), Place.HERE),
        ("arn:aws:bedrock:1:model/mine", ("mine",), Place.NOWHERE),
        ("vllm/claude", ("vllm",), Place.NOWHERE),
        ("vllm/claude", ("anthropic",), Place.HERE),
    ],
)
def test_a_list_holds_names_and_types(name, providers, place):
    """A type wins over a provider that is only called so; a name is split at its first slash."""
    assert placed(name, providers=providers) is place


@pytest.mark.parametrize("name", ["", "unknown", "unknown/gpt-5", "mine/", "/gpt-5"])
def test_what_means_nothing_is_placed_nowhere(name):
    """Also where all are run."""
    assert placed(name, providers="all") is Place.NOWHERE


def test_a_listed_name_is_that_of_its_target():
    """A provider's list of models may know a bare name."""
    target = Target("mine", "gpt-5-mini", "gpt-5-mini")
    assert placed("gpt-5-mini", target=target, providers=("openai",)) is Place.HERE


@pytest.mark.parametrize(
    ("name", "native", "place"),
    [
        ("mine/deep", ("mine/deep",), Place.UPSTREAM),
        ("mine/deep", ("deep",), Place.HERE),
        ("smart", ("smart",), Place.UPSTREAM),
        ("smart", ("mine/gpt-5",), Place.HERE),
        ("mine/gpt-5", ("smart",), Place.HERE),
        ("Smart", ("smart",), Place.NOWHERE),
    ],
)
def test_native_models_are_named_exactly_as_clients_write_them(name, native, place):
    """With their prefix, and before an alias is resolved."""
    assert placed(name, native_models=native) is place


def test_native_models_go_before_providers():
    """In both directions."""
    for providers in ("off", "all", ("mine",)):
        assert placed("smart", native_models=("smart",), providers=providers) is Place.UPSTREAM
