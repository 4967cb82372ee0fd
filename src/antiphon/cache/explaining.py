"""Why the cache did what it did: identities read back and compared, and what may be told of the values in them.

Nothing of a text is ever told but its length, where two begin to differ, and a short digest that only this process can
make: enough to see whether two are the same, and too little to guess what they say.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Final

from antiphon.cache.entry import Entry
from antiphon.cache.key import Circumstance
from antiphon.recording import Outcome, State
from antiphon.wire.difference import Absent, Difference, common_length, differences

_CIRCUMSTANCES: Final = tuple(field.name for field in fields(Circumstance))
_MOST_DIFFERENCES: Final = 100
_DIGEST_BYTES: Final = 4
_WORD: Final = re.compile(r"[A-Za-z0-9][\w.:/\-]{0,63}", re.ASCII)
_PARAMETERS: Final = frozenset(
    {
        *("model", "role", "type", "effort", "verbosity", "truncation", "detail", "format", "summary"),
        *("encoding_format", "tool_choice", "reasoning_effort", "response_format", "mode", "input_type"),
        *("modality", "service", "status", "language", "strategy", "task", "thinking", "object"),
    }
)
"""Names of members whose values are words of an API, not of a user."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a key stands for, read back."""

    circumstances: dict[str, str]
    members: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A request beside a stored entry."""

    entry: Entry
    circumstances: tuple[tuple[str, str, str], ...]
    """What differs outside the body: (name, as asked, as stored)."""
    differences: tuple[Difference, ...]
    """What differs in the body, the first first."""

    @property
    def cost(self) -> float:
        """How far the two are from each other: a text that begins differently is further than any number."""
        return 10 * len(self.circumstances) + sum(map(_distance, self.differences))


def read_identity(identity: bytes) -> Identity | None:
    """Read what `cache_key` wrote; None for what cannot be read back."""
    try:
        text = identity.decode()
        around, end = _DECODER.raw_decode(text)
        members = json.loads(text[end:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict) or len(around) != len(_CIRCUMSTANCES) + 1:
        return None
    return Identity(dict(zip(_CIRCUMSTANCES, map(str, around[1:]), strict=True)), members)


def compare(asked: Identity, entry: Entry) -> Comparison | None:
    """Compare a request with an entry; None if that cannot be read."""
    stored = read_identity(entry.identity)
    if stored is None:
        return None
    circumstances = tuple(
        (name, told, stored.circumstances[name])
        for name, told in asked.circumstances.items()
        if stored.circumstances[name] != told
    )
    try:
        found = tuple(islice(differences(asked.members, stored.members), _MOST_DIFFERENCES))
    except RecursionError:
        return None
    return Comparison(entry, circumstances, found)


def nearest(asked: Identity, entries: Iterable[Entry]) -> Comparison | None:
    """Return the entry that differs least from a request, the newest of several."""
    compared: Iterator[Comparison] = (
        each for entry in entries if (each := compare(asked, entry)) is not None
    )
    return min(compared, key=lambda each: (each.cost, -each.entry.stored_at), default=None)


def why_not_stored(outcome: Outcome, size: int, max_bytes: int, *, limited: bool) -> str:
    """Say why an answer was not stored although the request let it be; "" if nothing speaks against it."""
    match outcome.state:
        case State.COMPLETED:
            pass
        case State.INCOMPLETE if outcome.reason != "max_output_tokens":
            return f"the answer is incomplete: {outcome.reason or 'for no reason given'}"
        case State.INCOMPLETE if not limited:
            return "the answer ended at a token limit that the request had not set"
        case State.INCOMPLETE:
            pass
        case _:
            return f"the answer has {outcome.state.value}: {outcome.reason or 'for no reason given'}"
    return "" if size <= max_bytes else f"the answer is larger than cache.max_entry_bytes ({max_bytes})"


def redacted(difference: Difference, secret: bytes) -> dict[str, Any]:
    """Tell of a difference what may be told: digests of texts are made with `secret`."""
    told: dict[str, Any] = {
        "path": difference.path,
        "asked": _told(difference, difference.mine, secret),
        "stored": _told(difference, difference.theirs, secret),
    }
    if (
        isinstance(difference.mine, str)
        and isinstance(difference.theirs, str)
        and "value" not in told["asked"]
    ):
        told["same_until"] = common_length(difference.mine, difference.theirs)
    return told


def shown_value(told: dict[str, Any]) -> str:
    """Say in a few words what `redacted` tells of one value."""
    if "value" in told:
        return json.dumps(told["value"])
    if "length" in told:
        return f"{told['type']} of {told['length']}"
    return str(told["type"])


def _told(difference: Difference, value: Any, secret: bytes) -> dict[str, Any]:
    name = difference.steps[-1] if difference.steps else None
    match value:
        case Absent():
            return {"type": "absent"}
        case None | bool():
            return {"value": value}
        case int() | float():
            # A number in a list may be a token: part of a text.
            return {"value": value} if isinstance(name, str) else {"type": "number"}
        case str() if _may_be_shown(difference, name, value):
            return {"value": value}
    kind = "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"
    return {"type": kind, "length": len(value), "digest": _digest(value, secret)}


def _may_be_shown(difference: Difference, name: object, value: str) -> bool:
    # Below a schema or in arguments of tools, names are a user's own.
    is_own = any(
        step in {"properties", "parameters", "input_schema", "arguments"} for step in difference.steps
    )
    return name in _PARAMETERS and not is_own and _WORD.fullmatch(value) is not None


def _digest(value: object, secret: bytes) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=_DIGEST_BYTES, key=secret).hexdigest()


def _distance(difference: Difference) -> float:
    mine, theirs = difference.mine, difference.theirs
    if isinstance(mine, str) and isinstance(theirs, str):
        return 2.0 - common_length(mine, theirs) / max(len(mine), len(theirs))
    return 2.0 if isinstance(mine, (list, dict)) or isinstance(theirs, (list, dict)) else 1.0


_DECODER: Final = json.JSONDecoder()
