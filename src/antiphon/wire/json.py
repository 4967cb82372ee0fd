"""JSON with as little work as possible: top-level members kept raw, and a canonical form to compare by."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.wire.errors import ClientFault

Members = dict[str, msgspec.Raw]
"""The members of an object, values as the bytes that stood there."""

_MEMBERS = msgspec.json.Decoder(Members)
_ANY = msgspec.json.Decoder()
_CANONICAL = msgspec.json.Encoder(order="deterministic")
# A number that may be an integer although it is written as a float: `1.0`, `1e20`.
_FLOAT_INTEGER = re.compile(rb"[:,\[{]-?\d[\d.]*(?:\.0[,\]}]|e)")


def read_members(body: bytes) -> Members:
    """Read a request body. Raises ClientFault, saying at which byte, for what is not a JSON object."""
    try:
        return _MEMBERS.decode(body)
    except msgspec.ValidationError as error:
        raise ClientFault("The request body must be a JSON object.", code="invalid_type") from error
    except msgspec.DecodeError as error:
        detail = str(error).removeprefix("JSON is malformed: ")
        if "truncated" in detail:
            detail = f"it ends too early (byte {len(body)})"
        raise ClientFault(f"The request body is not valid JSON: {detail}.", code="invalid_json") from error
    except UnicodeDecodeError as error:
        raise ClientFault(
            f"The request body is not valid UTF-8 (byte {error.start}).", code="invalid_json"
        ) from error


def write_members(members: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """Write an object whose values are JSON already."""
    return b"{" + b",".join(b"%b:%b" % (_key(name), value) for name, value in members.items()) + b"}"


def canonical(members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return bytes that are equal for objects of equal meaning: keys sorted, numbers by value, no blanks.

    What JSON allows but this reader does not (numbers beyond a double, lone surrogates) keeps the bytes that
    the client sent: then only equal bytes are equal.
    """
    try:
        value = {name: _ANY.decode(raw) for name, raw in members.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return write_members(dict(sorted(members.items())))
    encoded = _CANONICAL.encode(value)
    if _FLOAT_INTEGER.search(encoded):
        return _CANONICAL.encode(_integers(value))
    return encoded


def _integers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_integers(member) for member in value]
    return value


_KEYS: dict[str, bytes] = {}
_KEYS_LIMIT = 1024


def _key(name: str) -> bytes:
    encoded = _KEYS.get(name)
    if encoded is None:
        encoded = msgspec.json.encode(name)
        if len(_KEYS) < _KEYS_LIMIT:
            _KEYS[name] = encoded
    return encoded
