"""The answer to a warm-up."""

import json

import msgspec

from antiphon.dialects.responses.prepared import prepared_events
from antiphon.turn.grammar import violations


def prepared(**members):
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}
    return [json.loads(event) for event in prepared_events(raw, "resp_1", 7)]


def test_it_is_a_completed_response_without_output():
    """A legal stream of two events, with usage that says that nothing was used."""
    created, completed = events = prepared(model="m")
    assert violations(events) == []
    assert (created["response"]["status"], created["response"]["usage"]) == ("in_progress", None)
    response = completed["response"]
    assert (response["id"], response["model"], response["status"]) == ("resp_1", "m", "completed")
    assert (response["output"], response["created_at"], response["completed_at"]) == ([], 7, 7)
    assert response["usage"]["total_tokens"] == 0


def test_it_echoes_what_was_asked():
    """But not that it is kept, since it cannot be retrieved; tools have all their members."""
    tool = {"type": "function", "name": "f", "parameters": {}}
    _, completed = prepared(
        model="m",
        store=True,
        tools=[tool, {"type": "web_search"}],
        reasoning={"effort": "low"},
        temperature=None,
    )
    response = completed["response"]
    assert response["store"] is False
    assert response["tools"] == [{**tool, "description": None, "strict": None}, {"type": "web_search"}]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["temperature"] == 1.0


def test_what_cannot_be_read_is_not_echoed():
    """Half an emoji in the instructions is no reason to fail."""
    events = prepared_events({"instructions": msgspec.Raw(rb'"\ud83d"')}, "resp_1", 7)
    assert json.loads(events[1])["response"]["instructions"] is None
