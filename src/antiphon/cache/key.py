"""The cache key: everything in the request counts unless it is known not to change the answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from antiphon.wire.json import canonical

NOT_KEYED = frozenset(
    {
        "stream",
        "stream_options",
        "store",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "service_tier",
        "background",
        "cache",
        "nomyo",
    }
)
"""Members of a request that do not change the answer. A `cache` that is not ours stays in the key."""

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What the key takes from outside the body."""

    dialect: str
    route: str
    target: str
    scope: str
    namespace: str
    mode: str
    """`stream` or `json` where the two have separate entries, else ""."""
    variant: str = ""
    """What else outside the body changes the answer, such as `anthropic-beta`."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A digest to look up by, and what it stands for, to compare with: a collision must be a miss."""

    digest: bytes
    identity: bytes
    scope: str = ""
    """Who shares what is found under it."""


def cache_key(circumstance: Circumstance, members: Mapping[str, msgspec.Raw], *, own_cache: bool) -> CacheKey:
    """Return the key of a request; `own_cache` is whether its `cache` member was meant for this gateway."""
    identity = _around(circumstance) + canonical(_keyed(members, own_cache=own_cache))
    return _key(identity, circumstance.scope)


@dataclass(frozen=True, slots=True)
class ListKeys:
    """The keys of a request that is a list of items."""

    whole: CacheKey
    each: list[CacheKey]
    """For each item the key of the request that asks for nothing else."""


def list_keys(
    circumstance: Circumstance,
    members: Mapping[str, msgspec.Raw],
    member: str,
    items: Sequence[bytes],
    *,
    alone: Mapping[str, msgspec.Raw],
    written: bytes = b"%b",
    own_cache: bool,
) -> ListKeys:
    """Return the keys of a request whose `member` is a list of `items`, in canonical form.

    A request for one item has the other members `alone`, and the item in `member`, `written` so.
    """
    around, scope = _around(circumstance), circumstance.scope
    before, after = _canonical_around(_keyed(members, own_cache=own_cache), member)
    whole = _key(b"%b%b[%b]%b" % (around, before, b",".join(items), after), scope)
    before, after = _canonical_around(_keyed(alone, own_cache=own_cache), member)
    form = (around + before).replace(b"%", b"%%") + written + after.replace(b"%", b"%%")
    return ListKeys(whole, [_key(form % item, scope) for item in items])


def _keyed(members: Mapping[str, msgspec.Raw], *, own_cache: bool) -> dict[str, msgspec.Raw]:
    return {
        name: value
        for name, value in members.items()
        if name not in NOT_KEYED or (name == "cache" and not own_cache)
    }


def _canonical_around(members: Mapping[str, msgspec.Raw], member: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the value of `member` in the canonical form of an object."""
    before = canonical({name: value for name, value in members.items() if name < member})
    after = canonical({name: value for name, value in members.items() if name > member})
    comma = b"," if len(before) > len(b"{}") else b""
    rest = b"," + after[1:] if len(after) > len(b"{}") else b"}"
    return b"%b%b%b:" % (before[:-1], comma, msgspec.json.encode(member)), rest


def _around(circumstance: Circumstance) -> bytes:
    return msgspec.json.encode(
        (
            _VERSION,
            circumstance.dialect,
            circumstance.route,
            circumstance.target,
            circumstance.scope,
            circumstance.namespace,
            circumstance.mode,
            circumstance.variant,
        )
    )


def _key(identity: bytes, scope: str) -> CacheKey:
    return CacheKey(hashlib.sha256(identity).digest()[:16], identity, scope)
