"""The port to runs: the execution of answers that must survive their process, and the log of their events.

A run is written by one worker at a time, the one whose lease has the latest epoch. Every write names the epoch and
the number of the last event that its writer knows; a write that names others is *fenced*: it changes nothing.

    queued --claim--> in_progress --append(status), end--> completed | incomplete | failed | cancelled --settle--> gone
      ^                    |
      +------restart-------+   without what its worker has written, if nobody was promised that;
                               or with all of it, where its upstream carries on
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from antiphon.ports.stores import KeptResponse
from antiphon.turn.history import Context

ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""States that never change."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Where an upstream carries an answer in its own background mode, whoever listens."""

    provider: str
    response_id: str
    """The upstream's."""
    last_seq: int
    """The upstream's number of the last event that is in the log; -1: none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How much of everything there may be, over all workers; None is without bound."""

    in_progress_per_owner: int | None = None
    queued: int | None = None
    queued_per_owner: int | None = None


UNLIMITED: Final = RunLimits()


class QueueFull(Exception):
    """As many runs wait as may."""

    def __init__(self, *, is_owners: bool) -> None:
        """Say whose bound it is: the owner's, or that of all."""
        super().__init__("the owner's runs" if is_owners else "the runs of all owners")
        self.is_owners = is_owners


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that is accepted."""

    id: str
    """The id of its response."""
    owner: str
    request: bytes
    """What is needed to ask for the answer, beside `context`; opaque to the store."""
    context: Context
    frames: Sequence[bytes]
    """The first events."""
    begun: Sequence[bytes] = ()
    """Those that follow if it is begun at once."""
    notices: Sequence[tuple[str, str]] = ()
    """Webhooks that are told when it has ended: the id of each notice, and the name of who is told."""
    is_public: bool
    """Whether its events, and not only its answer, are promised to somebody: then none may be taken back."""
    is_shown: bool = False
    """Whether something of the answer is among `frames`: then nobody begins it again."""
    priority: int = 0
    """The highest is claimed first."""
    created_at: float
    """Seconds since the epoch."""
    queue_deadline: float
    """When it is too late to begin it."""
    deadline: float
    """When it is too late to finish it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a run."""

    run_id: str
    owner: str
    epoch: int
    last_seq: int
    """The number of the last event in the log."""
    attempt: int
    """1 for the first."""
    created_at: float
    deadline: float
    request: bytes
    history: bytes | None
    """The last item of what the model is to be shown."""
    carried: Carried | None = None
    """Where the answer goes on that an earlier worker has asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Events that a worker adds to its run."""

    run_id: str
    epoch: int
    last_seq: int
    """The number of the event before the first of `frames`."""
    frames: Sequence[bytes]
    times: Sequence[int]
    """Microseconds since the run was created."""
    status: str | None = None
    """How the run has ended, if it has."""
    is_shown: bool = False
    """Whether something of the answer is among `frames`."""
    has_effect: bool = False
    """Whether something was done that must not be done twice."""
    carried: Carried | None = None
    """Where the upstream's answer stands after `frames`, if it carries it."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands."""

    status: str
    epoch: int
    last_seq: int
    created_at: float
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class StaleRun:
    """A run that somebody has to decide about."""

    id: str
    owner: str
    state: RunState
    attempt: int
    is_shown: bool
    is_public: bool
    has_effect: bool
    why: str
    """`lease`: its worker is gone; `released`: its worker has let it go; `queue_deadline`, `deadline`: it is too
    late; `ended`: it is not settled yet."""


@dataclass(slots=True)
class Page:
    """Events of a run's log."""

    frames: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    state: RunState | None = None
    """None: there is no such run, or not any more."""


class RunStore(Protocol):
    """Runs of all workers. Everything that is awaited raises StoreFault when storage is gone."""

    def enter(self) -> str:
        """Name a worker of this process, which begins now. Where the store can, it sees at once when the process dies."""

    def leave(self, worker: str) -> None:
        """The worker works no more: whatever it holds may be taken over."""

    async def create(self, new: NewRun, worker: str | None, limits: RunLimits = UNLIMITED) -> Lease | None:
        """Accept a run: it is on disk when this returns.

        `worker`, if given, has it from the beginning, unless its owner has enough in progress or something that
        could be claimed is as urgent; what is shown already always begins. The lock of the conversation that its
        context names, which it holds, lasts from now on as long as the run. Raises QueueFull if it would have to wait
        and must not.
        """

    async def claim(self, worker: str, limit: int, limits: RunLimits = UNLIMITED) -> list[Lease]:
        """Take up to `limit` queued runs: the most urgent, and of these by turns one of each owner, the oldest first.

        No owner has more in progress than `limits` say.
        """

    async def mine(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Return which of the runs, by id and epoch, are still held: cheaper than `renew`, and prolongs nothing."""

    async def renew(self, held: Sequence[tuple[str, int]]) -> set[str]:
        """Prolong the leases of runs, by id and epoch, and return those that are still held."""

    async def append(self, appends: Sequence[Append]) -> list[bool]:
        """Add events; False where the writer is fenced. Prolongs the leases.

        What ends a run as completed or incomplete adds its input and output to its conversation as well.
        """

    async def release(self, held: Sequence[tuple[str, int]]) -> None:
        """Let runs go, by id and epoch, as if their leases had run out: they are stale at once."""

    async def end(
        self, run_id: str, status: str, frames: Sequence[bytes] = (), expected: RunState | None = None
    ) -> bool:
        """End somebody else's run, in a new epoch; False if it has moved on from what was `expected`, or has ended."""

    async def restart(self, run_id: str, state: RunState, keep: int) -> bool:
        """Queue a run again with its first `keep` events, in a new epoch.

        False if it has moved on from `state`, or if others of its events are promised to somebody.
        """

    async def stale(self, limit: int) -> list[StaleRun]:
        """Return runs whose worker is gone, that are too late, or that have ended and are not settled."""

    async def state(self, run_id: str, owner: str) -> RunState | None:
        """Return where the owner's run stands; None once it is settled."""

    async def shown(self, run_id: str, owner: str) -> bytes | None:
        """Return the last item of what the owner's run is shown, "" if that is nothing; None: there is no such run."""

    async def read(self, run_id: str, after: int) -> Page:
        """Return the events after the number `after`, and where the run stands."""

    async def read_many(self, wanted: Sequence[tuple[str, int]]) -> list[Page]:
        """Do the same for several runs at once, each with a number of its own."""

    async def publish(self, run_id: str) -> None:
        """Promise the events of a run to somebody: from now on none is taken back."""

    async def settle(self, kept: KeptResponse) -> bool:
        """Put the answer of an ended run where kept responses are, in place of its log; False if it is gone."""

    async def delete(self, run_id: str, owner: str) -> bool:
        """Forget the owner's run, whatever its state."""

    async def queued(self) -> int:
        """Return how many runs wait."""

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that others have written to, or with none where any may have moved on.

        A call may come in vain, or be missed. Never returns.
        """
