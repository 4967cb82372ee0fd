"""One request and what is known about it: who asks, what for, and what has become of it."""

from dataclasses import dataclass, field

from antiphon.cache.controls import PLAIN, Controls
from antiphon.cache.key import CacheKey
from antiphon.dialects.dialect import Dialect
from antiphon.dialects.native import NativeRequest
from antiphon.ports.reply import Reply
from antiphon.recording import Mode
from antiphon.routing.names import Target


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a request belongs to."""

    name: str = ""
    project: str = ""


ANYBODY = Owner()
"""The owner where no keys are configured."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The form in which an answer was asked for."""

    mode: Mode
    include_usage: bool = False


@dataclass(slots=True, eq=False)
class Turn:
    """One request and its answer."""

    request_id: str
    owner: Owner
    dialect: Dialect
    route: str
    request: NativeRequest
    target: Target
    asked: Asked
    reply: Reply
    received_at: float
    """Monotonic seconds."""
    response_id: bytes = b""
    """The id minted for this answer, where the dialect has stored responses."""
    keeps: bool = False
    """Whether the answer is to be kept for retrieval."""
    controls: Controls = PLAIN
    key: CacheKey | None = None
    result: str = "off"
    """What the cache did: hit, miss, collapsed, bypass, off."""
    detail: str = ""
    first_byte_at: float = 0.0
    pays: bool = field(default=False)
    """Whether the upstream was asked for this turn."""
