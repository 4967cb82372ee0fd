"""Surgery on JSON documents, as bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.splice import (
    after_opening,
    member_spans,
    replace_string,
    splice,
    string_spans,
    with_member,
    without_member,
)

NAMES = st.text(max_size=4) | st.sampled_from(["a", "b", 'c"d', "e\\", "é", "response"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=6)
LAYOUTS = st.sampled_from([(None, (",", ":")), (None, (" ,\t", " : ")), (2, (",", ": "))])


def write(value, layout, *, ascii_only=True):
    indent, separators = layout
    return json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    )


@given(OBJECTS, LAYOUTS, st.booleans())
def test_every_member_is_found_where_it_stands(document, layout, ascii_only):
    """The span of a member holds exactly its value."""
    raw = write(document, layout, ascii_only=ascii_only)
    spans = member_spans(raw, [(name,) for name in document])
    assert {path[0]: json.loads(raw[start:end]) for path, (start, end) in spans.items()} == document


@given(st.fixed_dictionaries({"response": OBJECTS, "type": JSON}), LAYOUTS)
def test_every_inner_member_is_found_where_it_stands(document, layout):
    """The same holds one level further in."""
    raw = write(document, layout)
    spans = member_spans(raw, [("response", name) for name in document["response"]])
    assert {path[1]: json.loads(raw[start:end]) for path, (start, end) in spans.items()} == document[
        "response"
    ]


@given(OBJECTS, LAYOUTS, NAMES, JSON)
def test_splicing_changes_one_member_and_no_other_byte(document, layout, name, value):
    """What a reader sees is the change; around it every byte is as it was."""
    raw = write(document, layout)
    new = json.dumps(value).encode()
    changed = splice(raw, {(name,): new})
    assert json.loads(changed) == ({**document, name: value} if name in document else document)
    spans = member_spans(raw, [(name,)])
    if spans:
        start, end = spans[(name,)]
        assert changed == raw[:start] + new + raw[end:]
    else:
        assert changed == raw


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\a1 \n', max_size=30).map(str.encode))
def test_what_is_not_json_is_survived(document):
    """Any bytes may come; bytes without the path come back as they are."""
    assert splice(document, {("nowhere", "at", "all"): b"1"}) == document
    member_spans(document, [("a",), ("a", "a")])


def test_all_occurrences_of_a_key_are_replaced():
    """A reader may take the first or the last of two equal keys: both change."""
    assert splice(b'{"a":1,"b":2,"a":[3]}', {("a",): b"9"}) == b'{"a":9,"b":2,"a":9}'


def test_paths_that_are_not_there_change_nothing():
    """Neither a missing member nor a path through a string is touched."""
    document = b' {"a": 1.50, "b": "\\u00e9", "c": {"a": 2}}\n'
    assert splice(document, {("b", "a"): b"0", ("d",): b"0", ("a", "b"): b"0"}) == document


def test_of_nested_paths_the_outer_wins():
    """A member inside a replaced value is gone with it."""
    assert splice(b'{"a":{"b":1}}', {("a",): b"2", ("a", "b"): b"3"}) == b'{"a":2}'


def test_several_members_change_at_once():
    """Members at different depths are replaced in one pass."""
    document = b'{"response":{"metadata":{"k":"}"},"id":"x"},"type":"t"}'
    changes = {("response", "metadata"): b"{}", ("type",): b'"u"', ("response", "id"): b'"y"'}
    assert splice(document, changes) == b'{"response":{"metadata":{},"id":"y"},"type":"u"}'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"{}", b'{"n":1}'),
        (b' { "a": 2 }', b' {"n":1, "a": 2 }'),
        (b'{"a":2,"n":null}', b'{"a":2,"n":1}'),
        (b"[]", b"[]"),
    ],
)
def test_a_member_is_replaced_or_added(document, expected):
    """A missing member is put first."""
    assert with_member(document, "n", b"1") == expected


@given(JSON, st.sampled_from(["resp_1", "a", "é"]), LAYOUTS)
def test_strings_are_replaced_only_where_they_are_the_whole_string(value, old, layout):
    """Keys and values that are exactly the string change, and nothing that merely contains it."""

    def renamed(inner):
        if isinstance(inner, dict):
            return {renamed(key): renamed(member) for key, member in inner.items()}
        if isinstance(inner, list):
            return [renamed(member) for member in inner]
        return "NEW" if inner == old else inner

    document = [value, old, f"msg_{old}", f'say "{old}"', {old: f"\\{old}", f'"{old}': [old]}, old]
    raw = write(document, layout, ascii_only=False)
    assert json.loads(replace_string(raw, old.encode(), b"NEW")) == renamed(document)


def test_a_document_without_the_string_is_returned_itself():
    """The common case costs no copy."""
    document = b'{"id":"resp_12","text":"resp_1 \\"resp_1\\""}'
    assert replace_string(b'{"a":"b"}', b"", b"x") == b'{"a":"b"}'
    assert replace_string(document, b"resp_2", b"x") is document
    assert replace_string(document, b"resp_1", b"x") == document
    assert string_spans(document, b"resp_12") == [(7, 14)]
    assert string_spans(document, b"") == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"a":1,"b":2,"c":3}', b'{"a":1,"c":3}'),
        (b'{ "b" : {"b":[1,"}"]} , "a":1}', b'{"a":1}'),
        (b'{"a":1, "b":2 }', b'{"a":1 }'),
        (b'{"b":2}', b"{}"),
        (b'{"a":{"b":2}}', b'{"a":{"b":2}}'),
        (rb'{"a":1,"\u0062":2}', b'{"a":1}'),
        (b"{}", b"{}"),
        (b"[1]", b"[1]"),
        (b'{"a"', b'{"a"'),
        (b'{"b":{', b'{"b":{'),
    ],
)
def test_a_member_is_left_out(document, expected):
    """With one comma, wherever it stands."""
    assert without_member(document, "b") == expected


@pytest.mark.parametrize(
    ("document", "path", "place"),
    [
        (b'{"a":1}', (), 1),
        (b' { "a":1}', (), 2),
        (b"{}", (), None),
        (b'{"r":{"a":1}}', ("r",), 6),
        (b'{"r":{}}', ("r",), None),
        (b'{"r":[1]}', ("r",), None),
        (b'{"a":1}', ("r",), None),
        (b"nope", (), None),
    ],
)
def test_the_place_of_a_first_member(document, path, place):
    """Where there is another one behind it, so that a comma may follow."""
    assert after_opening(document, path) == place
