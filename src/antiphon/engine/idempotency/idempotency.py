"""Requests with an idempotency key: whoever comes first is answered, all others are told the same.

    unknown here --claim--> ours: the request is handled, its answer recorded and followed
                    |       ended: the outcome is told
                    |       another process is at it: its outcome is waited for
                    |       another request's: refused
    ours --answered--> noted in storage --> unknown here

While a claim is looked for, or held, equal requests of this process follow the same recording. Every claim has a
lease, so that a process that dies does not keep it; whoever takes it over looks first whether the response that it
was to have is there.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from antiphon.engine.idempotency.keeping import Deed, deed_of
from antiphon.engine.idempotency.recorded import Follower, RecordedReply
from antiphon.engine.refusals import internal_error
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import mint_response_id
from antiphon.engine.waking import woken
from antiphon.ports.idempotency import Claimed, ClaimStore, Ended, Held, Reused
from antiphon.ports.reply import Reply
from antiphon.settings import Idempotency as Settings
from antiphon.wire.errors import ClientFault, GatewayError, StoreFault

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_COME_BACK: Final = (b"retry-after", b"5")
_PARAM: Final = "Idempotency-Key"


class Find(Protocol):
    """Tells what an earlier attempt has left, or where it is."""

    async def __call__(self, reply: Reply, answer_id: str, *, is_under_way: bool) -> bool:
        """Tell the response with this id, if it is there; one that is under way only where it can be followed.

        Raises StoreFault.
        """


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request with an idempotency key."""

    identity: bytes
    """A digest of who asks and of the key."""
    fingerprint: bytes
    """A digest of what is asked."""
    handle: Callable[[Reply, Claimed], None]
    """Answers it."""
    find: Find
    refuse: Callable[[Reply, GatewayError], None]
    """Tells a fault in the client's dialect."""
    size: int
    """Bytes that it keeps in memory."""


