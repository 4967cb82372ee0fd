"""From rows of a database to the nearest texts, whichever database it is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from antiphon.drivers.vectors.codes import Floats, likenesses
from antiphon.ports.vectors import Neighbour

COMPARED = 128
"""Of those nearest by their bits, so many are compared by their vectors."""


class NearRow(NamedTuple):
    """A row, as both drivers read it."""

    number: int
    digest: bytes
    text: str
    vector: bytes


def ranked(rows: Iterable[NearRow], asked: Floats, limit: int) -> list[Neighbour]:
    """Return the nearest of some rows, nearest first."""
    rows = list(rows)
    found = likenesses(asked, [row.vector for row in rows])
    near = [Neighbour(row.digest, row.text, likeness) for row, likeness in zip(rows, found, strict=True)]
    near.sort(key=lambda each: each.similarity, reverse=True)
    return near[:limit]


def without(near: Sequence[Neighbour], digest: bytes, similarity: float) -> list[Neighbour]:
    """Return those that are at least so near, without one."""
    return [each for each in near if each.digest != digest and each.similarity >= similarity]


def storable(text: str) -> str:
    """Return a text without what is no character, and without what PostgreSQL takes in no text."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


def unpacked(vector: bytes) -> bytes:
    """Return a packed vector as `ports.vectors` has it."""
    return np.frombuffer(vector, "<f2").astype("<f4").tobytes()
