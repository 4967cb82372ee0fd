"""What a client asks of the cache, by header or in the body (design, section 8)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from antiphon.wire.errors import ClientFault

MOST_TAGS = 16
_TAG_LENGTH = 128
_NAMESPACE_LENGTH = 256
_MOST_SECONDS: Final = 2.0**31
"""RFC 9111, section 1.2.2: what is longer counts as this."""

_DIRECTIVE = re.compile(r'\s*([^\s=,"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^,"]*))?\s*(?:,|\Z)')
_MALFORMED = re.compile(r"([^,=]*)(?:=([^,]*))?(?:,|\Z)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_EXACT = b"exact"
_SWITCH = {_EXACT: True, b"on": True, b"true": True, b"1": True, b"off": False, b"false": False, b"0": False}


@dataclass(frozen=True, slots=True)
class Controls:
    """The sum of all controls of one request."""

    bypass: str | None = None
    """Why the cache is not looked into, or None: `no-store`, `no-cache`, `opt-in`, `opt-out`."""
    said_by: str = field(default="", compare=False)
    """What says so: a header with its value, a member of the body, a setting."""
    write: bool = True
    max_age: float | None = None
    min_fresh: float = 0.0
    max_stale: float = 0.0
    stale_while_revalidate: float | None = None
    """Seconds after its expiry for which an entry may answer while a fresh one is fetched; None: as configured."""
    stale_if_error: float | None = None
    """Seconds after its expiry for which an entry may answer where the upstream cannot; None: as configured."""
    only_if_cached: bool = False
    ttl: float | None = None
    is_exact: bool = False
    """Whether only what was asked in the same words will do."""
    namespace: str = ""
    tags: tuple[str, ...] = ()


PLAIN = Controls()
_OPT_IN = "cache.mode: opt-in"
NOT_OPTED_IN = Controls(bypass="opt-in", said_by=_OPT_IN, write=False)


def read_controls(
    headers: Mapping[bytes, bytes], member: Mapping[str, Any] | None, *, opt_in: bool, opted: bool
) -> Controls:
    """Read the controls of a request. Raises ClientFault.

    `member` is the body's `cache` object, `opt_in` whether the mode is opt-in, and `opted` whether the body
    has opted in (`"nomyo": {"cache": true}`).
    """
    cache_control = headers.get(b"cache-control")
    tags = headers.get(b"x-antiphon-cache-tag")
    switch = headers.get(b"x-antiphon-cache")
    if cache_control is None and tags is None and switch is None and not member:
        return PLAIN if opted or not opt_in else NOT_OPTED_IN
    member = member or {}
    directives = _directives(cache_control.decode("latin-1")) if cache_control else {}
    no_store = "no-store" in directives or _flag(member, "no-store")
    no_cache = "no-cache" in directives or _flag(member, "no-cache")
    controls = Controls(
        bypass=(bypass := "no-store" if no_store else "no-cache" if no_cache else None),
        said_by=""
        if bypass is None
        else f"Cache-Control: {bypass}"
        if bypass in directives
        else f"cache.{bypass}",
        write=not no_store,
        max_age=_least(
            _seconds(directives, "max-age"),
            _member_seconds(member, "s-maxage"),
            _member_seconds(member, "s-max-age"),
        ),
        min_fresh=_seconds(directives, "min-fresh") or 0.0,
        max_stale=_stale(directives),
        stale_while_revalidate=_told(directives, member, "stale-while-revalidate"),
        stale_if_error=_told(directives, member, "stale-if-error"),
        only_if_cached="only-if-cached" in directives,
        ttl=_member_seconds(member, "ttl"),
        is_exact=switch is not None and switch.strip().lower() == _EXACT,
        namespace=_namespace(member),
        tags=_tags(tags.decode("utf-8", "replace")) if tags else (),
    )
    switched = _switched(switch)
    opted = opted or bool(switched) or _flag(member, "use-cache")
    if switched is False or (opt_in and not opted):
        why, said_by = ("opt-out", "X-Antiphon-Cache: off") if switched is False else ("opt-in", _OPT_IN)
        if controls.bypass is not None:
            why, said_by = controls.bypass, controls.said_by
        return replace(controls, bypass=why, said_by=said_by, write=False)
    return PLAIN if controls == PLAIN else controls


def _directives(text: str) -> dict[str, str]:
    """Read the directives of a field; of one that stands twice the first counts (RFC 9111, section 4.2.1)."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        directive = _DIRECTIVE.match(text, position) or _MALFORMED.match(text, position)
        assert directive is not None
        name, value = directive[1].strip().lower(), (directive[2] or "").strip()
        if _QUOTED.fullmatch(value):
            value = re.sub(r"\\(.)", r"\1", value[1:-1]).strip()
        if name:
            found.setdefault(name, value)
        position = directive.end()
    return found


def _switched(value: bytes | None) -> bool | None:
    if value is None:
        return None
    switched = _SWITCH.get(value.strip().lower())
    if switched is None:
        raise ClientFault(
            f"X-Antiphon-Cache is `on`, `exact` or `off`, not {value.decode('latin-1')[:40]!r}.",
            code="invalid_value",
            param="X-Antiphon-Cache",
        )
    return switched


def _flag(member: Mapping[str, Any], name: str) -> bool:
    value = member.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ClientFault(f"cache.{name} must be a boolean.", code="invalid_type", param=f"cache.{name}")


def _seconds(directives: Mapping[str, str], name: str) -> float | None:
    text = directives.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ClientFault(
            f"Cache-Control: {name} needs a number of seconds, not {text[:40]!r}.",
            code="invalid_value",
            param="Cache-Control",
        )
    return min(float(text), _MOST_SECONDS)


def _stale(directives: Mapping[str, str]) -> float:
    if directives.get("max-stale") == "":
        return math.inf
    return _seconds(directives, "max-stale") or 0.0


def _told(directives: Mapping[str, str], member: Mapping[str, Any], name: str) -> float | None:
    return _least(_seconds(directives, name), _member_seconds(member, name))


def _least(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _member_seconds(member: Mapping[str, Any], name: str) -> float | None:
    value = member.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ClientFault(
            f"cache.{name} needs a number of seconds.", code="invalid_type", param=f"cache.{name}"
        )
    return float(min(value, _MOST_SECONDS))


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
    if len(tags) > MOST_TAGS or any(len(tag) > _TAG_LENGTH for tag in tags):
        raise ClientFault(
            f"X-Antiphon-Cache-Tag takes at most {MOST_TAGS} tags of at most {_TAG_LENGTH} characters.",
            code="invalid_value",
            param="X-Antiphon-Cache-Tag",
        )
    return tags
