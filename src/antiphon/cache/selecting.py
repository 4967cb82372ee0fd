"""Which entries are meant: by what they came from, for purging them, pinning them, and comparing with them."""

from dataclasses import dataclass

from antiphon.cache.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Entries that match everything that is given here; with nothing given, all of them."""

    digest: bytes | None = None
    recording_id: str | None = None
    scope: str | None = None
    """As in `Origin.scope`."""
    model: str | None = None
    """The name that a client used, or `provider/model`."""
    tag: str | None = None
    prompt: str | None = None
    """How the prompt begins; at most `PROMPT_LENGTH` characters count."""
    stored_before: float | None = None
    """Seconds since the epoch."""

    def matches(self, entry: Entry) -> bool:
        """Whether `entry` is meant."""
        origin = entry.origin
        return (
            (self.digest is None or entry.digest == self.digest)
            and (self.recording_id is None or entry.recording.id == self.recording_id)
            and (self.scope is None or origin.scope == self.scope)
            and (self.model is None or self.model in (origin.model, origin.target))
            and (self.tag is None or self.tag in entry.tags)
            and (self.prompt is None or origin.prompt.startswith(self.prompt[:PROMPT_LENGTH]))
            and (self.stored_before is None or entry.stored_at < self.stored_before)
        )


PROMPT_LENGTH = 256
"""Characters of a prompt that are kept to select by."""
