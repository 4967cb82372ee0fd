"""What was found of a list's items, and the answer that is made when that is all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from antiphon.cache.entry import Entry, Verdict
from antiphon.cache.key import CacheKey
from antiphon.dialects.items import Part
from antiphon.turn.usage import total_usage


@dataclass(slots=True)
class Found:
    """Entries, by the identities of their keys."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    parts: dict[bytes, Part] = field(default_factory=dict)
    """The same, ready to be put together."""
    expired: set[bytes] = field(default_factory=set)
    """Which of them only answer while fresh ones are fetched."""
    others: "Found | None" = None
    """Those that may not answer, but could where the upstream fails."""
    why: str = ""
    """Why one of those may not: `stale`, `request`."""

    def add(self, entry: Entry, part: Part, verdict: Verdict) -> None:
        """Take an entry that may answer, or remember why it may not."""
        if not verdict.answers:
            self.others = self.others or Found()
            self.others.add(entry, part, Verdict.HIT)
            self.why = self.why or verdict.reason
            return
        self.entries[entry.identity] = entry
        self.parts[entry.identity] = part
        if verdict is Verdict.REFRESH:
            self.expired.add(entry.identity)

    def fresh(self) -> "Found":
        """Return what need not be fetched, where something is fetched anyway."""
        if not self.expired:
            return self
        found = Found(others=self.others, why=self.why)
        for identity, entry in self.entries.items():
            verdict = Verdict.STALE if identity in self.expired else Verdict.HIT
            found.add(entry, self.parts[identity], verdict)
        return found

    def whatever_there_is(self) -> "Found":
        """Return all that could answer, if it had to."""
        if self.others is None:
            return self
        found = Found(self.entries | self.others.entries, self.parts | self.others.parts)
        found.keep_one_model()
        return found

    def keep_one_model(self) -> None:
        """Forget answers of other models than that which the newest answer names: vectors of two do not compare."""
        models = {entry.recording.outcome.model for entry in self.entries.values()}
        if len(models) < 2:
            return
        newest = max(self.entries.values(), key=lambda entry: entry.stored_at).recording.outcome.model
        for identity, entry in list(self.entries.items()):
            if entry.recording.outcome.model != newest:
                del self.entries[identity], self.parts[identity]
                self.expired.discard(identity)


def found_entry(key: CacheKey, entries: Sequence[Entry], recording_id: str, body: bytes) -> Entry:
    """Make what is replayed of `entries`, whose answers put together are `body`: as old and as fresh as the worst."""
    first = entries[0].recording
    usage = total_usage(entry.recording.outcome.usage for entry in entries)
    recording = replace(
        first,
        id=recording_id,
        frames=[body],
        times=[0],
        size=len(body),
        outcome=replace(first.outcome, usage=usage),
    )
    made = Entry(
        digest=key.digest,
        identity=key.identity,
        recording=recording,
        public_id="",
        echo={},
        stored_at=min(entry.stored_at for entry in entries),
        expires_at=min(entry.expires_at for entry in entries),
        is_pinned=any(entry.is_pinned for entry in entries),
    )
    made.shown_key = b""  # it is kept nowhere
    return made
