"""What the gateway reads of a request, and what an upstream of the same dialect is sent."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.native import changed_echo, read_request
from antiphon.wire.errors import ClientFault
from wire.spelling import spelled, values

DIALECTS = ["chat", "completions", "responses", "embeddings"]
CONTROLS = ["model", "stream", "stream_options", "store", "cache", "nomyo"]


def request_of(body, dialect="chat"):
    return read_request(dialect, body if isinstance(body, bytes) else json.dumps(body).encode())


def fault_of(body, dialect="chat"):
    with pytest.raises(ClientFault) as caught:
        request_of(body, dialect)
    return caught.value


def sent(body, dialect="chat", *, model="m", keep_state=True, ask_usage=True):
    return request_of(body, dialect).upstream_body(model, keep_state=keep_state, ask_usage=ask_usage)


# Reading.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_the_model_has_to_be_there(dialect):
    """Everything else has its default."""
    request = request_of({"model": "m"}, dialect)
    assert (request.model, request.stream, request.include_usage, request.limited) == (
        "m",
        False,
        False,
        False,
    )
    assert (request.store, request.echo) == (dialect == "responses", {})
    assert (request.cache_member, request.opted_in, request.stateful_member) == (None, False, None)


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}])
def test_a_request_without_a_model_is_refused(body):
    """Status 400, naming the member."""
    fault = fault_of(body)
    assert (fault.status, fault.code, fault.param) == (400, "missing_required_parameter", "model")


@pytest.mark.parametrize(
    ("member", "value", "dialect"),
    [
        ("model", 5, "chat"),
        ("model", ["m"], "chat"),
        ("model", {"name": "m"}, "responses"),
        ("stream", "true", "chat"),
        ("stream", 1, "embeddings"),
        ("store", "no", "responses"),
        ("nomyo", True, "chat"),
        ("nomyo", [], "responses"),
    ],
)
def test_members_of_the_wrong_type_are_refused(member, value, dialect):
    """Status 400, naming the member."""
    fault = fault_of({"model": "m", member: value}, dialect)
    assert (fault.status, fault.code, fault.param) == (400, "invalid_type", member)


def test_stream_options_have_to_be_an_object_where_they_count():
    """Only streams read them."""
    assert fault_of({"model": "m", "stream": True, "stream_options": 5}).param == "stream_options"
    assert not request_of({"model": "m", "stream_options": 5}).include_usage


@pytest.mark.parametrize(
    ("value", "stream"), [(True, True), (False, False), (None, False)], ids=["true", "false", "null"]
)
def test_null_is_the_default(value, stream):
    """Of `stream` and of `store`."""
    assert request_of({"model": "m", "stream": value}).stream is stream
    assert request_of({"model": "m", "store": value}, "responses").store is (value is not False)


def test_embeddings_never_stream():
    """There is no such form of them."""
    assert not request_of({"model": "m", "stream": True}, "embeddings").stream


@pytest.mark.parametrize("member", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_limit_on_output_is_seen(member):
    """Under each of its names; null is none."""
    assert request_of({"model": "m", member: 5}).limited
    assert not request_of({"model": "m", member: None}).limited


@pytest.mark.parametrize(
    ("options", "include_usage"),
    [({"include_usage": True}, True), ({"include_usage": False}, False), ({}, False), (None, False)],
)
def test_who_asks_for_usage_is_seen(options, include_usage):
    """In streams alone."""
    body = {"model": "m", "stream": True, "stream_options": options}
    assert request_of(body).include_usage is include_usage
    assert not request_of({**body, "stream": False}).include_usage


@pytest.mark.parametrize(
    ("body", "stateful"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"background": False}, None),
        ({"previous_response_id": None, "conversation": None, "background": None}, None),
    ],
)
def test_members_that_ask_for_state_are_seen(body, stateful):
    """In the Responses API alone."""
    assert request_of({"model": "m", **body}, "responses").stateful_member == stateful
    assert request_of({"model": "m", **body}, "chat").stateful_member is None


@pytest.mark.parametrize(
    ("value", "member"),
    [({"ttl": 5}, {"ttl": 5}), ({}, {}), (None, {}), ("yes", None), (5, None), (True, None), ([1], None)],
)
def test_a_cache_member_is_ours_if_it_is_an_object(value, member):
    """Or nothing; one of another type is somebody else's."""
    assert request_of({"model": "m", "cache": value}).cache_member == member


def test_a_cache_member_that_cannot_be_read_is_refused():
    """Status 400, naming it: what it forbids must not be overlooked."""
    fault = fault_of(b'{"model":"m","cache":{"no-store":true,"namespace":"\\ud83d"}, "x": 1}')
    assert (fault.status, fault.param) == (400, "cache")


@pytest.mark.parametrize(
    ("nomyo", "opted_in"),
    [({"cache": True}, True), ({"cache": False}, False), ({"cache": 1}, False), ({}, False), (None, False)],
)
def test_nomyo_clients_opt_in(nomyo, opted_in):
    """By `"nomyo": {"cache": true}` and nothing else (E9)."""
    assert request_of({"model": "m", "nomyo": nomyo}).opted_in is opted_in


def test_half_an_emoji_does_no_harm():
    """Wherever it stands, the request is read and passed on; only a model's name has to be whole."""
    body = b'{"model":"m","input":"\\ud83d","metadata":{\n"a":"\\udc00"},"user":"\\ud83d\\ude00", "x": 1}'
    request = request_of(body, "responses")
    assert request.echo == {"metadata": b'{ "a":"\\udc00"}', "user": b'"\\ud83d\\ude00"'}
    assert b'"input":"\\ud83d"' in request.upstream_body("m", keep_state=True, ask_usage=True)
    assert fault_of(b'{"model":"\\ud83d", "input": "something longer"}').param == "model"


