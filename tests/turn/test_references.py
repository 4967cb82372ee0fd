"""Which items stand for others."""

import pytest

from antiphon.turn.references import Reference, reference_of, refers


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b'{"type":"item_reference","id":"msg_1"}', Reference("msg_1", is_needed=True)),
        (b'{"id":"msg_1"}', Reference("msg_1", is_needed=True)),
        (b'{"type":"reasoning","id":"rs_1"}', Reference("rs_1", is_needed=True)),
        (b'{"type":"reasoning","id":"rs_1","summary":[]}', Reference("rs_1", is_needed=False)),
        (b'{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"x"}]}', None),
        (b'{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"}', None),
        (b'{"type":"reasoning","id":"rs_1","content":[{"type":"reasoning_text","text":"x"}]}', None),
        (b'{"id":"msg_1","role":"user","content":"x"}', None),
        (b'{"type":"message","id":"msg_1","role":"user","content":"x"}', None),
        (b'{"type":"item_reference","id":7}', None),
        (b'{"role":"user","content":"\\"id\\""}', None),
        (b'"id"', None),
        (b'{"id":', None),
    ],
)
def test_an_item_stands_for_another_or_for_itself(item, expected):
    assert reference_of(item) == expected
    assert refers(b"[%b]" % item) is (expected is not None)


def test_a_text_has_no_references():
    assert not refers(b'"{\\"id\\":\\"msg_1\\"}"')
    assert not refers(b'"\\"id\\""')
