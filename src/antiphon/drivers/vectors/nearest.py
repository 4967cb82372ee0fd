"""From rows of a database to the nearest texts, whichever database it is."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from antiphon.drivers.rows import plain_text
from antiphon.drivers.vectors.codes import Floats, code_of, likenesses, packed, unit
from antiphon.ports.vectors import Neighbour, Placed

_log = logging.getLogger(__name__)

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


def row_of(placed: Placed) -> tuple[bytes, bytes, bytes, bytes, str, float] | None:
    """Return partition, digest, code, vector, text and expiry as they are kept; None: its vector cannot be compared."""
    try:
        vector = unit(placed.vector)
    except ValueError:
        _log.warning("an embeddings model returned a vector without a direction: it is not kept")
        return None
    code, text = code_of(vector), plain_text(placed.text)
    return placed.partition, placed.digest, code, packed(vector), text, placed.expires_at


def size_of(placed: Placed) -> int:
    """Return about how many bytes a row takes while it waits to be written."""
    return len(placed.text) + 3 * len(placed.vector) // 4


def unpacked(vector: bytes) -> bytes:
    """Return a packed vector as `ports.vectors` has it."""
    return np.frombuffer(vector, "<f2").astype("<f4").tobytes()
