"""What the tests of all clients share: what is asked, and which scenario is played in front of which upstream."""

from collections.abc import Container

import pytest
from pydantic import BaseModel

from clients.house import DEEPSEEK, GEMINI, MESSAGES, OLLAMA, OPENROUTER, RESPONSES, UPSTREAMS, Upstream
from scripted import scenarios

QUESTION = "What colour is the sky?"
WEATHER_QUESTION = "How is the weather?"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
"""Of the arguments of `get_weather`."""
COUNTS_CACHED = tuple(each for each in UPSTREAMS if each is not OLLAMA)
"""Ollama says of neither what was cached nor what was thought."""
TAKE_THOUGHTS_BACK = (RESPONSES, OPENROUTER, DEEPSEEK, MESSAGES, GEMINI, OLLAMA)
"""No member for them is common to chat providers of which nothing is known."""
TOLD_IN_WORDS = (DEEPSEEK, OLLAMA)
"""Who can be held to a schema, or be given tools, but not both."""
REFUSE = tuple(each for each in UPSTREAMS if each not in {GEMINI, OLLAMA})
"""Gemini filters, which is no refusal with words; Ollama's models refuse in their text."""


class Forecast(BaseModel):
    """What is asked for in one form."""

    city: str
    degrees: int


FORECAST = Forecast(**scenarios.FORECAST)


def kinds(*upstreams: Upstream) -> pytest.MarkDecorator:
    """Run a test in front of these upstreams."""
    return pytest.mark.parametrize("upstream", upstreams, ids=[each.kind for each in upstreams])


every_upstream = kinds(*UPSTREAMS)


def tool_scenes(thoughts_come_back: Container[Upstream]) -> pytest.MarkDecorator:
    """Run a test with each scenario that has tools in it; the client carries thoughts back to these upstreams."""
    cases = [
        pytest.param(scenario, cities, upstream, id=f"{scenario.__name__}-{upstream.kind}")
        for scenario, cities in (
            (scenarios.tool, ["Rome"]),
            (scenarios.tools_at_once, ["Rome", "Oslo"]),
            (scenarios.thinking, ["Rome"]),
        )
        for upstream in UPSTREAMS
        if scenario is not scenarios.thinking or upstream in thoughts_come_back
    ]
    return pytest.mark.parametrize(("scenario", "cities", "upstream"), cases)


streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["json", "stream"])


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return scenarios.WEATHER[city]


def reports(cities: list[str]) -> str:
    """What the model says in the end."""
    return "".join(f"It is {scenarios.WEATHER[city]} in {city}. " for city in cities)
