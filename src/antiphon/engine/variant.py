"""What a client says beside the body that changes its answer: it goes on to the upstream, and counts in the key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.wire.errors import ClientFault

ANTHROPIC_VERSION = b"2023-06-01"
"""What is sent where a client names no version; naming this one says nothing more."""

_NAMES = (b"anthropic-version", b"anthropic-beta")
_UNSAID = {b"anthropic-version": ANTHROPIC_VERSION}
_QUERY = b"beta=true"
# Heads are kept for the next request: what goes into them is bounded, and can be sent.
_SENDABLE = re.compile(rb"[\x20-\x7e]{1,2048}")


@dataclass(frozen=True, slots=True)
class Variant:
    """The part of a request's head that reaches the upstream."""

    query: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def key(self) -> str:
        """What of it counts in the cache key."""
        return self.query + "".join(f"\n{name.decode()}: {value.decode()}" for name, value in self.headers)


NO_VARIANT = Variant()


def shortcut(headers: Mapping[bytes, bytes], query: bytes) -> tuple[bytes | None, ...]:
    """Return what requests of equal bytes must also have in common to mean the same."""
    return (query, *(headers.get(name) for name in _NAMES))


def read_variant(headers: Mapping[bytes, bytes], query: bytes) -> Variant:
    """Read the head of a request to Anthropic Messages. Raises ClientFault for what cannot be passed on."""
    told = []
    for name in _NAMES:
        value = headers.get(name)
        if value is None or value == _UNSAID.get(name):
            continue
        if not _SENDABLE.fullmatch(value):
            raise ClientFault(
                f"The header {name.decode()} must be 1 to 2048 characters of ASCII.", code="invalid_header"
            )
        told.append((name, value))
    asks_beta = bool(query) and _QUERY in query.split(b"&")
    if not told and not asks_beta:
        return NO_VARIANT
    return Variant("?" + _QUERY.decode() if asks_beta else "", tuple(told))
