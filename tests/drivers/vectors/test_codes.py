"""Signs of vectors, compared in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.drivers.vectors.codes import Codes, Partitions, code_of, likenesses, packed, unit

WORDS = 2
BITS = st.lists(st.binary(min_size=8 * WORDS, max_size=8 * WORDS), min_size=1, max_size=200)


def apart(one, other):
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).bit_count()


@given(
    BITS, st.binary(min_size=8 * WORDS, max_size=8 * WORDS), st.integers(1, 40), st.sets(st.integers(1, 200))
)
def test_those_that_differ_in_the_fewest_bits_are_found(given_bits, asked, limit, gone):
    codes = Codes(WORDS)
    rows = list(enumerate(given_bits, 1))
    for start in range(0, len(rows), 70):
        codes.add(rows[start : start + 70])
    codes.drop(gone)
    left = [(number, bits) for number, bits in rows if number not in gone]
    found = codes.nearest(asked, limit)
    distances = {number: apart(bits, asked) for number, bits in left}
    assert len(set(found)) == len(found) == min(limit, len(left)) == min(limit, len(codes))
    assert sorted(distances[number] for number in found) == sorted(distances.values())[: len(found)]


def test_codes_of_another_length_are_left_out():
    codes = Codes(WORDS)
    codes.add([(1, bytes(8)), (2, bytes(16))])
    assert (len(codes), codes.last) == (1, 2)
    assert codes.nearest(bytes(8), 5) == []


def test_a_vector_is_packed_without_losing_what_counts():
    random = np.random.default_rng(3)
    one, other = (unit(random.standard_normal(384).astype("<f4").tobytes()) for _ in range(2))
    assert likenesses(one, [packed(one), packed(other)]) == pytest.approx([1.0, float(one @ other)], abs=1e-3)
    assert likenesses(one, [packed(one), packed(one[:64])]) == pytest.approx([1.0, -1.0], abs=1e-3)
    assert likenesses(one, []) == []
    assert len(code_of(one)) == 48
    assert len(code_of(one[:65])) == 16


def test_partitions_make_room_but_for_the_one_that_is_asked():
    partitions = Partitions(1)
    for name in (b"a", b"b"):
        codes = partitions.of(name, WORDS)
        partitions.add(codes, [(1, bytes(16))])
    assert len(partitions.of(b"b", WORDS)) == 1
    assert len(partitions.of(b"a", WORDS)) == 0
    assert len(partitions.of(b"b", 3)) == 0  # vectors of another length
