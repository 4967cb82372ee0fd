"""The items of one request: under which keys they are kept, and what the upstream said of those it was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from antiphon.cache.key import CacheKey, Circumstance, list_keys
from antiphon.dialects.embedding_items import EMBEDDING_ITEMS
from antiphon.dialects.items import ItemForm, ItemList, NotSeparableError, Part, alone, take_apart
from antiphon.dialects.native import NativeRequest
from antiphon.dialects.rerank_items import RERANK_ITEMS
from antiphon.recording import Recording
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
    fetched: dict[bytes, Part] | None = field(default=None, init=False)
    """By identities of keys what the upstream was asked for; None: for all, and its answer is passed as it came."""

    def missing(self, found: "dict[bytes, Part]") -> list[int]:
        """Return where those stand that are not among `found`, each only once."""
        places: dict[bytes, int] = {}
        for place, key in enumerate(self.keys):
            if key.identity not in found:
                places.setdefault(key.identity, place)
        return list(places.values())

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
        places = {key.identity: place for place, key in enumerate(self.keys)}
        return [
            (self.keys[place], self.listed.request_for(place), self._one(recording, part, next(ids)))
            for place, part in ((places[identity], part) for identity, part in fetched.items())
        ]

    def _one(self, recording: Recording, part: Part, recording_id: str) -> Recording:
        body = alone(part)
        outcome = replace(recording.outcome, usage=self.form.usage(part.counted))
        return replace(
            recording,
            id=recording_id,
            frames=[body],
            times=recording.times[-1:],
            size=len(body),
            outcome=outcome,
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
