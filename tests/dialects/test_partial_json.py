"""Tool arguments that stop in the middle."""

import json

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.partial_json import read_partial

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)


@given(objects, st.booleans(), st.data())
def test_the_beginning_of_an_object_is_read_as_the_official_library_does(whole, is_ascii, data):
    """Wherever it stops: anthropic-sdk-python reads it with jiter."""
    text = json.dumps(whole, ensure_ascii=is_ascii, indent=data.draw(st.sampled_from([None, 1])))
    cut = text[: data.draw(st.integers(1, len(text)))]

    assert jiter.from_json(cut.encode(), partial_mode=True) == read_partial(cut)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 12, "b": 34', {"a": 12}),  # who knows whether it goes on
        ('{"a": [1, 2', {"a": [1]}),
        ('{"a": 1e3}', {"a": 1000.0}),
        ('{"a": "\\ud83d', {}),
        ("", {}),
        ("no JSON", {}),
        ("[1]", {}),
        ('{"a": 1}}', {}),
        ('{"a": nul', {}),
    ],
)
def test_only_what_is_whole_is_kept(text, value):
    """A number at the end may have been cut, and what is no object holds no arguments."""
    assert value == read_partial(text)
