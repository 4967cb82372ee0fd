"""Puts what was kept in the place of what refers to it."""

from antiphon.ports.conversations import ItemStore
from antiphon.turn.chain import Items, told_again
from antiphon.turn.references import references_in, unknown_item


class References:
    """Resolves references to items."""

    def __init__(self, items: ItemStore) -> None:
        """Look in `items`."""
        self._items = items

    async def resolve(self, items: Items, owner: str) -> Items:
        """Return `items` with what they stand for, as an upstream reads it. Raises ClientFault, StoreFault."""
        found = await self._found(items, owner, "input")
        if not found:
            return items
        told = (told_again(found[place]) if place in found else item for place, item in enumerate(items))
        return tuple(item for item in told if item is not None)

    async def replace(self, items: Items, owner: str, param: str) -> Items:
        """Return `items` with what they stand for, as it was kept; `param` is what errors name.

        Raises ClientFault, StoreFault.
        """
        found = await self._found(items, owner, param)
        return tuple(found.get(place, item) for place, item in enumerate(items))

    async def _found(self, items: Items, owner: str, param: str) -> dict[int, bytes]:
        references = references_in(items)
        if not references:
            return {}
        found = await self._items.find([reference.id for reference in references.values()], owner)
        for reference in references.values():
            if reference.is_needed and reference.id not in found:
                raise unknown_item(reference.id, param)
        return {place: found[each.id] for place, each in references.items() if each.id in found}
