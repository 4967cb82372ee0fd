"""Answering a request that is a list of items: each from its own entry, and the upstream is asked once for the rest.

The whole answer is a live recording like any other. What is missing is put in by `fetching.py`, unless everything
is: then the request goes upstream as it came, the answer passes as it comes, and is taken apart when it is stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from antiphon.cache.entry import Entry
from antiphon.cache.status import timing_header
from antiphon.dialects.items import NotSeparableError, Part, put_together, take_apart
from antiphon.engine.live import LiveRecording
from antiphon.engine.per_item.fetching import Fetching
from antiphon.engine.per_item.found import Found, found_entry
from antiphon.engine.producing import Producing
from antiphon.engine.refusals import internal_error, not_cached
from antiphon.engine.rendition import JSON_TYPE, Rendition
from antiphon.engine.replaying import Replaying
from antiphon.engine.shelving import Shelves
from antiphon.engine.source import Source
from antiphon.engine.staleness import Staleness
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Turn
from antiphon.ports.stores import CacheLevel

_PART = "part"
"""The form in which an entry's answer is put among others."""
_OF_A_PART = 512
"""Bytes of memory, about: the answer itself is not copied."""


class PerItem:
    """Answers turns with items."""

    def __init__(
        self,
        *,
        shelves: Shelves,
        staleness: Staleness,
        producing: Producing,
        replaying: Replaying,
        tasks: Tasks,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """Answer from `shelves`; `clock` is monotonic."""
        self._shelves = shelves
        self._staleness = staleness
        self._producing = producing
        self._replaying = replaying
        self._tasks = tasks
        self._now = wall_clock
        self._clock = clock

    def answer(self, turn: Turn, source: Source) -> None:
        """Answer a turn."""
        self._answer(turn, source, {}, self._shelves.level)

    async def foretell(self, turn: Turn) -> None:
        """Find out of how many items there are entries, and do nothing else."""
        items, level = turn.items, self._shelves.level
        assert items is not None
        entries = {} if level is None else await level.get_many([key.digest for key in items.keys])
        found = self._find(turn, {entry.identity: entry for entry in entries.values()})
        if not items.missing(found.parts):
            turn.result = "stale" if found.expired else "hit"
            return
        found = found.fresh()
        share = items.share(found.parts)
        turn.result, turn.detail = ("partial", share) if share else ("miss", found.why)

    def refresh(self, turn: Turn, source: Source) -> None:
        """Ask the upstream for everything, and keep it."""
        assert turn.items is not None
        found = Found()
        if self._staleness.may_stand_in(turn):
            turn.stand_in = self._staleness.stand_in
            found.others = self._find(turn, {}).whatever_there_is()
        live = self._producing.begin(turn, source, turn.items.whole, shared=False)
        self._fetch(turn, live, source, found)

    def _answer(
        self, turn: Turn, source: Source, read: Mapping[bytes, Entry], level: CacheLevel | None
    ) -> None:
        """Answer from memory and what was `read`, else ask the `level`, else the upstream."""
        items = turn.items
        assert items is not None
        found = self._find(turn, read)
        if not items.missing(found.parts):
            self._replaying.hit(turn, self._whole(turn, found), turn.pace)
            if found.expired:
                self._renew(turn, found, source)
            return
        found = found.fresh()
        missing = items.missing(found.parts)
        turn.stand_in = self._staleness.stand_in
        turn.result, turn.detail = "miss", found.why
        key, only_cached = items.whole, turn.controls.only_if_cached
        flight = None if only_cached else self._producing.flight(turn, key)
        if flight is not None:
            turn.result = "collapsed"
            self._producing.join(turn, flight)
            return
        digests = [items.keys[place].digest for place in missing]
        wanted = [digest for digest in digests if level is not None and level.may_hold(digest)]
        if not (wanted or only_cached):
            self._fetch(turn, self._producing.begin(turn, source, key, shared=True), source, found)
            return
        live = self._producing.begin(turn, source, key if wanted else None, shared=not only_cached)
        if level is None or not wanted:
            live.fail(not_cached())
            return
        self._tasks.start(
            self._search(turn, live, source, level, wanted),
            f"look up {turn.request_id.decode()}",
            on_death=lambda: live.fail(internal_error()),
        )

    async def _search(
        self, turn: Turn, live: LiveRecording, source: Source, level: CacheLevel, wanted: Sequence[bytes]
    ) -> None:
        """Ask the second level for all at once; equal requests that came meanwhile are answered with this one."""
        items = turn.items
        assert items is not None
        identities = {key.identity for key in items.keys}
        entries = (await level.get_many(wanted)).values()
        read = {entry.identity: entry for entry in entries if entry.identity in identities}
        if not live.recording.is_live:
            return  # everybody has left
        found = self._find(turn, read)
        for entry in found.entries.values():
            if read.get(entry.identity) is entry:
                self._shelves.memory.put(entry)
        if not items.missing(found.parts):
            for waiting in self._producing.withdraw(turn, live, items.whole):
                self._answer(waiting, source, read, None)
        elif turn.controls.only_if_cached:
            live.fail(not_cached())
        else:
            found = found.fresh()
            turn.detail = found.why
            self._fetch(turn, live, source, found)

    def _find(self, turn: Turn, read: Mapping[bytes, Entry]) -> Found:
        """Return the entries in memory, or among those `read`, that may answer the turn now."""
        items, now = turn.items, self._now()
        assert items is not None
        found = Found()
        for key in items.keys:
            if key.identity in found.parts:
                continue
            entry = self._shelves.newest(key, read.get(key.identity))
            part = None if entry is None else self._part(entry)
            if entry is not None and part is not None:
                found.add(entry, part, self._staleness.judge(entry, turn, now))
        found.keep_one_model()
        return found

    def _part(self, entry: Entry) -> Part | None:
        """Return what an entry is among others; None: it cannot be read, and is missing."""
        part = entry.renditions.get(_PART)
        if not isinstance(part, Part):
            try:
                (part,) = take_apart(entry.recording.body(), (1,))
            except NotSeparableError:
                return None
            self._shelves.memory.add_rendition(entry, _PART, part, _OF_A_PART)
        return part

    def _whole(self, turn: Turn, found: Found) -> Entry:
        """Make what is replayed of an entry for each item."""
        items = turn.items
        assert items is not None
        parts = [found.parts[key.identity] for key in items.keys]
        body = put_together(parts, items.form.order(parts, turn.ask.request.members))
        entries = [found.entries[key.identity] for key in items.keys]
        entry = found_entry(items.whole, entries, self._producing.new_recording_id(), body)
        headers = (JSON_TYPE, timing_header(self._clock() - turn.received_at))
        entry.renditions[turn.ask.asked] = Rendition(body, headers, len(body))
        return entry

    def _renew(self, turn: Turn, found: Found, source: Source) -> None:
        """Fetch fresh answers to the items that have expired, and to no others, in the background."""
        assert turn.items is not None
        expired = [found.entries[identity] for identity in found.expired]
        items = turn.items.only({entry.identity: entry.tags for entry in expired})

        def send(renewing: Turn, live: LiveRecording, source: Source) -> None:
            renewing.items = items
            renewing.fetch = lambda live: Fetching(renewing, live, source, Found(), self._clock).begin()
            self._producing.send(renewing, live, source)

        oldest = min(expired, key=lambda entry: entry.expires_at)
        self._staleness.refresh(turn, replace(oldest, tags=()), source, items.whole, send)

    def _fetch(self, turn: Turn, live: LiveRecording, source: Source, found: Found) -> None:
        items = turn.items
        assert items is not None
        spare = found.whatever_there_is()
        if not items.missing(spare.parts) and self._staleness.may_stand_in(turn):
            live.spare = self._whole(turn, spare)
        is_whole = len(items.missing(found.parts)) == len(items.keys) and not items.listed.is_cut
        turn.fetch = (
            None if is_whole else lambda live: Fetching(turn, live, source, found, self._clock).begin()
        )
        self._producing.send(turn, live, source)
