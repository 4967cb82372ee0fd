"""One request and what is known about it: who asks, what for, and what has become of it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from antiphon.cache.changes import UNKNOWN
from antiphon.cache.controls import PLAIN, Controls
from antiphon.cache.entry import Entry
from antiphon.cache.key import CacheKey
from antiphon.dialects.dialect import Dialect
from antiphon.dialects.native import NativeRequest
from antiphon.engine.carriage import Carriage
from antiphon.engine.keeping import Keeping
from antiphon.engine.live import LiveRecording
from antiphon.engine.per_item.items import Items
from antiphon.engine.semantic.question import Question
from antiphon.engine.variant import NO_VARIANT, Variant
from antiphon.ports.reply import Reply
from antiphon.recording import Mode
from antiphon.recording.pace import INSTANT, Pace
from antiphon.routing.names import Target
from antiphon.turn.history import Context
from antiphon.turn.usage import NO_USAGE, Usage

_PREFIX: Final = b"resp_"
_SECRET_BYTES: Final = 20
_CHECK_BYTES: Final = 4
"""Of an id's 48 digits the last eight follow from the others."""


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
    open_names: bool = False
    """Whether raw reasoning is told under the event names of Open Responses."""


@dataclass(slots=True, eq=False)
class Ask:
    """What a request means. The same bytes from the same owner always mean the same."""

    owner: Owner
    dialect: Dialect
    route: str
    """The upstream's path: `/chat/completions`."""
    request: NativeRequest
    target: Target
    asked: Asked
    variant: Variant = NO_VARIANT
    upstream_dialect: str | None = None
    """What the upstream is asked in, where that is another dialect than the client's."""


@dataclass(slots=True, eq=False)
class Turn:
    """One request and its answer."""

    ask: Ask
    request_id: bytes
    reply: Reply
    received_at: float
    """Monotonic seconds."""
    response_id: bytes = b""
    """The id minted for this answer, where the dialect has stored responses."""
    keeps: bool = False
    """Whether the answer is to be kept for retrieval."""
    keeping: Keeping | None = None
    """The answer on its way to storage, where its end is not to be told before it is there."""
    is_kept_by_run: bool = False
    """Whether it has become a run, which keeps it and adds it to its conversation."""
    carriage: Carriage | None = None
    """Where the answer goes on that its upstream carries; without it no upstream is asked to."""
    is_for_chains: bool = False
    """Whether the answer may be continued later, and so has to bring what that needs."""
    context: Context | None = None
    """What the request has referred to, resolved; None: it stands alone."""
    is_kept_upstream: bool = False
    """Whether the provider keeps the response itself."""
    controls: Controls = PLAIN
    pace: Pace = INSTANT
    key: CacheKey | None = None
    as_of: int = UNKNOWN
    """The latest change of the cache that was known when it began to be produced."""
    era: int = 0
    """The latest change of more than one answer that was known then."""
    entry: Entry | None = None
    """What was found under the key, whether it answers or not."""
    result: str = "off"
    """What the cache did: hit, stale, partial, miss, collapsed, bypass, refresh, off."""
    detail: str = ""
    stand_in: "StandIn | None" = None
    """Answers it from an expired entry, where its upstream fails before it has begun to answer."""
    question: Question | None = None
    """What is looked for by its meaning."""
    similarity: float = 0.0
    """How alike the request was whose answer this is, where it was not this one's."""
    first_byte_at: float = 0.0
    items: Items | None = None
    """Where each item of the request has a cache entry of its own: these."""
    fetch: "Fetch | None" = None
    """Asks the upstream for part of the answer, where it is not asked what the client has asked."""
    saved: Usage = NO_USAGE
    """What part of the answer's usage no upstream was asked for, although it was for the rest."""
    pays: bool = False
    """Whether the upstream was asked for this turn."""

    @property
    def is_replay(self) -> bool:
        """Whether the answer had been recorded before this turn."""
        return self.result in REPLAYS


REPLAYS: Final = frozenset({"hit", "stale", "semantic"})
"""Results of turns that are answered from an entry of the cache."""

Fetch = Callable[[LiveRecording], None]
"""Asks the upstream for what is to be recorded."""
StandIn = Callable[[Turn, Entry, int, str], bool]
"""(turn, expired entry, status and code of the upstream's failure) -> whether the entry answers."""


def mint_response_id() -> bytes:
    """Return an id that nobody can guess, and that `is_minted` knows."""
    secret = secrets.token_hex(_SECRET_BYTES).encode()
    return _PREFIX + secret + _check(secret)


def is_minted(response_id: str) -> bool:
    """Whether an id is one that a gateway like this has made: those of providers are not, as far as chance goes.

    It proves nothing about who made it, or that there is such a response.
    """
    digits = response_id.encode(errors="replace").removeprefix(_PREFIX)
    secret, check = digits[: 2 * _SECRET_BYTES], digits[2 * _SECRET_BYTES :]
    return response_id.startswith(_PREFIX.decode()) and check == _check(secret)


def _check(secret: bytes) -> bytes:
    return blake2b(secret, digest_size=_CHECK_BYTES, person=b"antiphon").hexdigest().encode()
