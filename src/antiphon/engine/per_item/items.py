"""The items of one request: under which keys they are kept, and what the upstream said of those it was asked for."""

import hashlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from antiphon.cache.entry import Entry
from antiphon.cache.key import CacheKey, Circumstance, list_keys
from antiphon.dialects.embedding_items import EMBEDDING_ITEMS
from antiphon.dialects.items import ItemForm, ItemList, NotSeparableError, Part, alone, take_apart
from antiphon.dialects.native import NativeRequest
from antiphon.dialects.rerank_items import RERANK_ITEMS
from antiphon.recording import Outcome, Recording
from antiphon.settings import Provider
from antiphon.wire.json import Members

_FORMS: Final = {"embeddings": EMBEDDING_ITEMS, "rerank": RERANK_ITEMS}


@dataclass(slots=True, eq=False)
class Items:
    """The items of one request, by their order in it."""

    form: ItemForm
    listed: ItemList
    whole: CacheKey
    """What equal requests in flight know each other by; nothing is kept under it."""
    keys: list[CacheKey]
    """Under which each is kept."""
    tags: Mapping[bytes, tuple[str, ...]] = field(default_factory=dict, init=False)
    """Tags beside those of the request, by identities of keys."""
    found: Sequence[Entry] = field(default=(), init=False)
    """Entries of items that the upstream was not asked for."""
    fetched: dict[bytes, Part] | None = field(default=None, init=False)
    """By identities of keys what the upstream was asked for; None: for all, and its answer is passed as it came."""

    def missing(self, found: Container[bytes]) -> list[int]:
        """Return where those stand whose keys' identities are not among `found`, each only once."""
        places: dict[bytes, int] = {}
        for place, key in enumerate(self.keys):
            if key.identity not in found:
                places.setdefault(key.identity, place)
        return list(places.values())

    def share(self, found: Container[bytes]) -> str:
        """Tell how many of all are among `found`, as `3/5`; "" for none."""
        there = sum(key.identity in found for key in self.keys)
        return f"{there}/{len(self.keys)}" if there else ""

    def only(self, tags: Mapping[bytes, tuple[str, ...]]) -> "Items":
        """Return those alone that `tags` names by the identities of their keys, each with its tags."""
        places = {key.identity: place for place, key in enumerate(self.keys) if key.identity in tags}.values()
        keys = [self.keys[place] for place in places]
        listed = replace(
            self.listed,
            items=[self.listed.items[place] for place in places],
            canonical=[self.listed.canonical[place] for place in places],
            weights=[self.listed.weights[place] for place in places],
        )
        # No request has this key: who asks for the whole list must not join what fetches but a part of it.
        identity = b"part of " + self.whole.digest + b"".join([key.digest for key in keys])
        whole = CacheKey(hashlib.sha256(identity).digest()[:16], identity, self.whole.scope)
        made = Items(self.form, listed, whole, keys)
        made.tags = tags
        return made

    def recorded(
        self, recording: Recording, ids: Iterator[str]
    ) -> Sequence[tuple[CacheKey, Members, Recording]]:
        """Return a recording for each item that the upstream was asked for by what became `recording`.

        Each comes with the key and the members of the request for it alone. Nothing where the answer does not have
        one entry for each.
        """
        fetched = self.fetched
        if fetched is None:
            try:
                parts = take_apart(recording.body(), self.listed.weights)
            except NotSeparableError:
                return ()
            fetched = {key.identity: part for key, part in zip(self.keys, parts, strict=True)}
        self.fetched = {}  # the turn outlives the answer for a while, and need not hold it twice
        places = {key.identity: place for place, key in enumerate(self.keys)}
        return [
            (self.keys[place], self.listed.request_for(place), self._one(recording, part, next(ids)))
            for place, part in ((places[identity], part) for identity, part in fetched.items())
        ]

    def _one(self, recording: Recording, part: Part, recording_id: str) -> Recording:
        body, outcome = alone(part), recording.outcome
        usage = self.form.usage(part.counted)
        return Recording(
            id=recording_id,
            dialect=recording.dialect,
            mode=recording.mode,
            provider=recording.provider,
            model=recording.model,
            started_at=recording.started_at,
            head=recording.head,
            frames=[body],
            times=recording.times[-1:],
            size=len(body),
            outcome=Outcome(outcome.state, outcome.reason, usage, outcome.response_id, outcome.model),
            ended_at=recording.ended_at,
        )


def items_of(
    request: NativeRequest,
    provider: Provider,
    circumstance: Circumstance,
) -> Items | None:
    """Return the items of a request; None where its answer is one thing, or may be."""
    form = _FORMS.get(request.dialect)
    if (
        form is None or provider.type == "playback"
    ):  # a cassette has the lists that were recorded, and no others
        return None
    if form is RERANK_ITEMS and provider.rerank_documents != "independent":
        return None
    listed = form.read(request.members)
    if listed is None:
        return None
    keys = list_keys(
        circumstance,
        request.members,
        listed.member,
        listed.canonical,
        alone=listed.alone,
        written=listed.written,
        own_cache=request.cache_member is not None,
    )
    return Items(form, listed, keys.whole, keys.each)
