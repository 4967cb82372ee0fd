"""How a prompt begins, in every dialect."""

import msgspec
import pytest

from antiphon.dialects.prompts import beginning_of
from antiphon.wire.json import Members

MEMBERS = msgspec.json.Decoder(Members)
CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url"}]},
    ]
}


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        (CHAT, "Be brief.\nHello"),
        ({"input": "Hi", "instructions": "Be brief."}, "Be brief.\nHi"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}, "Hi"),
        ({"input": [{"type": "function_call_output", "output": "4"}]}, "4"),
        ({"messages": [{"role": "user", "content": "Hi"}], "system": [{"text": "S"}]}, "S\nHi"),
        ({"prompt": ["one", "two"]}, "one\ntwo"),
        ({"input": [[1, 2], [3]]}, ""),
        ({"query": "q", "documents": [{"text": "d"}, "e"]}, "q\nd\ne"),
        ({"model": "m", "messages": None}, ""),
    ],
)
def test_a_prompt_is_its_texts_in_their_order(request_, prompt):
    members = MEMBERS.decode(msgspec.json.encode(request_))
    assert beginning_of(members, 256) == prompt
    for length in range(len(prompt) + 2):
        assert beginning_of(members, length) == prompt[:length]


@pytest.mark.parametrize(
    ("raw", "prompt"),
    [
        (rb'"a\ud83d"', "a\ud83d"),
        (b'["a", 1e999, "b"]', "a\nb"),
        (b"[" * 970 + b"]" * 970, ""),
        (b"[" * 2000 + b"]" * 2000, ""),
        (b"\xff", ""),
    ],
)
def test_what_is_hard_to_read_does_no_harm(raw, prompt):
    """Clients may send it, and what is kept of their requests must not fail for it."""
    assert beginning_of({"input": msgspec.Raw(raw)}, 256) == prompt
