"""What a model is shown when a response is continued."""

import json

import pytest

from antiphon.turn.chain import continued, input_items, write_items
from antiphon.wire.errors import ClientFault

USER = b'{"role":"user","content":"Hi"}'
MESSAGE = b'{ "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [] }'
CALL = b'{"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"{}","status":"completed"}'
OUTPUT = b'{"type":"function_call_output","call_id":"call_1","output":"3"}'


def test_a_string_is_one_message_of_the_user():
    """As its bytes stand there."""
    assert input_items(rb'"Caf\u00e9"') == (rb'{"type":"message","role":"user","content":"Caf\u00e9"}',)


def test_items_keep_their_bytes():
    """Spaces, key order and numbers are the client's."""
    assert input_items(b'[ {"b": 1.0,"a":2} ,{"role":"user"}]') == (b'{"b": 1.0,"a":2}', b'{"role":"user"}')


@pytest.mark.parametrize("value", [None, b"null", b"[]"])
def test_no_input_is_no_items(value):
    """A context alone can be continued."""
    assert input_items(value) == ()


def test_half_an_emoji_is_passed_on():
    """JSON allows it, though not all readers do."""
    (item,) = input_items(rb'[{"role":"user","content":"\ud83d"}]')
    assert json.loads(item)["content"] == "\ud83d"


@pytest.mark.parametrize("value", [b"1", b"{}", b"true"])
def test_another_type_of_input_is_refused(value):
    """The fault names the member."""
    with pytest.raises(ClientFault) as refused:
        input_items(value)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, "input", "invalid_type")


def test_the_context_comes_first():
    """Resolved input, output, what is new; bytes that need no change have none."""
    assert continued((USER,), (MESSAGE, CALL), (OUTPUT,)) == (USER, MESSAGE, CALL, OUTPUT)
    assert write_items((USER, MESSAGE)) == b"[" + USER + b"," + MESSAGE + b"]"


def test_reasoning_is_replayed_only_where_it_is_encrypted():
    """Who keeps nothing does not know it by its id; as input it has no status, and nothing is null."""
    plain = b'{"id":"rs_1","type":"reasoning","summary":[]}'
    empty = b'{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":null}'
    sealed = b'{"id":"rs_3","type":"reasoning","summary":[],"content":null,"status":"completed","encrypted_content":"x"}'
    (item,) = continued((), (plain, empty, sealed), ())
    assert json.loads(item) == {"id": "rs_3", "type": "reasoning", "summary": [], "encrypted_content": "x"}


def test_nulls_are_left_out_of_items_and_their_parts():
    """Those of items in which null says something stay."""
    message = b'{"id":"m","type":"message","phase":null,"content":[{"type":"output_text","text":"a","logprobs":null}]}'
    code = b'{"id":"ci","type":"code_interpreter_call","outputs":null}'
    first, second = continued((), (message, code), ())
    assert json.loads(first) == {
        "id": "m",
        "type": "message",
        "content": [{"type": "output_text", "text": "a"}],
    }
    assert second == code


def test_what_the_client_has_written_is_not_changed():
    """Only outputs are made acceptable; inputs were accepted before."""
    reasoning = b'{"type":"reasoning","id":"rs_1","summary":[],"status":null}'
    assert continued((reasoning,), (), (reasoning,)) == (reasoning, reasoning)


@pytest.mark.parametrize("kind", ["function_call", "custom_tool_call"])
def test_an_output_needs_its_call(kind):
    """The fault names the call."""
    output = json.dumps({"type": f"{kind}_output", "call_id": "call_9", "output": ""}).encode()
    call = json.dumps({"type": kind, "call_id": "call_9"}).encode()
    assert continued((USER, call), (), (output,))[-1] == output
    assert continued((), (call,), (output,))[-1] == output
    assert continued((), (), (call, output))[-1] == output
    with pytest.raises(
        ClientFault, match="No tool call found for function call output with call_id call_9"
    ) as no:
        continued((USER,), (CALL,), (output,))
    assert (no.value.status, no.value.param) == (400, "input")


@pytest.mark.parametrize(
    "item",
    [
        b'{"type":"item_reference","id":"fc_9"}',
        b'{"id":"fc_9"}',
        b'{"type":"compaction","encrypted_content":"x"}',
    ],
)
def test_calls_that_cannot_be_seen_are_believed(item):
    """A reference, or what a compaction holds, may be the call."""
    output = b'{"type":"function_call_output","call_id":"call_9","output":""}'
    assert continued((item,), (), (output,)) == (item, output)


def test_outputs_without_a_call_id_are_left_to_the_upstream():
    """So is what is no item at all."""
    items = (b'{"type":"function_call_output","output":"x"}', b"3", b'{"type":7}')
    assert continued((), (), items) == items


def test_an_output_that_cannot_be_written_anew_is_replayed_as_it_is():
    """Half an emoji from an upstream is its own to read."""
    item = rb'{"id":"m","type":"message","phase":null,"content":[{"type":"output_text","text":"\ud83d"}]}'
    deep = b'{"type":"message","phase":null,"content":%b%b}' % (b"[" * 5000, b"]" * 5000)
    assert continued((), (item, deep), ()) == (item, deep)


@pytest.mark.parametrize("value", [rb'["\ud83d", nope]', rb'["\ud83d",' + b"9" * 5000 + b"]"])
def test_a_list_that_cannot_be_read_is_refused(value):
    """Rather than to break the connection."""
    with pytest.raises(ClientFault) as refused:
        input_items(value)
    assert (refused.value.code, refused.value.param) == ("invalid_json", "input")
