"""Where two JSON values differ."""

import copy
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.difference import ABSENT, Difference, common_length, differences, written

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=4) | st.text(min_size=0, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)


def places(value, steps=()):
    """Give the path of everything inside of `value`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inside:
        yield (*steps, step)
        yield from places(each, (*steps, step))


def at(value, steps):
    for step in steps:
        value = value[step]
    return value


class Other:
    """Something that no JSON has, so that it is different from everything."""


@given(OBJECTS, st.data())
def test_a_change_is_found_where_it_was_made(value, data):
    """Exactly there, wherever it is, and nothing else is."""
    steps = data.draw(st.sampled_from(list(places(value))))
    changed, other = copy.deepcopy(value), Other()
    at(changed, steps[:-1])[steps[-1]] = other

    assert list(differences(changed, value)) == [Difference(steps, other, at(value, steps))]
    assert list(differences(value, changed)) == [Difference(steps, at(value, steps), other)]


@given(OBJECTS, st.data())
def test_what_was_taken_away_or_added_is_found_too(value, data):
    """A member, or the last element of a list."""
    steps = data.draw(st.sampled_from(list(places(value))))
    less = copy.deepcopy(value)
    inside = at(less, steps[:-1])
    if isinstance(inside, list):
        steps = (*steps[:-1], len(inside) - 1)
    del inside[steps[-1]]

    assert list(differences(less, value)) == [Difference(steps, ABSENT, at(value, steps))]
    assert list(differences(value, less)) == [Difference(steps, at(value, steps), ABSENT)]


@given(VALUES)
def test_equal_values_do_not_differ(value):
    """A copy is equal."""
    assert list(differences(value, copy.deepcopy(value))) == []


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (1, 1.0, False),
        (1, True, True),
        (0, False, True),
        (0, None, True),
        ([], {}, True),
        ("1", 1, True),
        ({}, "", True),
    ],
)
def test_numbers_are_compared_by_value_and_truth_is_no_number(one, other, differ):
    """As the cache key does."""
    assert bool(list(differences({"a": one}, {"a": other}))) is differ


def test_the_first_is_that_of_the_first_member():
    """Members are in the order of their names, whatever order they were sent in."""
    found = differences({"b": 1, "a": [1, 2]}, {"a": [1, 3], "b": 2})

    assert [each.path for each in found] == ["a[1]", "b"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (("messages", 2, "content"), "messages[2].content"),
        (("temperature",), "temperature"),
        (("a b", 0), '["a b"][0]'),
        (("logit_bias", "50256"), 'logit_bias["50256"]'),
        (("x" * 99,), f'["{"x" * 64}…"]'),
        ((), ""),
    ],
)
def test_paths_are_written_as_people_write_them(steps, expected):
    """Names that are no names are quoted, and long ones cut."""
    assert expected == written(steps)


@given(st.text(max_size=12), st.text(max_size=6), st.text(max_size=6))
def test_texts_have_as_much_in_common_as_they_begin_with(common, one, other):
    """Counted in characters."""
    length = common_length(common + one, common + other)

    assert (common + one)[:length] == (common + other)[:length]
    assert (
        length in {len(common + one), len(common + other)}
        or (common + one)[length] != (common + other)[length]
    )


def test_another_measure_may_find_things_the_same():
    """At every level."""

    def has_b(mine, _theirs):
        return isinstance(mine, dict) and "b" in mine

    found = differences({"a": {"b": 1}, "c": [2]}, {"a": 3, "c": [4]}, same=has_b)
    assert [difference.path for difference in found] == ["c[0]"]
