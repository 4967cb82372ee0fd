"""What a client asks of the cache, by header or in the body (design, section 8)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antiphon.wire.errors import ClientFault

_TAGS_LIMIT = 16
_TAG_LENGTH = 128
_NAMESPACE_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Controls:
    """The sum of all controls of one request."""

    bypass: str | None = None
    """Why the cache is not looked into, or None: `no-store`, `no-cache`, `opt-in`."""
    write: bool = True
    max_age: float | None = None
    min_fresh: float = 0.0
    max_stale: float = 0.0
    only_if_cached: bool = False
    ttl: float | None = None
    namespace: str = ""
    tags: tuple[str, ...] = ()


PLAIN = Controls()
NOT_OPTED_IN = Controls(bypass="opt-in", write=False)


def read_controls(
    headers: Mapping[bytes, bytes], member: Mapping[str, Any] | None, *, opt_in: bool, opted: bool
) -> Controls:
    """Read the controls of a request. Raises ClientFault.

    `member` is the body's `cache` object, `opt_in` whether the mode is opt-in, and `opted` whether the body
    has opted in (`"nomyo": {"cache": true}`).
    """
    cache_control = headers.get(b"cache-control")
    tags = headers.get(b"x-antiphon-cache-tag")
    if opt_in:
        opted = opted or headers.get(b"x-antiphon-cache", b"").strip().lower() in {b"on", b"true", b"1"}
        opted = opted or bool(member and member.get("use-cache"))
        if not opted:
            return NOT_OPTED_IN
    if cache_control is None and tags is None and not member:
        return PLAIN
    directives = _directives(cache_control.decode("latin-1")) if cache_control else {}
    if member:
        directives.update(_from_member(member))
    no_store = "no-store" in directives
    no_cache = "no-cache" in directives
    return Controls(
        bypass="no-store" if no_store else "no-cache" if no_cache else None,
        write=not no_store,
        max_age=_seconds(directives, "max-age"),
        min_fresh=_seconds(directives, "min-fresh") or 0.0,
        max_stale=_stale(directives),
        only_if_cached="only-if-cached" in directives,
        ttl=_member_seconds(member, "ttl") if member else None,
        namespace=_namespace(member) if member else "",
        tags=_tags(tags.decode("utf-8", "replace")) if tags else (),
    )


def _directives(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name:
            found[name.strip().lower()] = value.strip().strip('"')
    return found


def _from_member(member: Mapping[str, Any]) -> dict[str, str]:
    found = {name: "" for name in ("no-cache", "no-store") if member.get(name)}
    for name in ("s-maxage", "s-max-age"):
        seconds = _member_seconds(member, name)
        if seconds is not None:
            found["max-age"] = str(seconds)
    return found


def _seconds(directives: Mapping[str, str], name: str) -> float | None:
    text = directives.get(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0:
        raise ClientFault(
            f"Cache-Control: {name} needs a number of seconds, not {text!r}.",
            code="invalid_value",
            param="Cache-Control",
        )
    return seconds


def _stale(directives: Mapping[str, str]) -> float:
    if directives.get("max-stale") == "":
        return math.inf
    return _seconds(directives, "max-stale") or 0.0


def _member_seconds(member: Mapping[str, Any], name: str) -> float | None:
    value = member.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ClientFault(
            f"cache.{name} needs a number of seconds.", code="invalid_type", param=f"cache.{name}"
        )
    return float(value)


def _namespace(member: Mapping[str, Any]) -> str:
    value = member.get("namespace")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _NAMESPACE_LENGTH:
        raise ClientFault(
            f"cache.namespace needs a text of at most {_NAMESPACE_LENGTH} characters.",
            code="invalid_type",
            param="cache.namespace",
        )
    return value


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag for part in text.split(",") if (tag := part.strip())))
    if len(tags) > _TAGS_LIMIT or any(len(tag) > _TAG_LENGTH for tag in tags):
        raise ClientFault(
            f"X-Antiphon-Cache-Tag takes at most {_TAGS_LIMIT} tags of at most {_TAG_LENGTH} characters.",
            code="invalid_value",
            param="X-Antiphon-Cache-Tag",
        )
    return tags
