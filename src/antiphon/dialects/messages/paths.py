"""Faults of requests to Anthropic Messages: where they are is written as Anthropic does, `messages.0.content.1.type`."""

from typing import Any, Final, TypeVar

from antiphon.turn.events import Item
from antiphon.wire.errors import ClientFault

_NAMES: Final = {
    str: "a string",
    list: "a list",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "an object",
}
_T = TypeVar("_T")


def expect(value: Any, types: tuple[type, ...], path: str) -> Any:
    """Return `value` if it has one of `types`. Raises ClientFault."""
    if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
        return value
    named = " or ".join(_NAMES[kind] for kind in types if not (kind is int and float in types))
    raise ClientFault(f"'{path}' must be {named}.", code="invalid_type", param=path)


def member(holder: Item, name: str, kind: type[_T], path: str = "") -> _T:
    """Return a member that must be there. Raises ClientFault."""
    place = f"{path}.{name}" if path else name
    if holder.get(name) is None:
        raise ClientFault(
            f"Missing required parameter: '{place}'.", code="missing_required_parameter", param=place
        )
    value: _T = expect(holder[name], (kind,), place)
    return value


def refuse(path: str, what: str) -> ClientFault:
    """Return the fault for a request that wants what only Anthropic has."""
    return ClientFault(
        f"There is no form for {what} at this model's provider ('{path}').",
        code="unsupported_parameter",
        param=path,
    )
