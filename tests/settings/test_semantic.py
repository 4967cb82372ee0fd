"""The settings of the semantic cache, from a user's side."""

import asyncio
import sys

import pytest

from antiphon.app import Application
from antiphon.settings import Cache, ConfigurationError, Semantic, Settings, Storage, load

UP = "providers: {up: {type: openai-chat, base_url: 'http://127.0.0.1:1/v1'}}\n"
FILE = UP + "cache: {semantic: {enabled: true, embedding_model: up/m, %s}}"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / "antiphon.yaml").write_text(text)
        return load(None, {}, tmp_path).cache.semantic

    return read_text


@pytest.mark.parametrize("given", ["learned", "0.9", "1"])
def test_a_threshold_is_learned_or_a_number(read, given):
    expected = given if given == "learned" else float(given)
    assert read(FILE % f"threshold: {given}").threshold == expected


def test_the_mode_may_be_what_yaml_makes_of_it(read):
    assert read(FILE % "mode: on").mode == "on"
    assert read(FILE % "mode: shadow").mode == "shadow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FILE % "threshold: high",
            "cache.semantic.threshold: expected learned or a number from 0 to 1, got 'high'",
        ),
        (
            FILE % "threshold: 1.5",
            "cache.semantic.threshold: expected learned or a number from 0 to 1, got 1.5",
        ),
        (FILE % "max_error: 0", "cache.semantic.max_error: expected a number between 0 and 1, got 0"),
        (FILE % "verify: 2", "cache.semantic.verify: expected a number from 0 to 1, got 2"),
        (UP + "cache: {store: none, semantic: {enabled: true}}", "finds answers in the second level"),
        (UP + "cache: {semantic: {enabled: true, embedding_model: upp/m}}", "(there is up)"),
    ],
)
def test_what_cannot_be_is_told(read, text, message):
    with pytest.raises(ConfigurationError) as told:
        read(text)
    assert message in str(told.value)


def test_what_is_not_installed_is_told(tmp_path, monkeypatch):
    settings = Settings(
        cache=Cache(semantic=Semantic(enabled=True)), storage=Storage(url=f"sqlite:///{tmp_path}/antiphon.db")
    )
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(ConfigurationError, match=r"fastembed missing.*antiphon\[semantic\]"):
        asyncio.run(Application.open(settings, environ={}))
