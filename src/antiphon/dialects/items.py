"""Answers that are lists of entries, one for each item of their request: taken apart, and put together again.

An entry names in `index` the item that it is for. What stands around the list is kept with each entry: of numbers
that count (in `usage` and `meta`) its share, of everything else a copy. Vectors are never read: they stay bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from antiphon.turn.usage import Usage
from antiphon.wire.json import Members, write_members
from antiphon.wire.objects import DECODE_FAULTS, write_text

MOST_ITEMS: Final = 2048
"""As many as OpenAI takes. What is done for each of them holds up other clients: longer lists are one thing."""
_LISTS: Final = ("data", "results")
"""What the list of entries is called."""
_COUNTED: Final = ("usage", "meta")
"""Members that say what the whole list has used."""
_DEEPEST: Final = 8
"""Objects in them that may count."""
_INDEX: Final = "index"
_EMPTY: Final = msgspec.Raw(b"[]")

_LARGE: Final = 256
"""Bytes from which on a value is not copied before the whole answer is written."""

_Piece = bytes | msgspec.Raw

_members = msgspec.json.Decoder(Members).decode
_entries = msgspec.json.Decoder(list[Members]).decode
_float = msgspec.json.Decoder(float).decode
_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class NotSeparableError(ValueError):
    """This answer does not have one entry for each item."""


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items of a request."""

    member: str
    """Where they stand: `input`, `documents`."""
    items: Sequence[msgspec.Raw]
    canonical: Sequence[bytes]
    weights: Sequence[int]
    """How much of what the list has used is each item's share, in any unit."""
    alone: Members
    """The other members that a request for one item would have."""
    written: bytes
    """How `member` holds an item that is asked for alone: `%b`, or `[%b]`."""
    is_cut: bool = False
    """Whether the answer is to have fewer entries than there are items."""

    def request_for(self, place: int) -> Members:
        """Return the members of a request for one item, which stands there as it does in the list."""
        return {**self.alone, self.member: self.items[place]}

    def asking_for(self, places: Iterable[int]) -> bytes:
        """Write a request for some of the items, as a list."""
        wanted = b"[%b]" % b",".join([self.items[place] for place in places])
        return write_members({**self.alone, self.member: wanted})


class Part(msgspec.Struct, frozen=True, gc=False):
    """One entry of an answer, ready to be put among others."""

    before: tuple[_Piece, ...]
    """What stands in it before the value of `index`, or all of it."""
    after: tuple[_Piece, ...]
    """What stands after that value; nothing where there is none."""
    score: float
    """`relevance_score`; 0 without one."""
    list_name: str
    around: Members
    """What stands around the list; where that stands it is empty."""
    counted: Mapping[str, Any]
    """Of the counted members around it the share of this entry."""

    @property
    def model(self) -> bytes:
        """The model that the answer names, as JSON."""
        return bytes(self.around.get("model", b""))


class ItemForm(Protocol):
    """What a dialect says of its items."""

    def read(self, members: Members) -> ItemList | None:
        """Read the items of a request; None where its answer is more than the answers for each."""

    def usage(self, counted: Mapping[str, Any]) -> Usage:
        """Read the usage that counted members tell."""

    def order(self, parts: Sequence[Part], members: Members) -> Sequence[int]:
        """Return the places of those items, by the order of their entries, that an answer to a request has."""


def take_apart(body: bytes, weights: Sequence[int]) -> list[Part]:
    """Return the entries of an answer by the order of the items, which have these weights.

    Raises NotSeparableError if there is not exactly one entry for each of them.
    """
    around, name, entries = _read(body)
    places = _places(entries, len(weights))
    counted = _read_counted(around)
    shares = [counted] if len(entries) == 1 else _shares(counted, weights)
    around = {**around, name: _EMPTY}
    by_place = dict(zip(places, entries, strict=True))
    return [
        Part(*_pieces(by_place[place]), _score(by_place[place]), name, around, shares[place])
        for place in range(len(entries))
    ]


def put_together(parts: Sequence[Part], places: Sequence[int], around: Part | None = None) -> bytes:
    """Write one answer: `parts` by the order of the items, of which those at `places` are in it.

    What stands around the list is that of the part `around`, else of the first. What was used is the sum of all.
    """
    model = around or parts[0]
    pieces: list[_Piece] = []
    for name, value in model.around.items():
        pieces += (b"," if pieces else b"{", _encode(name), b":")
        if name == model.list_name:
            _write_entries(pieces, parts, places)
        elif name in _COUNTED:
            pieces.append(write_text(_counted(name, parts, model)).encode())
        else:
            pieces.append(value)
    pieces.append(b"}")
    return b"".join(pieces)


