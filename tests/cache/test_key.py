"""The cache key: equal meaning has an equal key, and anything else that counts has another."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon.cache.key import NOT_KEYED, Circumstance, cache_key, list_keys
from antiphon.wire.json import canonical_value, read_members
from wire.spelling import meaning, objects, spelled, values

CHAT = Circumstance("chat", "/chat/completions", "up/gpt-test", "key:alice", "", "")
FIELDS = Circumstance.__dataclass_fields__
REQUEST = {
    "model": "fast",
    "messages": [{"role": "user", "content": "Hi", "parts": [{"type": "text", "n": 0}]}],
    "temperature": 0,
    "seed": None,
    "tools": [],
}

unkeyed = st.dictionaries(st.sampled_from(sorted(NOT_KEYED)), values, max_size=4)
texts = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(["", '"', ",", '","', "]", "\\"])
circumstances = st.builds(Circumstance, *[texts] * len(FIELDS))


def key_of(body, circumstance=CHAT, *, own_cache=True):
    text = body if isinstance(body, str) else json.dumps(body)
    return cache_key(circumstance, read_members(text.encode()), own_cache=own_cache)


def keyed(body):
    return {name: value for name, value in body.items() if name not in NOT_KEYED}


def paths_in(value, path=()):
    """Every place in a JSON value, the value itself included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in inner:
        yield from paths_in(member, (*path, step))


def changed(value, path, change):
    """Return a copy of `value` with what stands at `path` replaced by `change` of it."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], change)
    return copy


@given(objects, st.data())
def test_equal_meaning_has_an_equal_key(body, data):
    """Order of members, blanks, escapes and the spelling of numbers do not matter, at any depth."""
    assert key_of(data.draw(spelled(body))) == key_of(data.draw(spelled(body)))


@given(objects, unkeyed, unkeyed)
def test_what_does_not_change_the_answer_is_not_keyed(body, before, after):
    """Such members may be there, be absent, or have any value."""
    body = keyed(body)
    assert key_of({**before, **body}) == key_of({**body, **after}) == key_of(body)


@given(objects, st.data())
def test_any_change_of_what_is_keyed_has_another_key(body, data):
    """Wherever in the request it is, and whatever it becomes."""
    body = keyed(body)
    assume(body)
    path = data.draw(st.sampled_from([path for path in paths_in(body) if path]))
    other = changed(body, path, lambda _: data.draw(values))
    assert (key_of(body) == key_of(other)) == (meaning(body) == meaning(other))


@pytest.mark.parametrize("path", [path for path in paths_in(REQUEST) if path], ids=str)
def test_what_is_left_out_or_null_has_another_key(path):
    """A member that is absent is not one that is null, and a list keeps its length and order."""
    *outer, last = path

    def without(around):
        copy = around.copy()
        del copy[last]
        return copy

    absent = changed(REQUEST, outer, without)
    null = changed(REQUEST, path, lambda _: None)
    forms = {key_of(REQUEST).identity, key_of(absent).identity, key_of(null).identity}
    assert len(forms) == (2 if last == "seed" else 3)


@given(objects, st.sampled_from(["temperature", "cach", "caches", "Stream", "store ", "stream\x00"]), values)
def test_any_added_member_has_another_key(body, name, value):
    """Also one whose name is nearly one that does not count."""
    assume(name not in body)
    assert key_of(body) != key_of({**body, name: value})


def test_members_that_are_not_keyed_count_inside_of_others():
    """Only the outermost members of these names are left out."""
    for name in NOT_KEYED:
        assert key_of({"tools": [{name: 1}]}) != key_of({"tools": [{name: 2}]})
        assert key_of({"input": {name: 1}}) != key_of({"input": {}})


def test_the_list_of_what_is_not_keyed_is_the_contract():
    """Section 8 of the design names them, and the two controls."""
    promised = (
        "stream stream_options store metadata user safety_identifier prompt_cache_key service_tier background"
    )
    assert {*promised.split(), "cache", "nomyo"} == NOT_KEYED


def test_a_cache_member_of_somebody_else_counts():
    """A `cache` that is not meant for this gateway goes to the upstream, and may change the answer."""
    assert key_of({"cache": 1}, own_cache=True) == key_of({}, own_cache=True)
    assert key_of({"cache": 1}, own_cache=False) != key_of({"cache": 2}, own_cache=False)


@pytest.mark.parametrize("field", FIELDS)
def test_everything_around_the_body_is_keyed(field):
    """Another dialect, route, target, scope, namespace or mode has another key for the same body."""
    assert key_of(REQUEST) != key_of(REQUEST, replace(CHAT, **{field: "other"}))


@given(circumstances, circumstances, objects, objects)
def test_no_two_requests_run_together(first, second, first_body, second_body):
    """However texts are moved from one part of the key to the next, only equal parts give an equal identity."""
    equal = first == second and meaning(keyed(first_body)) == meaning(keyed(second_body))
    assert equal == (key_of(first_body, first).identity == key_of(second_body, second).identity)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"a":"b","c":"d"}', '{"a":"b\\",\\"c\\":\\"d"}'),
        ('{"a":[1,2]}', '{"a":[[1],2]}'),
        ('{"a":12}', '{"a":[1,2]}'),
        ('{"a":"1"}', '{"a":1}'),
        ('{"a":true}', '{"a":1}'),
        ('{"a":""}', '{"a":null}'),
        ('{"a":{}}', '{"a":[]}'),
        ('{"ab":1}', '{"a":"b1"}'),
        ('{"a":"\\u0000"}', '{"a":""}'),
        ('{"a":"\\ud83d"}', '{"a":"\\ud83c"}'),
        ('{"a":1e400}', '{"a":1e401}'),
        ('{"a":1e400}', '{"a":"1e400"}'),
        ('{"m":{"content":"x","content":"y"}}', '{"m":{"content":"y"}}'),
        ('{"m":{"content":"x","content":"y"}}', '{"m":{"content":"x"}}'),
        ('{"a":9007199254740993}', '{"a":9007199254740992}'),
    ],
)
def test_what_is_only_similar_has_another_key(first, second):
    """The pairs that a careless key would confuse."""
    assert key_of(first) == key_of(first)
    assert key_of(first) != key_of(second)


def test_the_digest_stands_for_the_identity():
    """Equal identities have equal digests of 128 bits, and different ones practically never."""
    keys = [key_of({"n": number}) for number in range(1000)]
    assert 1000 == len({key.digest for key in keys}) == len({key.identity for key in keys})
    assert {16} == {len(key.digest) for key in keys}


inputs = st.lists(texts | st.lists(st.integers(0, 2**40), max_size=3), max_size=4)


@given(objects, inputs, circumstances, st.booleans(), st.data())
def test_an_item_of_a_list_has_the_key_of_the_request_for_it_alone(
    body, items, circumstance, own_cache, data
):
    """Whatever else the request says; and the whole list has the key that it has without its items."""
    spelt = [data.draw(spelled(item)).encode() for item in items]
    members = read_members(data.draw(spelled({**body, "input": items})).encode())
    keys = list_keys(
        circumstance,
        members,
        "input",
        [canonical_value(item) for item in spelt],
        alone={name: value for name, value in members.items() if name != "input"},
        own_cache=own_cache,
    )
    singles = [read_members(data.draw(spelled({**body, "input": item})).encode()) for item in items]

    assert keys.whole == cache_key(circumstance, members, own_cache=own_cache)
    assert keys.each == [cache_key(circumstance, single, own_cache=own_cache) for single in singles]
