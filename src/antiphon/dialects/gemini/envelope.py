"""What Gemini wants back in a later turn, as a reasoning item's envelope carries it.

A thought signature belongs to one part of an answer: a call, a text, a thought. It may come with the part, or in an
empty text after it. An envelope holds the parts that are to be given back as they are, in their place, and the
signatures of parts that other items will become again.
"""

from typing import Any

import msgspec

from antiphon.turn.events import Item


class Signature(msgspec.Struct, omit_defaults=True):
    """The signature of a part that follows the reasoning item."""

    of: str
    """The part's own member: `functionCall`, `text`, `executableCode`, …"""
    signature: str
    call_id: str = ""
    """Which call, where it is one."""


class Envelope(msgspec.Struct, omit_defaults=True):
    """What one reasoning item keeps."""

    parts: list[Item] = []
    """Parts to be given back in this place; a signed thought stands without its text, which the item has."""
    next: list[Signature] = []

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.parts or self.next)

    def payload(self) -> Any:
        """Return it as plain JSON values."""
        return msgspec.to_builtins(self)


def read_envelope(payload: Any) -> Envelope:
    """Read an opened envelope; one of another kind holds nothing."""
    try:
        return msgspec.convert(payload, Envelope)
    except msgspec.ValidationError:
        return Envelope()
