"""Faults that are put into an answer on purpose, so that a program can be watched when its upstream fails.

Written `break@3`, `stall@3`, `end@3` or `503`; with the number of a request in front, `2:break@3`, only for that one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

_FAULT: Final = re.compile(r"(?:(\d{1,9}):)?(?:(break|stall|end)@(\d{1,9})|([45]\d\d))", re.ASCII)
_NAMES: Final = {429: ("rate_limit_error", "rate_limit_exceeded")}
_TOO_MANY: Final = 429
_SERVER_FAULT: Final = 500


class Kind(StrEnum):
    """How an answer goes wrong."""

    BREAK = "break"
    """The connection is gone after so many frames."""
    STALL = "stall"
    """Nothing more comes after so many frames, and the connection stays."""
    END = "end"
    """The answer ends after so many frames as if it were whole."""
    STATUS = "status"
    """Another status in place of the answer."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault."""

    kind: Kind
    frames: int = 0
    status: int = 0
    request: int | None = None
    """Counted from 1; None: every one."""

    def body(self) -> bytes:
        """Return what comes with a status."""
        is_ours = self.status < _SERVER_FAULT
        kind, code = _NAMES.get(
            self.status, ("invalid_request_error", "planned_fault") if is_ours else ("server_error",) * 2
        )
        message = f"The status {self.status} was planned for this request."
        return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return what comes with a status beside its type and body."""
        return ((b"retry-after", b"0"),) if self.status == _TOO_MANY else ()


def parse_fault(text: str) -> PlannedFault:
    """Read a fault. Raises ValueError."""
    found = _FAULT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no fault; write break@3, stall@3, end@3 or 503, and 2: in front")
    request = int(found[1]) if found[1] else None
    if found[4]:
        return PlannedFault(Kind.STATUS, status=int(found[4]), request=request)
    return PlannedFault(Kind(found[2]), frames=int(found[3]), request=request)


def fault_for(number: int, faults: Sequence[PlannedFault]) -> PlannedFault | None:
    """Return the fault of a request: what names it goes before what is for all."""
    own = (fault for fault in faults if fault.request == number)
    return next(own, None) or next((fault for fault in faults if fault.request is None), None)
