"""Changes of many entries at once - purges, pins - as workers tell each other of them, in one order for all.

Every change has a number in the log that the workers share. An entry is *as of* the number that its worker had heard
of when the request began: it is clean if no later purge means it. So an answer that was under way while a purge came
is not served afterwards, wherever and whenever it is stored.
"""

import itertools
from collections import deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

import msgspec

from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector

UNKNOWN: Final = -1
"""What entries are as of whose worker did not say: those of earlier releases, and those that were imported."""


class Kind(StrEnum):
    """What becomes of the entries that are meant."""

    PURGE = "purge"
    EXPIRE = "expire"
    """They are stale from now on."""
    PIN = "pin"
    UNPIN = "unpin"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; number 0 is one that has not been written to a log yet."""

    kind: Kind
    selector: Selector
    at: float
    """Seconds since the epoch."""
    number: int = 0

    def write(self) -> bytes:
        """Return it as it stands in a log, less its number."""
        meant = asdict(self.selector)
        if self.selector.digest is not None:
            meant["digest"] = self.selector.digest.hex()
        told = {"kind": self.kind, "at": self.at, **meant}
        return msgspec.json.encode({name: value for name, value in told.items() if value is not None})

    @classmethod
    def read(cls, data: bytes | str, number: int) -> "Change":
        """Read what `write` wrote; what a later release wrote, and this one does not know, purges everything."""
        try:
            written = _READ.decode(data)
        except msgspec.DecodeError:
            return cls(Kind.PURGE, Selector(), 0.0, number)
        meant = msgspec.structs.asdict(written)
        kind, at = meant.pop("kind"), meant.pop("at")
        if written.digest is not None:
            meant["digest"] = bytes.fromhex(written.digest)
        return cls(kind, Selector(**meant), at, number)

    def does_to(self, entry: Entry) -> bool:
        """Do it to an entry, if that is meant; False if the entry is to be dropped."""
        if not self.selector.matches(entry):
            return True
        match self.kind:
            case Kind.PURGE:
                return False
            case Kind.EXPIRE:
                entry.expires_at = min(entry.expires_at, self.at)
            case Kind.PIN | Kind.UNPIN:
                entry.is_pinned = self.kind is Kind.PIN
        return True


class Changes:
    """What one worker has heard of, as far back as it remembers."""

    def __init__(self, most: int = 1_000, most_deleted: int = 10_000) -> None:
        """Remember at most so many, and so many deletions of one response."""
        self._most = most
        self._most_deleted = most_deleted
        self._others: deque[Change] = deque()
        # Most are deletions of a response: they are found by what they mean.
        self._recordings: dict[str, Change] = {}
        self._floor = 0
        self.position = 0
        """The number of the latest."""
        self.era = 0
        """The number of the latest that was no deletion of one response, nor a pin."""

    def add(self, change: Change) -> None:
        """Hear of the next one."""
        assert change.number > self.position
        self.position = change.number
        selector = change.selector
        recording_id = selector.recording_id
        if (
            recording_id is not None
            and change.kind is Kind.PURGE
            and selector == Selector(recording_id=recording_id)
        ):
            self._recordings.pop(recording_id, None)
            self._recordings[recording_id] = change
            if len(self._recordings) > self._most_deleted:
                self._forget(self._recordings.pop(next(iter(self._recordings))))
            return
        if change.kind in (Kind.PURGE, Kind.EXPIRE):
            self.era = change.number
        self._others.append(change)
        if len(self._others) > self._most:
            self._forget(self._others.popleft())

    def forget_all(self, position: int) -> None:
        """Know nothing of what was before `position`: some of it was missed."""
        self._others.clear()
        self._recordings.clear()
        self._floor = self.position = self.era = position

    def knows(self, since: int) -> bool:
        """Whether all that came after `since` is remembered."""
        return since >= self._floor

    def do_to(self, entry: Entry, since: int) -> bool:
        """Do to an entry what came after `since`; False if the entry is to be dropped."""
        if since >= self.position:
            return True
        deleted = self._recordings.get(entry.recording.id)
        if deleted is not None and deleted.number > since:
            return False
        later = itertools.takewhile(lambda change: change.number > since, reversed(self._others))
        return all(change.does_to(entry) for change in reversed(list(later)))

    def _forget(self, change: Change) -> None:
        self._floor = max(self._floor, change.number)


class _Written(msgspec.Struct, kw_only=True):
    """A selector in a log. Members of later releases are passed over: those that narrow are of a new kind there."""

    kind: Kind
    at: float
    digest: str | None = None
    recording_id: str | None = None
    public_id: str | None = None
    scope: str | None = None
    model: str | None = None
    tag: str | None = None
    prompt: str | None = None
    stored_before: float | None = None
    spares_pinned: bool = False


_READ: Final = msgspec.json.Decoder(_Written)
