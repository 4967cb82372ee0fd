"""The cache key: everything in the request counts unless it is known not to change the answer."""

import hashlib
from collections.abc import Mapping
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
    keyed = {
        name: value
        for name, value in members.items()
        if name not in NOT_KEYED or (name == "cache" and not own_cache)
    }
    around = msgspec.json.encode(
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
    identity = around + canonical(keyed)
    return CacheKey(hashlib.sha256(identity).digest()[:16], identity, circumstance.scope)
