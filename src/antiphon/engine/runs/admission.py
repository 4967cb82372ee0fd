"""Which runs are admitted, and how urgent they are."""

import re
from collections.abc import Mapping
from typing import Final

from antiphon.ports.runs import QueueFull, RunLimits
from antiphon.settings import Background
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members

_HEADER: Final = b"x-antiphon-priority"
_MOST: Final = 10
_NUMBER: Final = re.compile(r"-?\d{1,2}", re.ASCII)
_TIERS: Final = {b'"priority"': 1, b'"flex"': -1}
_RETRY_SECONDS: Final = b"5"


def priority_of(headers: Mapping[bytes, bytes], members: Members) -> int:
    """Return how urgent a request is: as its header says, or as its `service_tier` does. Raises ClientFault."""
    told = headers.get(_HEADER)
    if told is None:
        return _TIERS.get(bytes(members.get("service_tier", b"")), 0)
    text = told.decode("latin-1")
    if not _NUMBER.fullmatch(text) or abs(int(text)) > _MOST:
        raise ClientFault(
            f"'X-Antiphon-Priority' is an integer from -{_MOST} to {_MOST}.", code="invalid_value"
        )
    return int(text)


def limits_of(settings: Background) -> RunLimits:
    """Return the bounds that are set."""
    return RunLimits(
        in_progress_per_owner=settings.concurrency_per_key,
        queued=settings.max_queued,
        queued_per_owner=settings.max_queued_per_key,
    )


def refused(full: QueueFull) -> ClientFault:
    """Return the fault that tells a client that too many runs wait."""
    whose = "of this key " if full.is_owners else ""
    return ClientFault(
        f"Too many background answers {whose}wait to be begun.",
        code="rate_limit_exceeded",
        status=429,
        kind="requests",
        headers=((b"retry-after", _RETRY_SECONDS),),
    )
