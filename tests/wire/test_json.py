"""JSON with as little work as possible."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire import json as wire_json
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import canonical, read_members, repeats_members, write_members
from wire.spelling import meaning, objects, spelled, values

DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HALF = b'{"a":"cut \\ud83d","b": [1, 2]}'


def canonical_of(text):
    return canonical(read_members(text.encode()))


def fault_of(body):
    with pytest.raises(ClientFault) as caught:
        read_members(body)
    return caught.value


@given(objects, st.data())
def test_members_are_the_bytes_that_stood_there(value, data):
    """Each value is kept as it was written; reading it gives what it means."""
    text = data.draw(spelled(value))
    members = read_members(text.encode())
    assert {name: json.loads(bytes(raw)) for name, raw in members.items()} == json.loads(text)
    assert all(bytes(raw) in text.encode() for raw in members.values())


@given(objects, st.data())
def test_what_is_written_is_read_again(value, data):
    """Writing members and reading them changes nothing."""
    members = read_members(data.draw(spelled(value)).encode())
    assert read_members(write_members(members)) == members


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"", "invalid_json", "byte 0"),
        (b'{"a":', "invalid_json", "byte 5"),
        (b'{"a":tru}', "invalid_json", "byte 6"),
        (b'{"a":NaN}', "invalid_json", "byte 5"),
        (b'{"a":01}', "invalid_json", "byte 6"),
        (b'{"a":1} x', "invalid_json", "byte"),
        (b'{"a":1,}', "invalid_json", "byte 7"),
        (b'\xef\xbb\xbf{"a":1}', "invalid_json", "byte 0"),
        (b'{"a":"ok","b":"\xff"}', "invalid_json", "byte 15"),
        (b'{"ok":1,"\xff":1}', "invalid_json", "byte 9"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_json", "byte 6"),
        (DEEP, "invalid_json", "nested too deeply"),
        (b'{"a":"\\ud83d",}', "invalid_json", "byte"),
        (b'{"a":"\\ud83d","b":NaN}', "invalid_json", "byte"),
        (b'{"a":"\\ud83d","b":' + b"[" * 100_000 + b"}", "invalid_json", "byte"),
        (b'{"\\ud83d":1}', "invalid_json", "byte"),
        (b'["\\ud83d", 1]', "invalid_type", "object"),
        (b"[]", "invalid_type", "object"),
        (b"null", "invalid_type", "object"),
        (b'"text"', "invalid_type", "object"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(body, code, told):
    """Status 400, and the byte at which reading failed."""
    fault = fault_of(body)
    assert (400, code) == (fault.status, fault.code)
    assert told in fault.message


def test_half_of_a_surrogate_pair_is_read():
    """An emoji that a client cut in two is still JSON."""
    members = read_members(HALF)
    assert {name: bytes(raw) for name, raw in members.items()} == {"a": b'"cut \\ud83d"', "b": b"[1, 2]"}


@given(objects, st.data())
def test_equal_meaning_is_equal_in_canonical_form(value, data):
    """Order of members, blanks, escapes and the spelling of numbers do not matter, at any depth."""
    assert canonical_of(data.draw(spelled(value))) == canonical_of(data.draw(spelled(value)))


@given(objects, objects)
def test_other_meaning_is_another_canonical_form(first, second):
    """Two objects share a form only if they mean the same."""
    same_form = canonical_of(json.dumps(first)) == canonical_of(json.dumps(second))
    assert same_form == (meaning(first) == meaning(second))


@given(values, values)
def test_one_other_value_is_another_canonical_form(first, second):
    """The same for a value on its own, which is more often nearly equal."""
    same_form = canonical_of(json.dumps({"a": first})) == canonical_of(json.dumps({"a": second}))
    assert same_form == (meaning(first) == meaning(second))


@pytest.mark.parametrize(
    "spellings",
    [
        ["0", "0.0", "-0", "-0.0", "0e0", "0E+5", "0.000"],
        ["100", "1e2", "1E2", "1.0e2", "100.0", "1000e-1"],
        ["1e22", "10000000000000000000000", "1.0E22"],
        ["1.5", "15e-1", "1.50"],
        ['"a"', '"\\u0061"'],
        ['"é"', '"\\u00e9"', '"\\u00E9"'],
        ['"😀"', '"\\ud83d\\ude00"'],
        ['"/"', '"\\/"', '"\\u002f"'],
        ['":"', '"\\u003a"'],
        ['{"a":[1,{"b":2,"c":3}]}', ' { "a" : [ 1.0 , { "c" : 3 , "b" : 2e0 } ] } '],
    ],
)
def test_spellings_of_one_value_share_a_form(spellings):
    """Each in a list, in an object and alone."""
    for around in ('{{"x":{}}}', '{{"x":[{}]}}', '{{"x":{{"y":{}}}}}', '{{"x":[0.5,{},1]}}'):
        assert len({canonical_of(around.format(spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize("odd", ["1e400", "-1e999999", '"\\ud800"', '{"a":1,"a":2}', "9" * 5000])
def test_what_cannot_be_compared_by_value_is_compared_by_its_bytes(odd):
    """Nothing fails, other members stay comparable, and another spelling is only a miss."""
    first = canonical_of(f'{{"x":{odd},"b":[1, 2]}}')
    assert first == canonical_of(f'{{"b":[1.0,2],"x":{odd}}}')
    assert first != canonical_of(f'{{"x":[{odd}],"b":[1,2]}}')
    assert first != canonical_of('{"x":0,"b":[1,2]}')


def test_big_integers_are_compared_by_value():
    """Beyond 64 bits each digit still counts."""
    big = 10**40
    assert canonical_of(f'{{"x":{big}}}') == canonical_of(f'{{ "x" : {big} }}')
    assert canonical_of(f'{{"x":{big}}}') != canonical_of(f'{{"x":{big + 1}}}')


@pytest.mark.parametrize(
    "repeated",
    [
        '{"x":{"a":1,"a":2}}',
        '{"x":[[{"b":0,"a":1,"\\u0061":2}]]}',
        '{"x":{"a":"\\u003a","a":2}}',
        '{"x":{"a":1,"a":"\\u003A"}}',
    ],
)
def test_a_name_that_stands_twice_is_not_the_last_alone(repeated):
    """Readers disagree about which counts, so such a request shares its answer with no other."""
    last_alone = json.dumps(json.loads(repeated))
    assert canonical_of(repeated) != canonical_of(last_alone)
    assert canonical_of(repeated) == canonical_of(repeated.replace('{"x":', '{ "x" : '))


@pytest.mark.parametrize(
    ("body", "repeats"),
    [
        (b'{"a":1,"b":{"c":1}}', False),
        (b'{ "a" : "x:y" , "b:" : [":"] }', False),
        (b'{"a":"\\u003a","\\u003a":1}', False),
        (b'{"a":1,"b":2,"a":3}', True),
        (b'{"a":1,"\\u0061":3}', True),
        (b'{"\\u003a":1,"b":2,"b":3}', True),
        (b'{"a":"\\u003a","a":"::"}', True),
    ],
)
def test_members_that_stand_twice_are_seen(body, repeats):
    """Whatever is escaped, and wherever colons stand."""
    assert repeats == repeats_members(body, read_members(body))


@given(objects, st.data())
def test_no_repetition_is_seen_where_there_is_none(value, data):
    """However an object is written."""
    body = data.draw(spelled(value)).encode()
    assert not repeats_members(body, read_members(body))


def test_deep_values_are_survived():
    """Near the limit of the reader the bytes are compared instead."""
    for depth in range(50, 1000, 50):
        body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        try:
            members = read_members(body)
        except ClientFault:
            continue
        assert canonical(members) == canonical(read_members(body))
        assert not repeats_members(b'{"a":"\\u003a"}', {"a": msgspec.Raw(b'"\\u003a"')})


def test_long_names_are_not_remembered():
    """Clients choose the names, so what is kept of them is bounded."""
    name = "n" * 100_000
    write_members({name: b"1"})
    assert name not in wire_json._KEYS
