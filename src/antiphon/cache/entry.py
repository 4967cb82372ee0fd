"""A cache entry, and whether it may answer a request now."""

from dataclasses import dataclass, field
from enum import StrEnum

from antiphon.cache.controls import Controls
from antiphon.cache.lifetimes import NONE, Lifetime, revalidation_window
from antiphon.recording import Outcome, Recording, State

_OVERHEAD_BYTES = 1024
STALE_SECONDS = 3600.0
"""Expired entries stay at least this long for requests that accept stale answers."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry came from: what it is selected by, beside its key."""

    scope: str = ""
    """Who shares it: `key:alice`, `project:search`, or "" for all."""
    target: str = ""
    """`provider/model`."""
    model: str = ""
    """The name that the first client used."""
    prompt: str = ""
    """How the prompt begins."""


NOWHERE = Origin()


@dataclass(slots=True, eq=False)
class Entry:
    """A complete recording, found under the key of the request that it answered."""

    digest: bytes
    identity: bytes
    """What the digest stands for; compared on every look-up."""
    recording: Recording
    public_id: str
    """The response id that the first client saw, "" in dialects without stored responses."""
    echo: dict[str, bytes]
    """Members of the first request that its answer echoes, as JSON."""
    stored_at: float
    expires_at: float
    tags: tuple[str, ...] = ()
    origin: Origin = NOWHERE
    keep_until: float = 0.0
    """How long it is kept at least, stale or not; seconds since the epoch."""
    is_pinned: bool = False
    """Whether it stays until it is purged: it does not expire, and makes no room for others."""
    shown_key: bytes = b""
    """The digest as clients are shown it."""
    renditions: dict[object, object] = field(default_factory=dict)
    """Forms made for replays, by whoever replays; dropped with the entry."""
    rendition_bytes: int = 0
    is_current: bool = False
    """Whether it is in the memory of this process: whoever holds one that is not must look again."""

    def __post_init__(self) -> None:
        """Write the digest as text once."""
        self.shown_key = self.digest.hex().encode()

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return self.recording.size + len(self.identity) + self.rendition_bytes + _OVERHEAD_BYTES


class Verdict(StrEnum):
    """The states of a look-up."""

    HIT = "hit"
    REFRESH = "refresh"
    """There is one that has expired: it answers, and a fresh one is to be fetched."""
    MISS = "miss"
    STALE = "stale"
    """There is one, but it has expired."""
    REQUEST = "request"
    """There is a fresh one, but the request does not want it."""

    @property
    def answers(self) -> bool:
        """Whether the entry answers."""
        return self is Verdict.HIT or self is Verdict.REFRESH

    @property
    def reason(self) -> str:
        """Why the upstream is asked, where it is not just that nothing is there: `stale`, `request`, or ""."""
        return self.value if self is Verdict.STALE or self is Verdict.REQUEST else ""


def judge(entry: Entry | None, controls: Controls, now: float, lifetime: Lifetime = NONE) -> Verdict:
    """Say whether `entry` may answer, as RFC 9111 section 4.2 and 5.2.1 and RFC 5861 section 3 have it.

    `lifetime` is that of the asked model.
    """
    if entry is None:
        return Verdict.MISS
    if controls.max_age is not None and now - entry.stored_at > controls.max_age:
        return Verdict.REQUEST
    remaining = entry.expires_at - now
    if remaining <= 0:
        staleness = -remaining
        if (window := revalidation_window(controls, lifetime)) > 0 and staleness <= window:
            return Verdict.REFRESH
        return Verdict.HIT if controls.max_stale > 0 and staleness <= controls.max_stale else Verdict.STALE
    return Verdict.HIT if remaining >= controls.min_fresh else Verdict.REQUEST


def is_storable(outcome: Outcome, *, limited: bool) -> bool:
    """Whether an answer may be served again. `limited`: the request itself had set a token limit."""
    if outcome.state is State.COMPLETED:
        return True
    return outcome.state is State.INCOMPLETE and outcome.reason == "max_output_tokens" and limited
