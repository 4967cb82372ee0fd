"""What expired entries are good for: answering at once while they are refreshed, and where the upstream fails."""

import logging
from collections.abc import Callable

from antiphon.cache.entry import Entry, Verdict, judge
from antiphon.cache.key import CacheKey
from antiphon.cache.lifetimes import NONE, Lifetimes, error_window
from antiphon.engine.producing import Producing
from antiphon.engine.refreshing import Refreshing, Send
from antiphon.engine.refusals import internal_error
from antiphon.engine.replaying import Replaying
from antiphon.engine.shelving import Shelves
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.stores import CacheLevel

_log = logging.getLogger(__name__)


class Staleness:
    """Judges entries by the lifetimes of their models, and makes use of those that have expired."""

    def __init__(
        self,
        lifetimes: Lifetimes,
        shelves: Shelves,
        producing: Producing,
        replaying: Replaying,
        tasks: Tasks,
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        """Look for entries on `shelves`."""
        self._lifetimes = lifetimes
        self._shelves = shelves
        self._producing = producing
        self._replaying = replaying
        self._tasks = tasks
        self._now = wall_clock
        self._refreshing = Refreshing(shelves, producing, tasks, wall_clock=wall_clock)

    def judge(self, entry: Entry | None, turn: Turn, now: float) -> Verdict:
        """Say whether `entry` may answer `turn`."""
        return judge(entry, turn.controls, now, self._lifetimes.of(turn.ask.target.alias))

    def refresh(
        self, turn: Turn, entry: Entry, source: Source, key: CacheKey, send: Send | None = None
    ) -> None:
        """Fetch what is to answer in the place of `entry` from now on, in the background; `send` asks for it."""
        # Who only takes what is cached has the upstream asked for nothing.
        if not turn.controls.only_if_cached:
            self._refreshing.refresh(turn, entry, source, key, send or self._producing.send)

    def may_stand_in(self, turn: Turn) -> bool:
        """Whether an expired entry is given where the upstream fails."""
        return error_window(turn.controls, self._lifetimes.of(turn.ask.target.alias)) > 0

    def stand_in(self, turn: Turn, spare: Entry, status: int, code: str) -> bool:
        """Answer `turn` with an entry where its upstream has failed, if it is not too stale for that."""
        target = turn.ask.target
        window = error_window(turn.controls, self._lifetimes.of(target.alias))
        if window <= 0 or self._now() - spare.expires_at > window or self._is_removed(spare):
            return False
        has_asked = turn.pays
        if not self._replaying.hit(turn, spare, turn.pace, failure=code or "upstream_error"):
            return False
        if has_asked:
            failure = f"{target.provider}/{target.model} fails (status {status}, {code})"
            _log.warning("%s: an expired answer stands in", failure)
        return True

    def _is_removed(self, spare: Entry) -> bool:
        """Whether an entry was removed on purpose while the upstream was asked."""
        gone = self._shelves.memory.gone(spare.digest)
        return gone is not None and gone.how == "removed" and gone.at >= spare.stored_at

    def produce(self, turn: Turn, source: Source, key: CacheKey) -> None:
        """Ask the upstream for a turn that by-passes the cache, but not where the upstream fails."""
        turn.stand_in = self.stand_in
        spare, level = self._shelves.memory.get(key.digest, key.identity), self._shelves.level
        live = self._producing.begin(turn, source, key, shared=False)
        live.spare = spare
        if spare is not None or level is None or not level.may_hold(key.digest):
            self._producing.send(turn, live, source)
            return

        async def find_first(level: CacheLevel) -> None:
            found = await level.get(key.digest)
            if live.recording.is_live:
                live.spare = found if found is not None and found.identity == key.identity else None
                self._producing.send(turn, live, source)

        self._tasks.start(
            find_first(level),
            f"look up {turn.request_id.decode()}",
            on_death=lambda: live.fail(internal_error()),
        )


def stands_in_on_request(turn: Turn) -> bool:
    """Whether a turn that by-passes the cache has asked itself for what is there, should the upstream fail."""
    return error_window(turn.controls, NONE) > 0
