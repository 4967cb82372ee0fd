"""What a stream of the Responses API must look like: specification section 9.4, as an oracle for tests.

One machine follows the stream from `response.created` to its only terminal event; one for each item
(`item_grammar`) follows that from `added` to `done`. Items may overlap in time. The legal transitions are tables:
an event that the state does not know is a violation. A stream that failed may leave items open (section 9.5).
"""

from collections.abc import Sequence
from typing import Final

from antiphon.turn.events import CATALOGUE, TERMINAL, Event, Item
from antiphon.turn.item_grammar import ADDED, ItemReader, Table

STREAM: Final[Table] = {
    "silent": {"created": "created"},
    "created": {"queued": "queued", "in_progress": "open", "item": "open", "error": "error"}
    | dict.fromkeys(("completed", "incomplete", "failed"), "ended"),
    "queued": {"in_progress": "open", "item": "open", "error": "error"}
    | dict.fromkeys(("completed", "incomplete", "failed"), "ended"),
    "open": {"item": "open", "error": "error"}
    | dict.fromkeys(("completed", "incomplete", "failed"), "ended"),
    "error": {"failed": "ended"},
    "ended": {},
}


def violations(events: Sequence[Event]) -> list[str]:
    """Say in which ways `events` (without `[DONE]`) break the grammar; nothing if they keep it."""
    reader = _StreamReader()
    for number, event in enumerate(events):
        reader.read(number, event)
    return reader.close()


class _StreamReader:
    """Follows one stream."""

    def __init__(self) -> None:
        self.state = "silent"
        self.found: list[str] = []
        self.response_id: object = None
        self.items: dict[int, ItemReader] = {}

    def read(self, number: int, event: Event) -> None:
        kind = str(event.get("type"))
        here = f"event {number} ({kind})"
        self._expect(event.get("sequence_number") == number, f"{here}: sequence_number is not {number}")
        if kind not in CATALOGUE:
            self.found.append(f"{here}: there is no such event")
            return
        missing = [name for name in CATALOGUE[kind] if name not in event]
        if missing:
            self.found.append(f"{here}: without {', '.join(missing)}")
            return
        name = kind.removeprefix("response.")
        step = "item" if "output_index" in event else name
        after = STREAM[self.state].get(step)
        if after is None:
            self.found.append(f"{here}: not while the stream is {self.state}")
        else:
            self.state = after
        if step == "item":
            self._read_item(here, name, event)
        elif "response" in event:
            self._read_lifecycle(here, kind, event["response"])

    def close(self) -> list[str]:
        self._expect(self.state == "ended", f"no terminal event: the stream is {self.state}")
        return self.found

    def _expect(self, holds: bool, violation: str) -> None:
        if not holds:
            self.found.append(violation)

    def _read_lifecycle(self, here: str, kind: str, response: Event) -> None:
        if self.response_id is None:
            self.response_id = response.get("id")
        self._expect(response.get("id") == self.response_id, f"{here}: response.id has changed")
        if kind in TERMINAL:
            self._expect(
                response.get("status") in (None, TERMINAL[kind]),
                f"{here}: response.status is {response.get('status')}",
            )
            self._read_output(here, kind, response.get("output") or [])
            return
        self._expect(not response.get("output"), f"{here}: response.output is not empty")
        self._expect(response.get("usage") is None, f"{here}: response.usage is not null")
        self._expect(
            response.get("status") in ("queued", "in_progress"),
            f"{here}: response.status is {response.get('status')}",
        )

    def _read_output(self, here: str, kind: str, output: list[Item]) -> None:
        readers = [self.items[index] for index in sorted(self.items)]
        failed = kind == "response.failed"
        told = [reader for reader in readers if reader.state == "closed"] if failed else readers
        self._expect(len(output) >= len(told), f"{here}: response.output lacks an item that was streamed")
        self._expect(
            failed or len(output) <= len(told), f"{here}: response.output has an item never streamed"
        )
        for reader, item in zip(told, output, strict=False):
            self._expect(reader.state == "closed", f"{here}: item {reader.index} is {reader.state}")
            self._expect(
                reader.state != "closed" or reader.item == item,
                f"{here}: item {reader.index} is not what output_item.done said",
            )

    def _read_item(self, here: str, name: str, event: Event) -> None:
        index = event["output_index"]
        if name == ADDED:
            self._expect(index == len(self.items), f"{here}: output_index is not {len(self.items)}")
            self._expect(index not in self.items, f"{here}: item {index} was added before")
            self.items[index] = ItemReader(index, event["item"])
            self.found += (f"{here}: {why}" for why in self.items[index].judge_added())
            return
        reader = self.items.get(index)
        if reader is None:
            self.found.append(f"{here}: item {index} was not added")
            return
        self.found += (f"{here}: {why}" for why in reader.read(name, event))
