"""Explaining what the cache did with a request, or would do: the rule that decided, or the entry that was nearest."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from antiphon.cache.entry import Entry
from antiphon.cache.explaining import (
    Comparison,
    nearest,
    read_identity,
    redacted,
    shown_value,
    why_not_stored,
)
from antiphon.cache.selecting import Selector
from antiphon.engine.decisions import Decision, Decisions, decision_of
from antiphon.engine.incoming import Incoming
from antiphon.engine.shelving import Shelves
from antiphon.engine.turns import Turns
from antiphon.settings import Cache
from antiphon.wire.errors import StoreFault
from antiphon.wire.sealing import JsonValue

_COMPARED: Final = 200
_COMPARED_FOR_A_CLIENT: Final = 20
_COMPARED_BYTES: Final = 16 * 1024 * 1024
_AT_ONCE: Final = 2
_ENTRY_BYTES: Final = 1024

_BY_PASSES: Final = {
    "no-store": "The request forbids to read from the cache and to write to it.",
    "no-cache": "The request forbids to read from the cache; its answer may be stored.",
    "opt-in": "Only requests that ask for it take part (`X-Antiphon-Cache: on`), and this one does not.",
    "opt-out": "The request does not take part.",
    "conversation": "An answer that becomes part of a conversation is made for it alone.",
    "background": "A background answer is made for its request alone.",
}


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told."""

    sees_all: bool
    """The scopes of others, too: the admin."""
    compared: int
    """With how many entries of each level a request is compared."""


ADMIN: Final = Audience(sees_all=True, compared=_COMPARED)
CLIENT: Final = Audience(sees_all=False, compared=_COMPARED_FOR_A_CLIENT)


class Explaining:
    """Explains decisions of this process, and of requests that are not sent."""

    def __init__(
        self,
        turns: Turns,
        shelves: Shelves,
        decisions: Decisions,
        cache: Cache | None,
        *,
        secret: bytes,
        wall_clock: Callable[[], float],
    ) -> None:
        """Compare with what is on `shelves`; `secret` makes digests that nobody else can make."""
        self._turns = turns
        self._shelves = shelves
        self._decisions = decisions
        self._cache = cache
        self._secret = secret
        self._now = wall_clock
        self._comparing = asyncio.Semaphore(_AT_ONCE)

    async def past(self, request_id: str) -> dict[str, Any] | None:
        """Explain a request that was answered; None if it is not known (any more, or to this process)."""
        decision = self._decisions.get(request_id.encode(errors="replace"))
        return None if decision is None else await self._explained(decision, ADMIN)

    async def prospect(self, incoming: Incoming) -> dict[str, Any]:
        """Explain a request that is not sent. Raises GatewayError."""
        return await self._explained(decision_of(await self._turns.foretell(incoming), self._now()), ADMIN)

    async def in_short(self, incoming: Incoming) -> bytes:
        """Explain a request that is about to be answered, as a header for its client. Raises GatewayError."""
        decision = decision_of(await self._turns.foretell(incoming), self._now())
        return header_of(await self._explained(decision, CLIENT), tells_values=self._is_own(decision))

    def _is_own(self, decision: Decision) -> bool:
        """Whether the entries of a decision's scope are its own client's alone."""
        return decision.key is not None and decision.key.scope.startswith("key:")

    async def _explained(self, decision: Decision, audience: Audience) -> dict[str, Any]:
        ask, key, entry = decision.ask, decision.key, decision.entry
        told: dict[str, Any] = {
            "request_id": decision.request_id,
            "time": decision.time,
            "route": ask.route,
            "model": ask.target.alias,
            "target": f"{ask.target.provider}/{ask.target.model}",
            "mode": ask.asked.mode.value,
            "result": decision.result,
            "why": "",
            "key": None if key is None else key.digest.hex(),
            "scope": None if key is None else key.scope,
        }
        if decision.result == "bypass":
            told["rule"] = {"name": decision.detail, "said_by": decision.controls.said_by}
        if decision.meaning is not None:
            told["semantic"] = decision.meaning
        if decision.items:
            told["items"] = decision.items
        if entry is not None:
            told["entry"] = _entry(entry, decision.time)
            if decision.result == "semantic":
                told["entry"] |= {"kind": "semantic", "similarity": round(decision.similarity, 4)}
        if decision.ending is not None:
            told["status"], told["error"] = decision.ending.status, decision.ending.error
            told |= self._stored(decision)
        if decision.result == "collapsed" and decision.recording is not None:
            told["joined"] = self._decisions.payer_of(decision.recording)
        comparison = None
        if key is not None and decision.result in {"miss", "partial"} and entry is None:
            gone = self._shelves.memory.gone(key.digest)
            if gone is not None and gone.at <= decision.time:
                told["gone"] = {"how": gone.how, "at": gone.at}
            comparison = await self._nearest(decision, audience)
            told["nearest"] = None if comparison is None else self._nearest_told(comparison, decision.time)
        told["why"] = _why(decision, told, comparison)
        return told

    def _stored(self, decision: Decision) -> dict[str, Any]:
        """Say whether an answer that the upstream was asked for was stored, and why not."""
        recording, cache = decision.recording, self._cache
        if not decision.pays or recording is None or cache is None:
            return {}
        if not decision.controls.write:
            why = decision.controls.said_by
        else:
            size = recording.size + _ENTRY_BYTES + (0 if decision.key is None else len(decision.key.identity))
            limited = decision.ask.request.limited
            why = why_not_stored(recording.outcome, size, cache.max_entry_bytes, limited=limited)
        return {"stored": not why} | ({"not_stored": why} if why else {})

    async def _nearest(self, decision: Decision, audience: Audience) -> Comparison | None:
        assert decision.key is not None
        asked = read_identity(decision.key.identity)
        if asked is None:
            return None
        async with self._comparing:
            entries = await self._others(decision, audience)
            return await asyncio.to_thread(nearest, asked, entries)

    async def _others(self, decision: Decision, audience: Audience) -> list[Entry]:
        """Return entries to compare with, newest first: of the same target and scope, else of one of the two."""
        key, target = decision.key, decision.ask.target
        assert key is not None
        named = f"{target.provider}/{target.model}"
        selectors = [Selector(scope=key.scope, model=named), Selector(scope=key.scope)]
        if audience.sees_all:
            selectors.append(Selector(model=named))
        found: dict[bytes, Entry] = {}

        def take(entries: Iterable[Entry]) -> None:
            for entry in entries:
                if entry.digest != key.digest and entry.stored_at <= decision.time:
                    found.setdefault(entry.digest, entry)

        for selector in selectors:
            take(self._shelves.memory.latest(selector, audience.compared))
        # A client may ask as often as it likes: what costs more is looked through where nothing else is there.
        for selector in selectors if audience.sees_all or not found else ():
            take(await self._stored_ones(selector, audience.compared))
        newest = sorted(found.values(), key=lambda entry: entry.stored_at, reverse=True)
        return _within(newest, _COMPARED_BYTES)

    async def _stored_ones(self, selector: Selector, limit: int) -> list[Entry]:
        level = self._shelves.level
        if level is None:
            return []
        try:
            return await level.select(selector, limit)
        except StoreFault:
            return []  # what memory has is better than nothing

    def _nearest_told(self, comparison: Comparison, time: float) -> dict[str, Any]:
        entry, found = comparison.entry, comparison.differences
        return {
            **_entry(entry, time),
            "scope": entry.origin.scope,
            "circumstances": [
                {"name": name, "asked": asked, "stored": stored}
                for name, asked, stored in comparison.circumstances
            ],
            "differences": len(found),
            "first": redacted(found[0], self._secret) if found else None,
        }


