"""What a turn costs."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import genai_prices
import pytest

from antiphon.drivers.prices import Prices
from antiphon.turn.usage import NO_USAGE, Usage
from waiting import PATIENCE

NOW = 1_790_000_000.0
OPENAI = "https://api.openai.com/v1"


def by_the_library(base_url, model, at=NOW, **counts):
    calculated = genai_prices.calc_price(
        genai_prices.Usage(**counts),
        model,
        provider_api_url=base_url,
        genai_request_timestamp=datetime.fromtimestamp(at, UTC),
    )
    return float(calculated.total_price)


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        (OPENAI, "gpt-4o"),
        (OPENAI, "gpt-5-mini"),
        (OPENAI, "gpt-realtime"),
        ("https://api.anthropic.com/v1", "claude-sonnet-4-5"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro"),
        ("https://api.deepseek.com", "deepseek-chat"),
        ("https://openrouter.ai/api/v1", "anthropic/claude-sonnet-4"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000, 199_999, 200_000, 200_001, 500_000])
@pytest.mark.parametrize("hour", [0, 8, 17])
def test_costs_are_those_of_the_library(base_url, model, size, hour):
    """Below, at and above the limits of tiers and at any hour, the cost is what the library says."""
    at = NOW // 86400 * 86400 + hour * 3600 + 100
    usage = Usage(input_tokens=size, output_tokens=77, cached_tokens=size // 3, cache_write_tokens=size // 5)
    expected = by_the_library(
        base_url,
        model,
        at,
        input_tokens=size,
        output_tokens=77,
        cache_read_tokens=size // 3,
        cache_write_tokens=size // 5,
    )
    assert Prices().cost("openai-chat", base_url, model, usage, at) == pytest.approx(expected, rel=1e-12)


def test_audio_has_its_own_price():
    """Audio tokens are not counted a second time as text."""
    usage = Usage(input_tokens=1000, output_tokens=100, audio_input_tokens=600, audio_output_tokens=90)
    expected = by_the_library(
        OPENAI,
        "gpt-realtime",
        input_tokens=1000,
        output_tokens=100,
        input_audio_tokens=600,
        output_audio_tokens=90,
    )
    assert Prices().cost("openai", OPENAI, "gpt-realtime", usage, NOW) == pytest.approx(expected, rel=1e-12)


def test_audio_and_cached_tokens_may_come_together():
    """The library refuses this combination; the gateway has a figure for it all the same."""
    usage = Usage(input_tokens=1000, cached_tokens=500, audio_input_tokens=600)
    assert Prices().cost("openai", OPENAI, "gpt-realtime", usage, NOW) > 0


def test_more_details_than_tokens_do_no_harm():
    """An upstream that reports more cached tokens than input gets a figure that is not negative."""
    usage = Usage(input_tokens=10, output_tokens=1, cached_tokens=40, audio_output_tokens=9)
    assert Prices().cost("openai", OPENAI, "gpt-5", usage, NOW) > 0


@pytest.mark.parametrize(
    ("provider_type", "base_url", "model"),
    [
        ("openai", OPENAI, "no-such-model"),
        ("openai-chat", "http://127.0.0.1:8000/v1", "gpt-4o"),
        ("openai-chat", None, "gpt-4o"),
        ("playback", None, "no-such-model"),
        ("openai", OPENAI, "gpt-4o" + "x" * 1000),
        ("openai", OPENAI, "whisper-1"),
    ],
)
def test_an_unknown_price_is_not_zero(provider_type, base_url, model):
    """No price is known for the model there, or it is not paid by the token: None."""
    assert Prices().cost(provider_type, base_url, model, Usage(input_tokens=5), NOW) is None


def test_nothing_counted_is_not_free():
    """An answer without usage has no known cost."""
    assert Prices().cost("openai", OPENAI, "gpt-4o", NO_USAGE, NOW) is None


def test_a_proxy_in_front_of_openai_has_its_prices():
    """The type tells whose prices hold at an unknown address, and recordings have those of the model's maker."""
    usage = Usage(input_tokens=1000, output_tokens=10)
    expected = by_the_library(OPENAI, "gpt-4o", input_tokens=1000, output_tokens=10)
    prices = Prices()
    assert prices.cost("openai", "http://proxy.internal/v1", "gpt-4o", usage, NOW) == pytest.approx(expected)
    assert prices.cost("playback", None, "gpt-4o", usage, NOW) == pytest.approx(expected)


def test_a_proxy_in_front_of_anthropic_has_its_prices():
    """What it wrote into its prompt cache and read from there has prices of its own."""
    usage = Usage(input_tokens=1000, output_tokens=10, cached_tokens=300, cache_write_tokens=200)
    expected = by_the_library(
        "https://api.anthropic.com/v1",
        "claude-sonnet-4-5",
        input_tokens=1000,
        output_tokens=10,
        cache_read_tokens=300,
        cache_write_tokens=200,
    )
    cost = Prices().cost("anthropic", "http://proxy.internal/v1", "claude-sonnet-4-5", usage, NOW)
    assert cost == pytest.approx(expected)


def test_gemini_has_google_s_prices():
    """At its own address and at any other."""
    usage = Usage(input_tokens=1000, output_tokens=10, cached_tokens=500)
    google = "https://generativelanguage.googleapis.com/v1beta"
    expected = by_the_library(
        google, "gemini-2.5-pro", input_tokens=1000, output_tokens=10, cache_read_tokens=500
    )
    for base_url in (google, "http://proxy.internal/v1beta"):
        assert Prices().cost("gemini", base_url, "gemini-2.5-pro", usage, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("azure", "gpt-4o"),
        ("groq", "llama-3.3-70b-versatile"),
        ("deepseek", "deepseek-chat"),
        ("mistral", "mistral-small-latest"),
        ("openrouter", "anthropic/claude-sonnet-4"),
        ("xai", "grok-4"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ],
)
def test_a_provider_behind_a_proxy_has_its_own_prices(kind, model):
    """As its type says, where the address says nothing; what runs at home has none."""
    usage = Usage(input_tokens=1000, output_tokens=10)

    assert (Prices().cost(kind, "https://gateway.example/v1", model, usage, NOW) or 0) > 0
    assert Prices().cost("vllm", "http://127.0.0.1:8000/v1", model, usage, NOW) is None


def test_the_number_of_remembered_models_is_bounded():
    """Clients may name any number of models."""
    prices = Prices()
    for n in range(600):
        prices.cost("openai-chat", None, f"model-{n}", Usage(input_tokens=1), NOW)
    assert len(prices._rates) == 512


def test_the_library_is_not_loaded_before_it_is_needed():
    """Importing and making the prices does not load the library, which is slow."""
    program = "import sys; from antiphon.drivers.prices import Prices; Prices(); print('genai_prices' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == "False"
