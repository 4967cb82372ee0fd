"""What is still to be told of a finished response."""

import json

import pytest

from antiphon.turn.rest import rest_of
from antiphon.turn.unfold import unfold
from e2e.samples import message_item, reasoning_item, response

RESPONSE = response([reasoning_item("Think"), message_item("Hello there")])
EVENTS = unfold(json.loads(json.dumps(RESPONSE)))


@pytest.mark.parametrize("told", range(2, len(EVENTS)))
def test_whatever_was_told_the_rest_follows(told):
    rest = rest_of(RESPONSE, EVENTS[:told])
    assert [event["type"] for event in rest] == [event["type"] for event in EVENTS[told:]]


def test_of_a_text_the_remainder_is_told():
    told = [event | ({"delta": "Hel"} if event.get("delta") == "Hello there" else {}) for event in EVENTS]
    place = next(place for place, event in enumerate(told) if event.get("delta") == "Hel")
    again = {**told[place], "delta": "lo t"}
    rest = rest_of(RESPONSE, [*told[: place + 1], again])
    assert rest[0]["delta"] == "here"
    assert [event["type"] for event in rest[1:]] == [event["type"] for event in EVENTS[place + 1 :]]


def test_another_text_cannot_be_continued():
    told = [event | ({"delta": "Bye"} if "delta" in event else {}) for event in EVENTS]
    with pytest.raises(ValueError, match="differs"):
        rest_of(RESPONSE, told[:-2])


def test_what_has_not_ended_has_no_rest():
    with pytest.raises(ValueError, match="in_progress"):
        rest_of(RESPONSE | {"status": "in_progress"}, [])
