"""How fast a recording is replayed: what `X-Antiphon-Replay` and a playback provider's `pace` say."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.wire.errors import ClientFault

HEADER = "X-Antiphon-Replay"
MIN_SPEED, MAX_SPEED = 0.01, 1000.0
MIN_RATE, MAX_RATE = 0.1, 100_000.0

_SPEED = re.compile(r"x(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/s", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pace:
    """A multiple of the recorded speed, or else a number of frames per second."""

    speed: float = math.inf
    rate: float | None = None

    @property
    def is_instant(self) -> bool:
        """Whether every frame is due at once."""
        return self.rate is None and math.isinf(self.speed)

    def due(self, recording_times: Sequence[int], index: int) -> float:
        """Return the seconds from the start of the replay until frame `index` is due.

        `recording_times` are microseconds since the request was sent, so the wait for the first frame is
        replayed too; at a rate the first frame is due at once.
        """
        if self.rate is not None:
            return index / self.rate
        return recording_times[index] / 1e6 / self.speed


INSTANT = Pace()
RECORDED = Pace(speed=1.0)


def parse_pace(text: str) -> Pace:
    """Read `instant`, `recorded`, `x2` or `50/s`. Raises ClientFault."""
    text = text.strip().lower()
    if text == "instant":
        return INSTANT
    if text == "recorded":
        return RECORDED
    if found := _SPEED.fullmatch(text):
        return Pace(speed=_within(float(found[1]), MIN_SPEED, MAX_SPEED, text))
    if found := _RATE.fullmatch(text):
        return Pace(rate=_within(float(found[1]), MIN_RATE, MAX_RATE, text))
    raise _fault(f"{text[:40]!r} is no pace; write `instant`, `recorded`, `x2` or `50/s`.")


def _within(value: float, least: float, most: float, text: str) -> float:
    if least <= value <= most:
        return value
    raise _fault(f"{text!r} is out of bounds: {least:g} to {most:g} are possible.")


def _fault(message: str) -> ClientFault:
    return ClientFault(message, code="invalid_value", param=HEADER)
