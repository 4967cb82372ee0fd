"""JSON of a schema from chat providers that can be told of it in words only."""

from typing import Any

import pytest

from translated import Structured, write

FORM = {"type": "json_schema", "name": "forecast", "schema": {"type": "object", "title": "Forecast"}}
NOTE = (
    "When you answer with text, it is nothing but one JSON value that matches this JSON schema:\n"
    '{"type":"object","title":"Forecast"}'
)
HI = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, [{"role": "system", "content": NOTE}, HI]),
        ({"instructions": "Be brief."}, [{"role": "system", "content": f"Be brief.\n\n{NOTE}"}, HI]),
    ],
    ids=["alone", "with instructions"],
)
def test_the_system_s_message_says_the_schema(asked: dict[str, Any], told: Any):
    """One message, at the beginning: more of them some models' templates refuse."""
    body = {"input": "Hi", "text": {"format": FORM}, **asked}

    written = write("chat", body, "deepseek", structured=Structured.JSON)

    assert written["messages"] == told
    assert written["response_format"] == {"type": "json_object"}


def test_a_schema_that_the_provider_takes_is_not_said():
    """It is a setting then."""
    written = write(
        "chat", {"input": "Hi", "text": {"format": FORM}}, "openai-chat", structured=Structured.NATIVE
    )

    assert written["messages"] == [HI]
