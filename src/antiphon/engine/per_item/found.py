"""What was found of a list's items, and the answer that is made when that is all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from antiphon.cache.entry import Entry, Verdict
from antiphon.cache.key import CacheKey
from antiphon.dialects.items import Part
from antiphon.turn.usage import total_usage


@dataclass(slots=True)
class Found:
    """Entries, by the identities of their keys."""

    entries: dict[bytes, Entry]
    parts: dict[bytes, Part]
    """The same, ready to be put together."""
    why: str = ""
    """Why one of the others may not answer, although there was an entry: `stale`, `request`."""

    def add(self, entry: Entry, part: Part) -> None:
        """Take an entry that may answer."""
        self.entries[entry.identity] = entry
        self.parts[entry.identity] = part

    def note(self, verdict: Verdict) -> None:
        """Remember why an entry was not taken."""
        if not self.why and verdict is not Verdict.MISS:
            self.why = verdict.reason or Verdict.STALE.value

    def keep_one_model(self) -> None:
        """Forget answers of other models than that which the newest answer names: vectors of two do not compare."""
        models = {entry.recording.outcome.model for entry in self.entries.values()}
        if len(models) < 2:
            return
        newest = max(self.entries.values(), key=lambda entry: entry.stored_at).recording.outcome.model
        for identity, entry in list(self.entries.items()):
            if entry.recording.outcome.model != newest:
                del self.entries[identity], self.parts[identity]


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
    )
    made.shown_key = b""  # it is kept nowhere
    return made
