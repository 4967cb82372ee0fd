"""Compressed data: in the format that everybody's zlib reads, and never larger than it was."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.deflate import deflated, inflated

TEXT = b"What is said twice is said shorter. " * 100


@given(st.binary(max_size=300), st.integers(1, 300))
def test_it_is_read_again(data, times):
    """By zlib too, as what zlib has written is read here: earlier releases wrote with it."""
    whole = data * times
    made = deflated(whole)
    if made is not None:
        assert len(made) < len(whole)
        assert inflated(made) == zlib.decompress(made) == whole
    assert inflated(zlib.compress(whole)) == whole


@given(st.integers(1, 5000))
def test_no_more_is_read_than_is_wanted(most):
    made = deflated(TEXT)
    assert made is not None
    assert inflated(made, most) == TEXT[:most]


def test_what_is_short_stays_as_it_is():
    assert deflated(TEXT, least=len(TEXT) + 1) is None
    assert deflated(TEXT, least=len(TEXT)) is not None
    assert deflated(b"abc") is None


@pytest.mark.parametrize("broken", [b"", b"x", zlib.compress(TEXT)[:-1], TEXT, zlib.compress(TEXT)[2:]])
def test_what_cannot_be_read_is_an_error(broken):
    with pytest.raises(ValueError, match="compressed data that cannot be read"):
        inflated(broken)


def test_a_bit_that_has_changed_is_found():
    """The sum at the end tells, where the format itself does not."""
    made = bytearray(zlib.compress(b"abcdefgh", 0))
    made[-6] ^= 1
    with pytest.raises(ValueError, match="compressed data that cannot be read"):
        inflated(bytes(made))
