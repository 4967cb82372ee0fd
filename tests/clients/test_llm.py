"""`llm` over a socket, on every upstream: as a library, and once as the command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llm
import pytest

from clients.cases import (
    FORECAST,
    QUESTION,
    WEATHER_QUESTION,
    Forecast,
    every_upstream,
    get_weather,
    reports,
    streamed_or_not,
    tool_scenes,
)
from clients.house import CHAT, UPSTREAMS, House, Upstream
from scripted import scenarios
from scripted.speech import INPUT_TOKENS, OUTPUT_TOKENS
from waiting import PATIENCE

over_both = pytest.mark.parametrize("responses", [True, False], ids=["responses", "chat"])


@pytest.fixture(scope="module")
def folder(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `llm` finds its models."""
    models = [
        {
            "model_id": f"{'responses' if responses else 'chat'}:{upstream.kind}",
            "model_name": upstream.name,
            "api_base": house.base_url,
            "responses": responses,
            "supports_tools": True,
            "supports_schema": True,
        }
        for upstream in UPSTREAMS
        for responses in (True, False)
    ]
    made = tmp_path_factory.mktemp("llm")
    (made / "extra-openai-models.yaml").write_text(json.dumps(models))  # which is YAML, too
    return made


@pytest.fixture(autouse=True)
def user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_USER_PATH", str(folder))


def model_of(upstream: Upstream, responses: bool) -> Any:
    return llm.get_model(f"{'responses' if responses else 'chat'}:{upstream.kind}")


@every_upstream
@over_both
@streamed_or_not
def test_a_prompt_is_answered(house: House, upstream: Upstream, responses: bool, streamed: bool):
    """With its usage."""
    with house.playing(scenarios.plain):
        response = model_of(upstream, responses).prompt(QUESTION, system="Be brief.", stream=streamed)
        pieces = list(response)

    assert (len(pieces) > 1) is streamed
    assert response.text() == scenarios.TEXT
    usage = response.usage()
    assert (usage.input, usage.output) == (INPUT_TOKENS, OUTPUT_TOKENS)


@every_upstream
@over_both
def test_a_conversation_goes_on(house: House, upstream: Upstream, responses: bool):
    """With what was said before."""
    with house.playing(scenarios.conversation):
        conversation = model_of(upstream, responses).conversation()
        conversation.prompt("One", system="Be brief.").text()
        second = conversation.prompt("Two", system="Be brief.").text()

    assert second == "Second."


@streamed_or_not
@over_both
@tool_scenes(())
def test_tools_are_called(
    house: House, upstream: Upstream, responses: bool, scenario: Any, cities: list[str], streamed: bool
):
    """The library runs them and goes on by itself."""
    with house.playing(scenario):
        chain = model_of(upstream, responses).chain(WEATHER_QUESTION, tools=[get_weather], stream=streamed)
        text = chain.text()

    assert text == reports(cities)


@every_upstream
@over_both
def test_an_object_is_the_answer(house: House, upstream: Upstream, responses: bool):
    """As JSON of the schema."""
    with house.playing(scenarios.structured):
        text = model_of(upstream, responses).prompt("Forecast", schema=Forecast).text()

    assert Forecast.model_validate_json(text) == FORECAST


@every_upstream
@over_both
def test_a_prompt_comes_back_after_a_rate_limit(house: House, upstream: Upstream, responses: bool):
    """As the client inside of it does."""
    with house.playing(scenarios.rate_limit) as upstreams:
        text = model_of(upstream, responses).prompt(QUESTION).text()
        assert len(upstreams.asked) == 2

    assert text == scenarios.TEXT


@every_upstream
@over_both
def test_a_broken_stream_raises(house: House, upstream: Upstream, responses: bool):
    """After what had come."""
    pieces: list[str] = []
    with house.playing(scenarios.broken), pytest.raises(Exception, match=r"ended|broke|closed"):
        pieces.extend(model_of(upstream, responses).prompt(QUESTION))

    assert "".join(pieces) in {"The sky", "The sky is"}


def test_the_command_prints_the_answer(house: House, folder: Path):
    """With nothing but the file of models."""
    with house.playing(scenarios.plain):
        ended = subprocess.run(
            (sys.executable, "-m", "llm", "-m", f"chat:{CHAT.kind}", QUESTION, "--no-log"),
            env={**os.environ, "LLM_USER_PATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    assert (ended.stdout.strip(), ended.returncode) == (scenarios.TEXT, 0)
