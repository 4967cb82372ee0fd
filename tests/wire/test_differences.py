import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.differences import ABSENT, Difference, differences

values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_what_is_equal_has_no_differences(value):
    """Whatever it is."""
    assert list(differences(value, copy.deepcopy(value))) == []


@given(values, values)
def test_there_is_a_difference_just_if_they_are_not_equal(one, other):
    """True is not 1."""
    same = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    assert bool(list(differences(one, other))) is not same


@pytest.mark.parametrize(
    ("one", "other", "path", "values"),
    [
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b", (1, 2)),
        ({"a": 1}, {}, "a", (1, ABSENT)),
        ([1], [1, 2], "[1]", (ABSENT, 2)),
        ({"a": {"b": 1}}, {"a": [1]}, "a", ({"b": 1}, [1])),
        ({"a": 1}, {"a": True}, "a", (1, True)),
        (1, 2, "", (1, 2)),
    ],
)
def test_a_place_is_a_path(one, other, path, values):
    """As in the documentation of an API."""
    assert list(differences(one, other)) == [Difference(path, *values)]


def test_numbers_compare_by_value_and_members_in_any_order():
    """As in the key of the cache."""
    assert list(differences({"a": 1, "b": 0.5}, {"b": 0.5, "a": 1.0})) == []


def test_another_measure_may_find_things_the_same():
    """At every level."""
    same = list(
        differences(
            {"a": {"b": 1}, "c": 2},
            {"a": 3, "c": 4},
            same=lambda one, _other: isinstance(one, dict) and "b" in one,
        )
    )
    assert [difference.path for difference in same] == ["c"]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("short", "shorter", ('"short"', '"shorter"')),
        ("x" * 200 + "one", "x" * 200 + "two", ('"…xxxxxxxxxxxxxxxxone"', '"…xxxxxxxxxxxxxxxxtwo"')),
        ("a" * 100, "b", ('"' + "a" * 60 + '…"', '"b"')),
        (None, True, ("null", "true")),
        ([1, 2], {"a": 1, "b": 2}, ("a list of 2", "{a, b}")),
        (ABSENT, 1.5, ("nothing", "1.5")),
        ({"k" * 40: 1, "l" * 40: 2}, "", ("{" + "k" * 40 + ", " + "l" * 17 + "…", '""')),
    ],
)
def test_what_is_shown_is_short_and_has_the_difference_in_it(one, other, shown):
    """Long texts are cut on both sides."""
    assert Difference("", one, other).shown() == shown
