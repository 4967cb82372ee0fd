"""What a turn asks of the cache, and the key of what answers it."""

from collections.abc import Mapping

import msgspec

from antiphon.cache.controls import Controls, read_controls
from antiphon.cache.key import CacheKey, Circumstance, cache_key
from antiphon.engine.per_item.items import items_of
from antiphon.engine.source import Source
from antiphon.engine.turn import Turn
from antiphon.settings import Cache
from antiphon.turn.history import head_of


def controls_of(turn: Turn, headers: Mapping[bytes, bytes], cache: Cache) -> Controls:
    """Return what a turn asks of the cache. Raises ClientFault."""
    stateful = turn.ask.request.stateful_member
    if turn.context is not None and turn.context.conversation is not None:
        stateful = "conversation"
    if stateful in {"conversation", "background"}:
        return Controls(bypass=stateful, said_by=stateful, write=False)
    request = turn.ask.request
    return read_controls(headers, request.cache_member, opt_in=cache.mode == "opt-in", opted=request.opted_in)


def key_of(
    turn: Turn, source: Source, cache: Cache, members: Mapping[str, msgspec.Raw] | None = None
) -> CacheKey:
    """Return the key of a turn whose controls are known, or of what it would be with other members.

    A turn that is a list of items gets them.
    """
    owner, scope = turn.ask.owner, cache.scope
    is_apart = cache.stream == "separate" or turn.ask.request.is_apart
    named = {"key": f"key:{owner.name}", "project": f"project:{owner.project}", "global": ""}[scope]
    circumstance = Circumstance(
        dialect=turn.ask.dialect.name,
        route=turn.ask.route,
        target=f"{turn.ask.target.provider}/{turn.ask.target.model}",
        scope=named,
        namespace=turn.controls.namespace,
        mode=turn.ask.asked.mode.value if is_apart else "",
        variant=turn.ask.variant.key,
    )
    own_cache = turn.ask.request.cache_member is not None
    items = items_of(turn.ask.request, source.settings, circumstance)
    if items is not None:
        if len(items.keys) == 1:
            return items.keys[0]
        turn.items = items
        return items.whole
    members = turn.ask.request.members if members is None else members
    if turn.context is not None and turn.context.inherited:
        # Entries keep what their key was made from: with the whole history in each, a chain would cost its square.
        head = head_of(owner.name, turn.context.before, turn.context.new)
        if head is not None:
            members = {**members, "input": msgspec.Raw(b'{"history":"%b"}' % head.id.hex().encode())}
    return cache_key(circumstance, members, own_cache=own_cache)