def test_members_that_are_nested_deeply_do_no_harm():
    """As deep as the body may be at all."""
    deep = b"[" * 900 + b"]" * 900
    for member in (b"metadata", b"input", b"cache", b"stream_options"):
        body = b'{"model":"m","stream":true,"%b":%b}' % (member, deep)
        with contextlib.suppress(ClientFault):
            request_of(body, "responses").upstream_body("m", keep_state=True, ask_usage=True)


# Writing.


@pytest.mark.parametrize("dialect", ["chat", "completions", "embeddings"])
@given(
    value=st.dictionaries(st.text(max_size=5).filter(lambda name: name not in CONTROLS), values, max_size=4)
)
def test_a_request_without_controls_passes_byte_for_byte(dialect, value):
    """Blanks, order, spelling and unknown members are as the client sent them."""
    body = json.dumps({**value, "model": "m"}, indent=1).encode()
    assert sent(body, dialect) == body


@given(
    st.dictionaries(st.text(max_size=5).filter(lambda name: name not in CONTROLS), values, max_size=4),
    st.data(),
)
def test_members_pass_unchanged_when_others_are_changed(value, data):
    """Whatever they are, they come out with the bytes that they had."""
    text = data.draw(spelled({**value, "model": "alias", "cache": {}, "stream": True}))
    body = sent(text.encode(), model="real")
    expected = {**json.loads(text), "model": "real", "stream_options": {"include_usage": True}}
    del expected["cache"]
    assert json.loads(body) == expected


def test_the_model_is_the_upstreams():
    """An alias is replaced, the same name is left alone."""
    assert json.loads(sent({"model": "fast", "n": 1}, model="gpt")) == {"model": "gpt", "n": 1}
    assert sent(b'{ "model" : "gpt" }', model="gpt") == b'{ "model" : "gpt" }'


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("member", [{"ttl": 5}, {}, None])
def test_the_controls_of_the_cache_are_taken_out(dialect, member):
    """The upstream sees neither `cache` nor `nomyo`."""
    body = {"model": "m", "cache": member, "nomyo": {"cache": True, "other": 1}, "user": "u"}
    assert {"model": "m", "user": "u"}.items() <= json.loads(sent(body, dialect)).items()
    assert not {"cache", "nomyo"} & json.loads(sent(body, dialect)).keys()


def test_somebody_elses_cache_member_passes():
    """As every other unknown member does."""
    body = b'{"model": "m", "cache": true}'
    assert sent(body) == body


@pytest.mark.parametrize("store", [{}, {"store": True}, {"store": None}, {"store": False}])
def test_the_upstream_keeps_no_responses_where_the_gateway_does(store):
    """It is told `store: false` (E5), unless it keeps the state."""
    body = {"model": "m", "input": "x", **store}
    assert json.loads(sent(body, "responses")) == {**body, "store": False}
    assert json.loads(sent(body, "responses", keep_state=False)) == body
    assert json.loads(sent(body, "chat")) == body


def test_a_request_that_stores_nothing_passes_byte_for_byte():
    """There is nothing left to change."""
    body = b'{ "store" : false, "model" : "m" }'
    assert sent(body, "responses") == body


@pytest.mark.parametrize("dialect", ["chat", "completions"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"other": 1}, {"other": 1, "include_usage": True}),
    ],
)
def test_streams_are_asked_for_usage(dialect, options, expected):
    """Where the client did not, and the provider takes it."""
    body = {"model": "m", "stream": True, "stream_options": options}
    assert json.loads(sent(body, dialect))["stream_options"] == expected
    assert json.loads(sent(body, dialect, ask_usage=False)) == body
    assert json.loads(sent({**body, "stream": False}, dialect)) == {**body, "stream": False}


def test_who_asks_for_usage_is_passed_on_byte_for_byte():
    """There is nothing to add."""
    body = b'{"model":"m", "stream":true, "stream_options":{"include_usage":true}}'
    assert sent(body) == body


def test_the_upstream_sees_each_member_once():
    """It could take the first where the cache key has the last, and its answer would be another request's."""
    assert json.loads(sent(b'{"model":"m","prompt":"a","prompt":"b"}')) == {"model": "m", "prompt": "b"}
    assert sent(b'{"model":"m","prompt":"a","\\u0070rompt":"b"}').count(b"rompt") == 1


# What an answer echoes.


@pytest.mark.parametrize(
    ("body", "echo"),
    [
        ({"metadata": {"a": "b"}}, {"metadata": b'{"a":"b"}'}),
        ({"metadata": None, "user": None}, {}),
        ({"user": "u", "store": False, "temperature": 1}, {"user": b'"u"', "store": b"false"}),
    ],
)
def test_what_an_answer_only_echoes_is_noted(body, echo):
    """In the Responses API, as JSON without line ends; null is the default (B3)."""
    assert request_of(json.dumps({"model": "m", **body}, indent=2).encode(), "responses").echo == echo
    assert request_of({"model": "m", **body}, "chat").echo == {}


def test_a_replay_differs_in_what_was_asked_otherwise():
    """A member that only one request has is compared with its default."""
    assert changed_echo({}, {}) == {}
    assert changed_echo({"user": b'"a"'}, {"user": b'"a"'}) == {}
    assert changed_echo({"user": b'"a"'}, {}) == {"user": b'"a"'}
    assert changed_echo({}, {"user": b'"a"'}) == {"user": b"null"}
    assert changed_echo({}, {"store": b"true", "metadata": b"{}"}) == {}
    assert changed_echo({"store": b"false"}, {"metadata": b'{"a":"b"}'}) == {
        "store": b"false",
        "metadata": b"{}",
    }