def header_of(told: Mapping[str, Any], *, tells_values: bool) -> bytes:
    """Write an explanation as one line; `tells_values`: also how long values are, and where they begin to differ."""
    parts: dict[str, JsonValue] = {}
    match told:
        case {"rule": {"name": name, "said_by": said_by}}:
            parts = {"rule": name, "said-by": said_by}
        case {"nearest": {"key": key, "circumstances": circumstances, "first": first}}:
            parts = {"nearest": key}
            if circumstances:
                parts |= {"other": ", ".join(each["name"] for each in circumstances)}
            if first is not None:
                parts |= {"differs": first["path"], "differences": told["nearest"]["differences"]}
            if first is not None and tells_values:
                parts |= {"asked": shown_value(first["asked"]), "stored": shown_value(first["stored"])}
                if "same_until" in first:
                    parts["same-until"] = first["same_until"]
        case {"nearest": None}:
            parts = {"nearest": "none"}
        case {"entry": {"age": age, "ttl": ttl}}:
            parts = {"age": int(age), "ttl": int(ttl // 1)}
    return "; ".join([told["result"], *(f"{name}={_item(value)}" for name, value in parts.items())]).encode()


def _item(value: JsonValue) -> str:
    if isinstance(value, int):
        return str(value)
    shown = "".join(char if " " <= char <= "~" else "?" for char in str(value))
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _within(entries: list[Entry], max_bytes: int) -> list[Entry]:
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.identity)
        if size > max_bytes:
            return entries[:count]
    return entries


def _entry(entry: Entry, time: float) -> dict[str, Any]:
    return {
        "key": entry.shown_key.decode(),
        "kind": "exact",
        "stored_at": entry.stored_at,
        "age": round(time - entry.stored_at, 3),
        "ttl": round(entry.expires_at - time, 3),
        "mode": entry.recording.mode.value,
        "model": entry.origin.model,
        "tags": list(entry.tags),
    }


def _why(decision: Decision, told: Mapping[str, Any], comparison: Comparison | None) -> str:
    ttl = told.get("entry", {}).get("ttl", 0.0)
    match decision.result, decision.detail:
        case "off", _:
            return "There is no cache: the configuration has no `cache` section."
        case "bypass", rule:
            return _BY_PASSES.get(rule, "The cache is by-passed.")
        case "hit", _:
            return "An equal request was answered before."
        case "semantic", _:
            return "A request that means the same was answered before."
        case "stale", _ if decision.ending is not None and decision.ending.error:
            return f"The upstream failed ({decision.ending.error}), and an expired entry stood in for it."
        case "stale", _:
            return (
                f"The entry had expired {-ttl:.0f} seconds before, which the request or the settings allow."
            )
        case "collapsed", _:
            return "An equal request was in flight, and this one joined it."
        case "refresh", _:
            return "An expired entry had been given, and was refreshed in the background."
        case "partial", _:
            return f"Of the items {decision.detail} had an entry."
        case _, "stale":
            return f"The entry had expired {-ttl:.0f} seconds before."
        case _, "request":
            return "There is a fresh entry, but the request limits its age, or wants it fresh for longer."
    return _why_missed(told, comparison)


def _why_missed(told: Mapping[str, Any], comparison: Comparison | None) -> str:
    if "gone" in told:
        how = "evicted to make room" if told["gone"]["how"] == "evicted" else "removed"
        return f"There was an entry, but it was {how}."
    if comparison is None:
        return "There was no entry in the same scope."
    if comparison.circumstances:
        names = ", ".join(name for name, _, _ in comparison.circumstances)
        return f"No entry is of the same {names}."
    if not comparison.differences:
        return "The nearest entry differs only where readers of JSON do not agree, such as a name that stands twice."
    return f"No entry is equal; the nearest differs at {comparison.differences[0].path} first."
