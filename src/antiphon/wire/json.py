"""JSON with as little work as possible: top-level members kept raw, and a canonical form to compare by."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from antiphon.wire.errors import ClientFault
from antiphon.wire.splice import member_spans

Members = dict[str, msgspec.Raw]
"""The members of an object, values as the bytes that stood there."""

_MEMBERS = msgspec.json.Decoder(Members)
_CANONICAL = msgspec.json.Encoder(order="deterministic").encode
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_MARK = b":"
"""Stands once for each member, and in strings as often before as after they were read and written again, …"""
_ESCAPED_MARK = b"\\u003"
"""… unless it is written so."""
_UNREADABLE = (ValueError, RecursionError)


def _number(text: str) -> int | float:
    """Read a number that is written as a float: `1.0` and `1e2` are integers."""
    number = float(text)
    if number.is_integer():
        return int(number)
    if math.isinf(number):
        raise ValueError(text)
    return number


_ANY = msgspec.json.Decoder(float_hook=_number).decode


def read_members(body: bytes) -> Members:
    """Read a request body. Raises ClientFault, saying at which byte, for what is not a JSON object."""
    try:
        members = _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        raise ClientFault("The request body must be a JSON object.", code="invalid_type") from error
    except msgspec.DecodeError as error:
        halves = _with_halves(body)
        if halves is not None:
            return halves
        detail = str(error).removeprefix("JSON is malformed: ")
        if "truncated" in detail:
            detail = f"it ends too early (byte {len(body)})"
        raise ClientFault(f"The request body is not valid JSON: {detail}.", code="invalid_json") from error
    except RecursionError as error:
        raise ClientFault("The request body is nested too deeply.", code="invalid_json") from error
    except UnicodeDecodeError:
        members = {}
    if not body.isascii():
        # The decoder passes over the strings that it leaves raw.
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise ClientFault(
                f"The request body is not valid UTF-8 (byte {error.start}).", code="invalid_json"
            ) from error
    return members


def _with_halves(body: bytes) -> Members | None:
    """Read an object that holds half of a surrogate pair, an emoji cut in two: JSON allows it, msgspec does not."""
    if not _HALF.search(body):
        return None
    try:
        names = json.loads(body.decode(), parse_int=str, parse_constant=_refuse_constant)
        if not isinstance(names, dict):
            return None
        spans = member_spans(body, [(name,) for name in names])
    except _UNREADABLE:
        return None
    if len(spans) != len(names):
        return None
    return {name: msgspec.Raw(body[start:stop]) for (name,), (start, stop) in spans.items()}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def write_members(members: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """Write an object whose values are JSON already."""
    return b"{" + b",".join([b"%b:%b" % (_key(name), value) for name, value in members.items()]) + b"}"


def repeats_members(body: bytes, members: Members) -> bool:
    """Whether a member stands twice in the outermost object of `body`, of which `members` holds the last."""
    if body.count(_MARK) == _marks(members) and _ESCAPED_MARK not in body:
        return False
    try:
        return len(json.loads(body, object_pairs_hook=tuple, parse_int=str)) != len(members)
    except _UNREADABLE:
        return True


def canonical(members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return bytes that are equal for objects of equal meaning: keys sorted, numbers by value, no blanks.

    A member that JSON allows but this reader does not (numbers beyond a double, lone surrogates), or that not
    all readers understand in the same way (names that stand twice), keeps the bytes that the client sent:
    then only equal bytes are equal.
    """
    try:
        encoded = _CANONICAL({name: _ANY(raw) for name, raw in members.items()})
    except _UNREADABLE:
        return _canonical_each(members)
    # Fewer names than were read: some stand twice.
    if encoded.count(_MARK) != _marks(members) and any(map(_repeats, members.values())):
        return _canonical_each(members)
    return encoded


def _canonical_each(members: Mapping[str, msgspec.Raw]) -> bytes:
    return write_members({name: _canonical_or_raw(members[name]) for name in sorted(members)})


def _canonical_or_raw(raw: msgspec.Raw) -> bytes:
    try:
        return bytes(raw) if _repeats(raw) else _CANONICAL(_ANY(raw))
    except _UNREADABLE:
        return bytes(raw)


def canonical_value(raw: bytes | msgspec.Raw) -> bytes:
    """Return for one value what `canonical` makes of it as a member of an object."""
    # Only objects have names that could stand twice, and no other value is worth a slow second reading.
    if b"{" in bytes(raw):
        return _canonical_or_raw(msgspec.Raw(raw))
    try:
        return _CANONICAL(_ANY(raw))
    except _UNREADABLE:
        return bytes(raw)


def _marks(members: Mapping[str, msgspec.Raw]) -> int:
    """How often the mark stands in `members`; less than nothing if that cannot be told."""
    values = b",".join(members.values())
    if _ESCAPED_MARK in values:
        return -1
    return values.count(_MARK) + sum([1 + name.count(":") for name in members])


def _repeats(raw: msgspec.Raw) -> bool:
    try:
        json.loads(bytes(raw), object_pairs_hook=_refuse_repeats, parse_int=str)
    except _UNREADABLE:
        return True
    return False


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")


_KEYS: dict[str, bytes] = {}
_KEYS_LIMIT = 1024
_KEYS_LENGTH = 64


def _key(name: str) -> bytes:
    encoded = _KEYS.get(name)
    if encoded is None:
        encoded = msgspec.json.encode(name)
        if len(_KEYS) < _KEYS_LIMIT and len(name) <= _KEYS_LENGTH:
            _KEYS[name] = encoded
    return encoded