def counted(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what several entries have used together."""
    names = dict.fromkeys(name for part in parts for name in part.counted)
    return {name: _counted(name, parts, parts[0]) for name in names}


def alone(part: Part) -> bytes:
    """Write the answer to a request for this one item."""
    return put_together((part,), (0,))


def _counted(name: str, parts: Sequence[Part], model: Part) -> Any:
    if len(parts) == 1:
        return parts[0].counted.get(name)
    return _total([part.counted.get(name) for part in (model, *parts)], skip=1)


def _write_entries(pieces: list[_Piece], parts: Sequence[Part], places: Sequence[int]) -> None:
    separator = b"["
    for place in places:
        part = parts[place]
        pieces.append(separator)
        pieces += part.before
        if part.after:
            pieces.append(b"%d" % place)
            pieces += part.after
        separator = b","
    pieces.append(b"]" if places else b"[]")


def _read(body: bytes) -> tuple[Members, str, list[Members]]:
    try:
        around = _members(body)
        for name in _LISTS:
            if name in around and bytes(memoryview(around[name])[:1]) == b"[":
                return around, name, _entries(around[name])
    except DECODE_FAULTS as error:
        raise NotSeparableError(f"it cannot be read: {error}") from error
    raise NotSeparableError("it has no list of entries")


def _read_counted(around: Members) -> dict[str, Any]:
    try:
        return {name: _any(around[name]) for name in _COUNTED if name in around}
    except DECODE_FAULTS as error:
        raise NotSeparableError(f"what it has used cannot be read: {error}") from error


def _places(entries: Sequence[Members], count: int) -> Sequence[int]:
    if len(entries) != count:
        raise NotSeparableError(f"it has {len(entries)} entries for {count} items")
    told = [bytes(entry[_INDEX]) for entry in entries if _INDEX in entry]
    if not told:
        return range(count)  # without a word of it their order can only be that of the items
    places = {b"%d" % place: place for place in range(count)}
    found = [places.get(index, -1) for index in told]
    if set(found) != set(places.values()):
        raise NotSeparableError("its entries do not name each item once")
    return found


def _pieces(entry: Members) -> tuple[tuple[_Piece, ...], tuple[_Piece, ...]]:
    """Cut an entry at the value of its index; only what is large stays a piece of its own."""
    before: list[_Piece] = []
    after: list[_Piece] = []
    pieces, small = before, b"" if entry else b"{"
    for start, (name, value) in zip(_starts(tuple(entry)), entry.items(), strict=True):
        small += start
        if name == _INDEX:
            pieces.append(small)
            pieces, small = after, b""
        elif len(view := memoryview(value)) < _LARGE:
            small += view
        else:
            pieces += (small, value)
            small = b""
    pieces.append(small + b"}")
    return tuple(before), tuple(after)


@lru_cache(maxsize=64)
def _starts(names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return what stands before the value of each member."""
    written = [_encode(name) for name in names]
    return tuple((b",%b:" if place else b"{%b:") % name for place, name in enumerate(written))


def _score(entry: Members) -> float:
    told = entry.get("relevance_score")
    if told is None:
        return 0.0
    try:
        return _float(told)
    except DECODE_FAULTS:
        return 0.0


def _shares(counted: Mapping[str, Any], weights: Sequence[int]) -> list[dict[str, Any]]:
    weights = weights if any(weights) else [1] * len(weights)
    divided = {name: _divide(value, weights) for name, value in counted.items()}
    return [{name: shares[place] for name, shares in divided.items()} for place in range(len(weights))]


def _divide(value: Any, weights: Sequence[int], depth: int = 0) -> list[Any]:
    """Divide what counts in `value` by `weights`, so that the shares of whole numbers add up to exactly the same."""
    if isinstance(value, dict) and depth < _DEEPEST:
        members = {name: _divide(member, weights, depth + 1) for name, member in value.items()}
        return [{name: shares[place] for name, shares in members.items()} for place in range(len(weights))]
    total = sum(weights)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return [value] * len(weights)
    if isinstance(value, float):
        return [value * (weight / total) for weight in weights]
    shares = [value * weight // total for weight in weights]
    # By largest remainder; of equal ones the first.
    rest = sorted(range(len(weights)), key=lambda place: -(value * weights[place] % total))
    for place in rest[: value - sum(shares)]:
        shares[place] += 1
    return shares


def _total(values: Sequence[Any], skip: int = 0, depth: int = 0) -> Any:
    """Add up what counts in `values` but for the first `skip`, which only say what else stands there."""
    first = next((value for value in values if value is not None), None)
    if isinstance(first, dict) and depth < _DEEPEST:
        names = dict.fromkeys(name for value in values if isinstance(value, dict) for name in value)
        objects = [value if isinstance(value, dict) else {} for value in values]
        return {name: _total([each.get(name) for each in objects], skip, depth + 1) for name in names}
    if isinstance(first, bool) or not isinstance(first, (int, float)):
        return first
    counts = [each for each in values[skip:] if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if all(isinstance(each, int) for each in counts):
        return sum(counts)
    return float(f"{sum(counts):.15g}")  # without the dust of divisions
