"""What agents of one client say to each other, for upstreams that know only users."""

import pytest

from antiphon.turn.request import normalized
from antiphon.wire.errors import ClientFault

TASK = {
    "type": "agent_message",
    "id": "amsg_1",
    "author": "/root",
    "recipient": "/root/helper",
    "content": [
        {"type": "input_text", "text": "Message Type: NEW_TASK\nPayload:\n"},
        {"type": "encrypted_content", "encrypted_content": "Count the files."},
    ],
}


def test_a_message_of_another_agent_is_the_users():
    """What OpenAI would have encrypted is plain text where no other upstream has."""
    (message,) = normalized({"input": [TASK]})["input"]

    texts = ["Message Type: NEW_TASK\nPayload:\n", "Count the files."]
    parts = [{"type": "input_text", "text": text} for text in texts]
    assert message == {"type": "message", "role": "user", "content": parts}


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (None, "input[0].content"),
        ([1], "input[0].content[0]"),
        ([{"type": "encrypted_content"}], "input[0].content[0].encrypted_content"),
        ([{"type": "odd"}], "input[0].content[0].type"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused(content, param):
    """By its path."""
    with pytest.raises(ClientFault) as refused:
        normalized({"input": [TASK | {"content": content}]})

    assert refused.value.param == param
