"""The items of a request to rank: its documents, where the score of each does not depend on the others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.items import MOST_ITEMS, ItemForm, ItemList, Part
from antiphon.dialects.rerank import usage_of
from antiphon.turn.usage import Usage
from antiphon.wire.json import Members, canonical_value
from antiphon.wire.objects import DECODE_FAULTS

_MEMBER: Final = "documents"
_MOST: Final = ("top_n", "top_k")
"""How many of the best are wanted, which changes no score: everybody is asked for all, and the best are chosen here."""

_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_count = msgspec.json.Decoder(int | None).decode


class _RerankItems:
    def read(self, members: Members) -> ItemList | None:
        """Read the documents: texts or objects."""
        given = members.get(_MEMBER)
        if given is None:
            return None
        try:
            items = _raws(given)
            is_cut = _most(members) is not None
        except DECODE_FAULTS:
            return None
        if not 0 < len(items) <= MOST_ITEMS:
            return None
        alone = {name: value for name, value in members.items() if name not in (_MEMBER, *_MOST)}
        canonical = [canonical_value(item) for item in items]
        return ItemList(_MEMBER, items, canonical, [len(each) for each in canonical], alone, b"[%b]", is_cut)

    def usage(self, counted: Mapping[str, Any]) -> Usage:
        """Read what the provider has counted."""
        return usage_of(counted)

    def order(self, parts: Sequence[Part], members: Members) -> Sequence[int]:
        """Put the best first, and leave out those that are too many."""
        best = sorted(range(len(parts)), key=lambda place: -parts[place].score)
        return best[: _most(members)]


def _most(members: Members) -> int | None:
    """Return how many are wanted, None for all. Raises msgspec.DecodeError for what only the upstream can judge."""
    counts = [_count(members[name]) for name in _MOST if name in members]
    wanted = [count for count in counts if count is not None]
    if any(count < 1 for count in wanted):
        raise msgspec.ValidationError("not a number of documents")
    return min(wanted, default=None)


RERANK_ITEMS: Final[ItemForm] = _RerankItems()
