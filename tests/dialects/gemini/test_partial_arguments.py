"""Arguments that come value by value."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.gemini.partial_arguments import PartialArguments
from antiphon.wire.errors import UpstreamFault

NAMES = st.text("abc_ .x[]", min_size=1, max_size=4)
LEAVES = st.one_of(
    st.text(max_size=6), st.booleans(), st.none(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False).filter(math.isfinite)
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def pieces_of(value, path, cut):
    """The pieces that tell a value, its strings cut into several."""
    if isinstance(value, dict):
        for name, member in value.items():
            plain = name.isidentifier()
            yield from pieces_of(member, f"{path}.{name}" if plain else f"{path}['{name}']", cut)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from pieces_of(member, f"{path}[{index}]", cut)
    elif isinstance(value, str):
        yield {"jsonPath": path, "stringValue": value[:cut], "willContinue": True}
        yield {"jsonPath": path, "stringValue": value[cut:]}
    elif isinstance(value, bool):
        yield {"jsonPath": path, "boolValue": value}
    elif value is None:
        yield {"jsonPath": path, "nullValue": "NULL_VALUE"}
    else:
        yield {"jsonPath": path, "numberValue": value}


def text_of(*pieces):
    arguments = PartialArguments()
    return "".join(map(arguments.add, pieces)) + arguments.close()


@given(value=st.dictionaries(NAMES, VALUES, max_size=4), cut=st.integers(0, 3))
def test_the_pieces_of_a_document_add_up_to_it(value, cut):
    """Whatever it holds, as long as nothing in it is empty."""
    assert json.loads(text_of(*pieces_of(value, "$", cut))) == value


def test_a_string_that_was_not_ended_is_ended_by_what_follows():
    """Another path, or the end."""
    goes_on = {"jsonPath": "$.a", "stringValue": "x", "willContinue": True}
    assert text_of(goes_on, {"jsonPath": "$.b", "numberValue": 1}) == '{"a":"x","b":1}'
    assert text_of(goes_on) == '{"a":"x"}'


def test_places_of_a_list_that_are_left_out_are_null():
    """The last one keeps its place."""
    assert text_of({"jsonPath": "$.a[2]", "numberValue": 1}) == '{"a":[null,null,1]}'


def test_without_pieces_there_is_an_empty_object():
    """A call always has arguments."""
    assert text_of() == "{}"


@pytest.mark.parametrize(
    "paths",
    [
        [None],
        ["a"],
        ["$"],
        ["$[0]"],
        ["$.a["],
        ["$.a", "$.b", "$.a"],
        ["$.a[1]", "$.a[0]"],
        ["$.a[0]", "$.a.b"],
    ],
)
def test_pieces_out_of_order_are_refused(paths):
    """What has ended cannot be gone on with."""
    with pytest.raises(UpstreamFault):
        text_of(*({"jsonPath": path, "numberValue": 1} for path in paths))
