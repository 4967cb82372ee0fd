"""What can be told of why the cache did something: nearest entries, and values of which nothing is given away."""

import json
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cache.explaining import compare, nearest, read_identity, redacted, shown_value, why_not_stored
from antiphon.cache.key import Circumstance, cache_key
from antiphon.recording import Outcome, State
from antiphon.wire.difference import ABSENT, Difference
from cache.test_entry import entry

SECRET = b"secret"
HERE = Circumstance("chat", "/chat/completions", "up/m", "key:alice", "", "")
WORDS = st.text(string.ascii_letters + " ", max_size=20)
PARAMETERS = {
    "temperature": st.floats(0, 2),
    "seed": st.integers(-(2**60), 2**60),
    "stop": st.none() | WORDS | st.lists(WORDS, max_size=3),
    "logprobs": st.booleans(),
}
REQUESTS = st.fixed_dictionaries(
    {
        "model": WORDS,
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": WORDS}),
            min_size=1,
            max_size=4,
        ),
    },
    optional=PARAMETERS,
)


def identity_of(request, circumstance=HERE):
    members = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in request.items()}
    return cache_key(circumstance, members, own_cache=True).identity


def entry_of(request, circumstance=HERE, **changes):
    return entry(identity=identity_of(request, circumstance), **changes)


def asked_for(request, circumstance=HERE):
    return read_identity(identity_of(request, circumstance))


@given(REQUESTS)
def test_an_identity_can_be_read_back(request_):
    """What was asked, and around it where and by whom."""
    read = asked_for(request_)

    assert read.members == request_
    assert read.circumstances["target"] == "up/m"
    assert read.circumstances["scope"] == "key:alice"


@given(REQUESTS, st.data())
def test_a_changed_request_is_explained_by_what_was_changed(request_, data):
    """At exactly the path of the change."""
    changed = json.loads(json.dumps(request_))
    what = data.draw(st.sampled_from(["content", "role", "temperature", "more"]))
    place = data.draw(st.integers(0, len(request_["messages"]) - 1))
    if what == "content":
        changed["messages"][place]["content"] += "."
        path = f"messages[{place}].content"
    elif what == "role":
        changed["messages"][place]["role"] = "tool"
        path = f"messages[{place}].role"
    elif what == "temperature":
        changed["temperature"] = 3
        path = "temperature"
    else:
        changed["messages"].append({"role": "user", "content": ""})
        path = f"messages[{len(request_['messages'])}]"
    compared = compare(asked_for(changed), entry_of(request_))

    assert [each.path for each in compared.differences] == [path]
    assert compared.circumstances == ()


@given(REQUESTS, WORDS)
def test_no_text_is_told(request_, text):
    """Whatever the two say; lengths are, and where they begin to differ."""
    secret = "Xy" + text + "Zz"
    other = json.loads(json.dumps(request_)) | {"stop": "Qq" + text}
    (difference,) = (
        each
        for each in compare(asked_for(request_ | {"stop": secret}), entry_of(other)).differences
        if each.path == "stop"
    )
    told = redacted(difference, SECRET)

    assert set(told["asked"]) == {"type", "length", "digest"}
    assert (told["asked"]["length"], told["stored"]["length"]) == (len(secret), len(text) + 2)
    assert told["same_until"] == 0
    assert secret not in json.dumps(told)


def test_the_nearest_differs_least_and_a_number_less_than_a_text():
    """Then the newest."""
    asked = {
        "model": "m",
        "temperature": 1,
        "messages": [{"role": "user", "content": "How far is the Moon?"}],
    }
    colder = entry_of(asked | {"temperature": 0}, stored_at=1.0)
    newer = entry_of(asked | {"temperature": 2}, stored_at=2.0)
    other = entry_of(asked | {"messages": [{"role": "user", "content": "And the Sun?"}]}, stored_at=3.0)
    elsewhere = entry_of(asked, Circumstance("chat", "/chat/completions", "up/n", "key:alice", "", ""))

    assert nearest(asked_for(asked), [colder, other, elsewhere]).entry is colder
    assert nearest(asked_for(asked), [colder, newer, other]).entry is newer
    assert nearest(asked_for(asked), [other, elsewhere]).entry is other
    assert nearest(asked_for(asked), []) is None
    assert nearest(asked_for(asked), [entry(identity=b"\xff")]) is None


def test_what_differs_around_a_request_is_told_by_name():
    """The same body for another model, in another namespace, in the other mode."""
    there = Circumstance("chat", "/chat/completions", "up/n", "key:alice", "test", "stream")
    compared = compare(asked_for({"a": 1}), entry_of({"a": 1}, there))

    assert compared.circumstances == (
        ("target", "up/m", "up/n"),
        ("namespace", "", "test"),
        ("mode", "", "stream"),
    )
    assert compared.differences == ()


@pytest.mark.parametrize(
    ("steps", "value", "told"),
    [
        (("temperature",), 0.5, "0.5"),
        (("stream",), True, "true"),
        (("stop",), None, "null"),
        (("reasoning", "effort"), "high", '"high"'),
        (("messages", 0, "role"), "user", '"user"'),
        (("messages", 0, "content"), "user", "string of 4"),
        (("input", 3), 1042, "number"),
        (("tools",), [1, 2], "array of 2"),
        (("text",), {"a": 1}, "object of 1"),
        (("user_type",), ABSENT, "absent"),
        (("tools", 0, "parameters", "properties", "type"), "secret", "string of 6"),
        (("model",), "a model with blanks", "string of 19"),
    ],
)
def test_words_of_an_api_are_shown_and_words_of_a_user_are_not(steps, value, told):
    """A number in a list may be a token of a text."""
    assert told == shown_value(redacted(Difference(steps, value, ABSENT), SECRET)["asked"])


def test_digests_tell_nothing_to_whoever_lacks_the_secret():
    """And are the same for the same text."""
    one, two = (redacted(Difference(("a",), "text", "text."), secret) for secret in (b"a", b"b"))

    assert one["asked"]["digest"] != one["stored"]["digest"]
    assert one["asked"]["digest"] != two["asked"]["digest"]
    assert one == redacted(Difference(("a",), "text", "text."), b"a")


@pytest.mark.parametrize(
    ("outcome", "size", "limited", "why"),
    [
        (Outcome(State.COMPLETED), 10, False, ""),
        (Outcome(State.COMPLETED), 11, False, "larger"),
        (Outcome(State.INCOMPLETE, "max_output_tokens"), 1, True, ""),
        (Outcome(State.INCOMPLETE, "max_output_tokens"), 1, False, "token limit"),
        (Outcome(State.INCOMPLETE, "content_filter"), 1, True, "content_filter"),
        (Outcome(State.FAILED, "upstream_truncated"), 1, True, "upstream_truncated"),
        (Outcome(State.CANCELLED, "client_left"), 1, True, "cancelled"),
    ],
)
def test_it_is_said_why_an_answer_was_not_stored(outcome, size, limited, why):
    """The same rules by which it is."""
    said = why_not_stored(outcome, size, 10, limited=limited)

    assert (why in said) if why else said == ""
