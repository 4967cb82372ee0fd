"""`reasoning_details`, OpenRouter's form of reasoning that later turns give back to the model.

Pieces come as deltas: text and summaries add up, signatures and encrypted data stand as they are. What holds a
signature or data must be given back whole, or the model refuses to go on.
"""

from typing import Any, Final

from antiphon.wire.objects import JsonObject

_GROWING: Final = ("text", "summary")
_KEPT: Final = ("signature", "data")


class ReasoningDetails:
    """The details of one answer, as far as they have come."""

    def __init__(self) -> None:
        """Begin with none."""
        self._details: list[JsonObject] = []

    def add(self, pieces: list[Any]) -> None:
        """Take pieces; one of the same kind and place as the last goes on with it."""
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            last = self._details[-1] if self._details else None
            if last is not None and _goes_on(last, piece):
                _merge(last, piece)
            else:
                self._details.append(dict(piece))

    def take_kept(self) -> list[JsonObject]:
        """Return all details if any of them must be given back, once."""
        details = self._details
        if not any(detail.get(name) for detail in details for name in _KEPT):
            return []
        self._details = []
        return details


def _goes_on(last: JsonObject, piece: JsonObject) -> bool:
    same = all(last.get(name) == piece.get(name) for name in ("type", "index"))
    return same and piece.get("id") in (None, last.get("id"))


def _merge(last: JsonObject, piece: JsonObject) -> None:
    for name, value in piece.items():
        if name in _GROWING and isinstance(value, str) and isinstance(last.get(name), str):
            last[name] += value
        elif value is not None:
            last[name] = value