@dataclass(slots=True, eq=False)
class _Live:
    """A request whose outcome is not in storage yet."""

    keyed: Keyed
    recorded: RecordedReply
    answer_id: str
    """For the first who holds the claim."""
    give_up_at: float
    """When others have been waited for long enough."""
    pause: float = _SHORTEST_PAUSE
    is_held: bool = False
    is_outcome: bool = True
    """Whether what it is answered with says anything about the request itself."""
    is_given_up: bool = False
    """Whether its claim is being released, since it was not done: the next request is another attempt."""
    noted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when storage knows what has become of it."""


class Idempotency:
    """All requests of this process that have an idempotency key."""

    def __init__(
        self,
        store: ClaimStore,
        tasks: Tasks,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep claims in `store`; `clock` is monotonic."""
        self._store = store
        self._tasks = tasks
        self._settings = settings
        self._clock = clock
        self._live: dict[bytes, _Live] = {}
        self._is_ending = False
        self._emptied = asyncio.Event()
        self.replayed = 0
        """Requests that were told what an earlier one was answered with."""

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return len(self._live)

    @property
    def size(self) -> int:
        """Bytes of requests and answers that are in memory."""
        return sum(live.keyed.size + live.recorded.size for live in self._live.values())

    def start(self) -> None:
        """Begin to prolong what is held."""
        self._tasks.start(self._prolong(), "prolong idempotency keys")

    async def finish(self, seconds: float) -> None:
        """Wait until all outcomes are noted, but no longer than `seconds`: those too whose clients have left."""
        deadline = self._clock() + seconds
        while self._live and (left := deadline - self._clock()) > 0:
            await woken(self._emptied, left)

    def break_off(self) -> None:
        """What ends from now on does so because the process stops: that is nobody's outcome."""
        self._is_ending = True

    def answer(self, keyed: Keyed, reply: Reply) -> None:
        """Answer a request. Raises GatewayError; faults that come later reach the reply."""
        live = self._live.get(keyed.identity)
        if live is None or live.is_given_up:
            self._begin(keyed, reply, live)
        elif live.keyed.fingerprint != keyed.fingerprint:
            raise _reused()
        elif not live.recorded.may_be_joined:
            raise _not_kept()
        else:
            self.replayed += 1
            live.recorded.follow(reply, is_late=True)

    def _begin(self, keyed: Keyed, reply: Reply, earlier: _Live | None) -> None:
        if self.size > self._settings.max_live_bytes:
            raise GatewayError(
                "Too much is under way for requests with an idempotency key.",
                code="idempotency_busy",
                status=503,
                headers=(_COME_BACK,),
            )
        recorded = RecordedReply(self._settings.max_entry_bytes, lambda: self._over(live))
        live = self._live[keyed.identity] = _Live(
            keyed, recorded, mint_response_id().decode(), self._clock() + self._settings.wait
        )
        recorded.follow(reply)
        self._tasks.start(
            self._claim(live, earlier),
            "claim an idempotency key",
            on_death=lambda: self._refuse(live, internal_error()),
        )

    async def _claim(self, live: _Live, earlier: _Live | None) -> None:
        """Find out what there is to be told, and tell it, or let it be made; after `earlier` was released."""
        try:
            if earlier is not None:
                async with asyncio.timeout(self._settings.wait):
                    await earlier.noted.wait()
            while not await self._is_settled(live):
                if self._clock() >= live.give_up_at or not live.recorded.followers:
                    raise _outstanding()
                await asyncio.sleep(live.pause)
                live.pause = min(live.pause * 1.5, _LONGEST_PAUSE)
        except GatewayError as fault:
            self._refuse(live, fault)
        except TimeoutError:
            self._refuse(live, _outstanding())

    async def _is_settled(self, live: _Live) -> bool:
        """Look once; returns whether the answer is told, or made, from now on. Raises GatewayError."""
        keyed, recorded = live.keyed, live.recorded
        found = await self._store.claim(
            keyed.identity, keyed.fingerprint, live.answer_id, self._settings.lease
        )
        match found:
            case Claimed():
                live.is_held = True
                if not (found.is_again and await self._finds(live, found.answer_id, is_under_way=False)):
                    keyed.handle(recorded, found)
                return True
            case Ended():
                if found.outcome is None:
                    raise _not_kept()
                self._mark(live)
                recorded.tell(found.outcome)
                return True
            case Held():
                return await self._finds(live, found.answer_id, is_under_way=True)
            case Reused():
                raise _reused()

    async def _finds(self, live: _Live, answer_id: str, *, is_under_way: bool) -> bool:
        """Tell what an earlier attempt has left, if it has left anything. Raises GatewayError."""
        marked = self._mark(live)
        if await live.keyed.find(live.recorded, answer_id, is_under_way=is_under_way):
            return True
        self._unmark(marked)
        return False

    def _mark(self, live: _Live) -> list[Follower]:
        """What is told now was made for an earlier request."""
        marked = [follower for follower in live.recorded.followers if not follower.is_late]
        for follower in marked:
            follower.is_late = True
        self.replayed += len(marked)
        return marked

    def _unmark(self, followers: list[Follower]) -> None:
        for follower in followers:
            follower.is_late = False
        self.replayed -= len(followers)

    def _refuse(self, live: _Live, fault: GatewayError) -> None:
        """Say something that is no outcome of the request."""
        live.is_outcome = False
        self._unmark([follower for follower in live.recorded.followers if follower.is_late])
        live.keyed.refuse(live.recorded, fault)

    # When it has been answered.

    def _over(self, live: _Live) -> None:
        recorded, identity = live.recorded, live.keyed.identity
        if not live.is_held:
            self._forget(live)
            return
        outcome = recorded.outcome
        deed = Deed.PERHAPS
        if recorded.state == "ended" and live.is_outcome and not self._is_ending:
            deed = Deed.DONE if outcome is None else deed_of(outcome)
        if deed is Deed.DONE:
            self._store.finish(identity, outcome, lambda: self._forget(live))
        else:
            live.is_given_up = True
            self._store.release(identity, lambda: self._forget(live), was_begun=deed is not Deed.NOT_BEGUN)

    def _forget(self, live: _Live) -> None:
        live.noted.set()
        if self._live.get(live.keyed.identity) is live:
            del self._live[live.keyed.identity]
        if not self._live:
            self._emptied.set()

    async def _prolong(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            held = [identity for identity, live in self._live.items() if live.is_held]
            if not held:
                continue
            try:
                await self._store.prolong(held, self._settings.lease)
            except StoreFault as fault:
                _log.warning("idempotency keys are not prolonged: %s", fault.message)


def _reused() -> ClientFault:
    return ClientFault(
        "This Idempotency-Key belongs to another request: a key is for one method, path, query and body.",
        code="idempotency_key_reused",
        param=_PARAM,
        status=422,
    )


def _outstanding() -> ClientFault:
    return ClientFault(
        "The first request with this Idempotency-Key is still being answered elsewhere. Ask again later.",
        code="idempotency_request_outstanding",
        param=_PARAM,
        status=409,
        headers=(_COME_BACK,),
    )


def _not_kept() -> ClientFault:
    return ClientFault(
        "The request with this Idempotency-Key was answered, but its answer is not kept: "
        "it was too large, or has been deleted.",
        code="idempotency_answer_not_kept",
        param=_PARAM,
        status=410,
    )
