"""Counting for a model, with and without the vocabularies."""

import subprocess
import sys

import pytest

from antiphon.drivers.tokenizer import count
from antiphon.turn.tokens import estimate

TEXT = "A gateway keeps every answer that a model has given, 2026-09-14."

needs_vocabularies = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import bpe_openai"], capture_output=True).returncode != 0,
    reason="antiphon[tokens] is not installed",
)


@needs_vocabularies
@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 6),
        ("gpt-5.2", 6),
        ("openai/o3-mini", 6),
        ("gpt-4", 8),
        ("gpt-3.5-turbo", 8),
        ("gpt-4-turbo", 8),
        ("gpt-4.1", 6),
    ],
)
def test_openais_models_are_counted_exactly(model, tokens):
    """Each with the vocabulary of its time."""
    assert count("Привет, как дела?", model) == (tokens, True)


@needs_vocabularies
def test_other_models_are_estimated():
    """By what their family makes of a token of OpenAI's."""
    exact, _ = count(TEXT, "gpt-5")
    for model, factor in (
        ("claude-sonnet-4-5", 1.12),
        ("gemini-2.5-flash", 1.06),
        ("llama-3.3", 1.0),
        ("gpt-oss-20b", 1.0),
    ):
        assert count(TEXT, model) == (round(exact * factor), False)


@needs_vocabularies
def test_any_text_can_be_counted():
    """Longer than the package itself takes, with halves of surrogate pairs, with the names of special tokens."""
    assert count("a" * 1_200_000, "gpt-5").tokens == 150_000
    assert count("a\ud800b", "gpt-5").is_exact
    assert count("<|endoftext|>", "gpt-5").tokens > 1
    assert count("", "gpt-5") == (0, True)


def test_without_the_vocabularies_everything_is_estimated():
    """Also what they are installed for; and nothing of them is loaded before the first count."""
    program = (
        "import sys, antiphon.app, antiphon.drivers.tokenizer as t\n"
        "assert 'bpe_openai' not in sys.modules\n"
        "sys.modules['bpe_openai'] = None\n"
        f"print(*t.count({TEXT!r}, 'gpt-5'), *t.count({TEXT!r}, 'claude-sonnet-4'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    tokens = estimate(TEXT)
    assert printed.split() == [str(tokens), "False", str(round(tokens * 1.12)), "False"]
