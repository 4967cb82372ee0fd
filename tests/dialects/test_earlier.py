"""What an earlier turn has left in a request."""

import pytest

from antiphon.dialects.earlier import read_arguments, summary_of
from antiphon.turn.compaction import shown_summary
from antiphon.wire.errors import ClientFault
from translated import asking, normalized, seal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        (" ", {}),
        ("[1]", {"input": "[1]"}),
        ("{", {"input": "{"}),
        ("[" * 100_000, {"input": "[" * 100_000}),
    ],
)
def test_arguments_are_an_object(text, expected):
    """Or are wrapped in one, as they stand."""
    assert read_arguments(text) == expected


def test_a_summary_is_shown_as_what_happened_before():
    """One that was made elsewhere nobody can read."""
    there = asking(normalized({"input": "Hi"}))

    assert summary_of({"encrypted_content": seal({"text": "A."})}, "input[0]", there) == shown_summary("A.")
    with pytest.raises(ClientFault) as caught:
        summary_of({"encrypted_content": "other"}, "input[0]", there)
    assert caught.value.param == "input[0].encrypted_content"
