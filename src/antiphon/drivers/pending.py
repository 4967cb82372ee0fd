"""Responses on their way to storage: in this process they are there already, with what their models were shown."""

from collections.abc import Sequence

from antiphon.ports.stores import KeptResponse
from antiphon.turn.chain import Items
from antiphon.turn.history import Node


class Pending:
    """What was put and is not committed yet."""

    def __init__(self) -> None:
        """Nothing was put."""
        self._responses: dict[tuple[str, str], KeptResponse] = {}
        self._nodes: dict[bytes, Node] = {}

    def __contains__(self, name: tuple[str, str]) -> bool:
        """Whether the response with this id and owner is here."""
        return name in self._responses

    def add(self, kept: KeptResponse, nodes: Sequence[Node]) -> None:
        """Hold a response, and the items that its history gets with it."""
        self._responses[kept.id, kept.owner] = kept
        self._nodes.update((node.id, node) for node in nodes)

    def drop(self, kept: KeptResponse, nodes: Sequence[Node]) -> None:
        """Let go of what was committed; a response that was put again meanwhile stays."""
        for node in nodes:
            self._nodes.pop(node.id, None)
        if self._responses.get((kept.id, kept.owner)) is kept:
            del self._responses[kept.id, kept.owner]

    def get(self, response_id: str, owner: str) -> KeptResponse | None:
        """Return the owner's response."""
        return self._responses.get((response_id, owner))

    def latest(self, head: bytes) -> tuple[bytes | None, Items]:
        """Return the items up to `head` that are here, and the last item before them, if there is one."""
        items: list[bytes] = []
        at: bytes | None = head
        while at is not None and (node := self._nodes.get(at)) is not None:
            items.append(node.item)
            at = node.previous
        return at, tuple(reversed(items))
