"""How alike two vectors are."""

import array
import math
import sys
from operator import mul


def likeness(one: bytes, other: bytes) -> float:
    """Return the cosine of two vectors, little-endian float32; -1 for vectors that cannot be compared."""
    a, b = _read(one), _read(other)
    lengths = math.sqrt(_product(a, a) * _product(b, b))
    if len(a) != len(b) or not lengths:
        return -1.0
    return min(1.0, _product(a, b) / lengths)


def _product(one: "array.array[float]", other: "array.array[float]") -> float:
    return float(sum(map(mul, one, other)))


def _read(vector: bytes) -> "array.array[float]":
    read = array.array("f", vector)
    if sys.byteorder == "big":
        read.byteswap()
    return read
