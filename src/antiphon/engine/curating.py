"""What an administrator does to the cache: look into it, purge, pin, and mark an answer as wrong.

Orders come as JSON, from `/admin/v1/cache` and from the command line alike.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from antiphon.cache.changes import Kind
from antiphon.cache.entry import Entry
from antiphon.cache.selecting import PROMPT_LENGTH, Selector
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.changing import Changing, selected
from antiphon.ports.stores import CacheLevel, ResponseStore, Share
from antiphon.settings import Duration
from antiphon.wire.errors import ClientFault

OnWrong = Callable[[Entry], Awaitable[Sequence[bytes]]]
"""Hears of an answer that is wrong, and returns the digests of others that are likely to be wrong with it."""

Order = dict[str, Any]
Outcome = dict[str, Any]

MOST_PINNED: Final = 1_000
"""Entries that are pinned at a time: they are not bounded by what else makes room."""
_MOST_LISTED: Final = 1_000
_LONGEST_TEXT: Final = 512
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_PROMPT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_NAMES: Final = frozenset({"key", "response"})
_SELECTORS: Final = _NAMES | {"model", "tag", "scope", "prompt", "older_than"}
_TEXTS: Final = _SELECTORS - {"older_than"}
_FLAGS: Final = frozenset({"all", "pinned", "soft", "dry_run"})


class Curating:
    """Carries out orders; those that cannot be are refused with ClientFault, and storage that is gone with StoreFault."""

    def __init__(
        self,
        changing: Changing,
        memory: MemoryCache,
        level: CacheLevel | None,
        responses: ResponseStore,
        *,
        now: Callable[[], float],
    ) -> None:
        """Look into `memory` and `level`, and change them through `changing`."""
        self._changing = changing
        self._memory = memory
        self._level = level
        self._responses = responses
        self._now = now
        self.on_wrong: OnWrong | None = None

    async def purge(self, order: Order) -> Outcome:
        """Remove what is meant, or let it be stale (`soft`); `dry_run` only counts it."""
        _check(order, _SELECTORS | _FLAGS)
        selector = await self._selector(order, "purge")
        done = "expired" if order.get("soft") else "removed"
        if order.get("dry_run"):
            in_memory, stored = len(self._memory.select(selector)), 0
            if self._level is not None:
                stored = await self._level.count(selector)
            return {done: max(in_memory, stored), "dry_run": True}
        changed = await self._changing.change(Kind.EXPIRE if order.get("soft") else Kind.PURGE, selector)
        return {done: changed.count}

    async def pin(self, order: Order) -> Outcome:
        """Keep an entry whatever its age, until it is purged by its name or unpinned."""
        found = await self._named(order)
        pinned = sum(1 for entry in self._memory.select(Selector()) if entry.is_pinned)
        if self._level is not None:
            pinned = (await self._level.totals()).all.pinned
        if pinned + sum(1 for entry in found if not entry.is_pinned) > MOST_PINNED:
            raise ClientFault(
                f"At most {MOST_PINNED} entries may be pinned, and {pinned} are.",
                code="too_many_pinned",
                status=409,
            )
        return await self._pin(found, Kind.PIN)

    async def unpin(self, order: Order) -> Outcome:
        """Let a pinned entry expire as others do."""
        return await self._pin(await self._named(order), Kind.UNPIN)

    async def wrong(self, order: Order) -> Outcome:
        """Remove an entry whose answer is wrong, pinned or not, and those that are likely to be wrong with it."""
        found = await self._named(order)
        related: list[bytes] = []
        if self.on_wrong is not None:
            for entry in found:
                related += await self.on_wrong(entry)
        removed = await self._purge_each([entry.digest for entry in found])
        neighbours = set(related) - {entry.digest for entry in found}
        return {"removed": removed, "neighbours": await self._purge_each(list(neighbours))}

    async def entries(self, order: Order) -> Outcome:
        """Show what is meant, newest first: all of it if nothing is said."""
        _check(order, _SELECTORS | {"limit"})
        limit = order.get("limit", 50)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST_LISTED:
            raise _fault("limit", f"is a number between 1 and {_MOST_LISTED}")
        selector = await self._selector({"pinned": True, **order, "all": True}, "list")
        stored = [] if self._level is None else await self._level.select(selector, limit)
        found = selected(self._memory, stored, selector)[:limit]
        now = self._now()
        return {"data": [_shown(entry, now) for entry in found]}

    async def stats(self) -> Outcome:
        """Say how much there is, in the memory of this worker and in the second level."""
        memory: dict[str, Share] = {}
        for entry in self._memory.select(Selector()):
            share = memory.get(entry.origin.target, Share(0, 0, 0))
            memory[entry.origin.target] = Share(
                share.entries + 1, share.bytes + entry.size, share.pinned + entry.is_pinned
            )
        pinned = sum(share.pinned for share in memory.values())
        outcome = {
            "memory": {
                **_told(Share(len(self._memory), self._memory.size, pinned)),
                "evictions": self._memory.evictions,
                "models": {name: _told(share) for name, share in sorted(memory.items())},
            }
        }
        if self._level is not None:
            totals = await self._level.totals()
            outcome["stored"] = {
                **_told(totals.all),
                "models": {name: _told(share) for name, share in totals.by_target.items()},
            }
        return outcome

    async def _pin(self, found: Sequence[Entry], kind: Kind) -> Outcome:
        for entry in found:
            await self._changing.change(kind, Selector(digest=entry.digest))
        return {f"{kind.value}ned": len(found)}

    async def _purge_each(self, digests: Sequence[bytes]) -> int:
        changed = [await self._changing.change(Kind.PURGE, Selector(digest=digest)) for digest in digests]
        return sum(each.count for each in changed)

    async def _named(self, order: Order) -> list[Entry]:
        """Return the entries that hold the one answer that is named."""
        _check(order, _NAMES)
        if len(_NAMES & order.keys()) != 1:
            raise ClientFault("Name one answer: `key` or `response`.", code="invalid_value")
        selector = await self._selector(order, "name")
        stored = [] if self._level is None else await self._level.select(selector, 100)
        found = selected(self._memory, stored, selector)
        if not found:
            raise ClientFault("No such answer is in the cache.", code="not_found", status=404)
        return found

    async def _selector(self, order: Order, verb: str) -> Selector:
        given = _SELECTORS & order.keys()
        if not given and order.get("all") is not True:
            raise ClientFault(
                f"Nothing says what to {verb}: {', '.join(sorted(_SELECTORS))}, or `all`.",
                code="invalid_value",
            )
        if given and order.get("all") and verb == "purge":
            raise _fault("all", f"goes without {min(given)}")
        response = order.get("response")
        recordings = [] if response is None else await self._responses.recordings_of(response)
        scope = order.get("scope")
        return Selector(
            digest=_digest(order.get("key")),
            # Many responses may show one recording: the entry is found by that.
            recording_id=recordings[0] if recordings else None,
            public_id=response if not recordings else None,
            model=order.get("model"),
            tag=order.get("tag"),
            scope="" if scope == "global" else scope,
            prompt=order.get("prompt"),
            stored_before=None if "older_than" not in order else self._now() - _seconds(order["older_than"]),
            spares_pinned=not (order.get("pinned") or _NAMES & given),
        )


def read_order(body: bytes) -> Order:
    """Read an order. Raises ClientFault."""
    try:
        order = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientFault(f"The body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(order, dict):
        raise ClientFault("The body must be an object.", code="invalid_type")
    return {name: value for name, value in order.items() if value is not None}


def _check(order: Order, known: frozenset[str]) -> None:
    for name, value in order.items():
        if name not in known:
            raise _fault(name, f"is not known here: {', '.join(sorted(known))}")
        if name in _FLAGS:
            if not isinstance(value, bool):
                raise _fault(name, "is true or false")
        elif name in _TEXTS:
            _check_text(name, value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or (not value and name != "scope"):
        raise _fault(name, "is a text")
    longest = PROMPT_LENGTH if name == "prompt" else _LONGEST_TEXT
    if len(value) > longest:
        raise _fault(name, f"has at most {longest} characters")
    if (_CONTROL_IN_PROMPT if name == "prompt" else _CONTROL).search(value):
        raise _fault(name, "holds a control character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _fault(name, "holds half a character")


def _digest(key: str | None) -> bytes | None:
    if key is None:
        return None
    try:
        return bytes.fromhex(key)
    except ValueError as error:
        raise _fault("key", "is hexadecimal, as Cache-Status shows it") from error


def _seconds(value: object) -> float:
    try:
        return Duration.parse(value)
    except ValueError as error:
        raise _fault("older_than", "is a number of seconds, or a duration such as `1h`") from error


def _fault(name: str, why: str) -> ClientFault:
    return ClientFault(f"`{name[:64]}` {why}.", code="invalid_value", param=name[:64])


def _told(share: Share) -> dict[str, int]:
    return {"entries": share.entries, "bytes": share.bytes, "pinned": share.pinned}


def _shown(entry: Entry, now: float) -> Outcome:
    return {
        "key": entry.digest.hex(),
        "response": entry.public_id or None,
        "model": entry.origin.model,
        "target": entry.origin.target,
        "scope": entry.origin.scope or "global",
        "tags": list(entry.tags),
        "prompt": entry.origin.prompt,
        "age": round(now - entry.stored_at),
        "ttl": round(entry.expires_at - now),
        "pinned": entry.is_pinned,
        "bytes": entry.size,
    }
