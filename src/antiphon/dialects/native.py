"""Reads what the gateway needs to know of a request, and writes it for an upstream of the same dialect.

All other members pass as the bytes they came in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from antiphon.dialects.responses.replay import ECHOED
from antiphon.turn.references import ID_MARK, refers
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members, read_members, repeats_members, write_members

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_UNSTREAMED = frozenset({"embeddings", "rerank", "count_tokens"})
"""Dialects in which `stream` is a member like any other."""
_WITH_ITEMS = frozenset({"responses", "input_tokens", "compact"})
"""Dialects whose `input` is that of the Responses API."""
_STATEFUL = ("previous_response_id", "conversation", "background")
_NULL = b"null"
_TRUE = b"true"
_FALSE = b"false"
_ENCRYPTED = b'"reasoning.encrypted_content"'
_ABSENT = msgspec.Raw(b"null")


@dataclass(slots=True, eq=False)
class NativeRequest:
    """One request of a client."""

    dialect: str
    body: bytes
    members: Members
    model: str
    stream: bool
    include_usage: bool
    """Whether the client asked for usage in its chat stream."""
    store: bool
    """Responses: whether the answer is to be kept."""
    limited: bool
    """Whether the request itself sets a limit on output tokens."""
    cache_member: dict[str, Any] | None
    opted_in: bool
    echo: dict[str, bytes]
    """Responses: members that the answer only echoes, as JSON of one line."""

    @property
    def stateful_member(self) -> str | None:
        """The first member that asks for something that was kept, or is to be kept from the beginning."""
        if self.dialect != "responses":
            return None
        for name in _STATEFUL:
            if self._asks_for(name):
                return name
        return None

    @property
    def refers(self) -> bool:
        """Whether items of the `input` stand for others that were kept."""
        if self.dialect not in _WITH_ITEMS or ID_MARK not in self.body:
            return False
        given = self.members.get("input")
        return given is not None and refers(bytes(given))

    @property
    def continues_or_refers(self) -> bool:
        """Whether the context is not all in the `input`."""
        if self.dialect not in _WITH_ITEMS:
            return False
        return self._asks_for("previous_response_id") or self._asks_for("conversation") or self.refers

    def _asks_for(self, name: str) -> bool:
        return bytes(self.members.get(name, _ABSENT)) not in {_NULL, _FALSE}

    @property
    def previous_response_id(self) -> str | None:
        """Responses: the id of what is continued; None where there is none, or no string."""
        try:
            return msgspec.json.decode(self.members.get("previous_response_id", _ABSENT), type=str | None)
        except msgspec.DecodeError:
            return None

    @property
    def given(self) -> bytes | None:
        """Responses: the `input`, as JSON."""
        value = self.members.get("input")
        return None if value is None else bytes(value)

    @property
    def asks_encrypted(self) -> bool:
        """Responses: whether the client itself asks for encrypted reasoning."""
        return _ENCRYPTED in bytes(self.members.get("include", _ABSENT))

    @property
    def upstream_echo(self) -> dict[str, bytes]:
        """Members that the upstream echoes: those of `echo` that it is told of."""
        return {name: value for name, value in self.echo.items() if name in self.members}

    @property
    def takes_text(self) -> bool:
        """Whether the answer may be a plain text, besides JSON and a stream."""
        return False

    @property
    def is_apart(self) -> bool:
        """Whether its JSON answer and its streamed answer cannot be made from each other."""
        return False

    @property
    def upstream_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers that the upstream needs to read the body."""
        return ()

    def upstream_body(
        self, model: str, *, keep_state: bool, ask_usage: bool, ask_encrypted: bool = False
    ) -> bytes:
        """Write the request for an upstream that calls the model `model`.

        `keep_state`: the gateway keeps responses, so the upstream is told not to. `ask_usage`: chat streams
        are asked for usage. `ask_encrypted`: reasoning is asked for in a form that can be sent back.
        """
        members: dict[str, bytes | msgspec.Raw] = dict(self.members)
        if model != self.model:
            members["model"] = msgspec.json.encode(model)
        if self.cache_member is not None:
            del members["cache"]
        members.pop("nomyo", None)
        if keep_state and self.dialect == "responses" and bytes(members.get("store", _ABSENT)) != _FALSE:
            members["store"] = _FALSE
        if ask_usage and self.stream and not self.include_usage and self.dialect in {"chat", "completions"}:
            options = _object(self.members, "stream_options")
            members["stream_options"] = msgspec.json.encode({**(options or {}), "include_usage": True})
        if ask_encrypted:
            members["include"] = _with_encrypted(members.get("include", _ABSENT))
        if members == self.members and not repeats_members(self.body, self.members):
            return self.body
        # Where a member stood twice, the upstream sees the one that the cache key was made from.
        return write_members(members)


def read_request(dialect: str, body: bytes) -> NativeRequest:
    """Read a request body. Raises ClientFault for what cannot be understood."""
    members = read_members(body)
    stream = _boolean(members, "stream", default=False) and dialect not in _UNSTREAMED
    options = _object(members, "stream_options") if stream and "stream_options" in members else None
    cache_member = _cache_member(members) if "cache" in members else None
    return NativeRequest(
        dialect=dialect,
        body=body,
        members=members,
        model=_model(members),
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        store=dialect == "responses" and _boolean(members, "store", default=True),
        limited=is_limited(members),
        cache_member=cache_member,
        opted_in="nomyo" in members and _opted_in(members),
        echo=_echo(members) if dialect == "responses" else {},
    )


def with_context(request: NativeRequest, given: bytes, echo: Mapping[str, bytes]) -> NativeRequest:
    """Return a request in which `given`, a list of items, stands for all that it referred to.

    `echo` is what its answer says of what it referred to. Raises ClientFault.
    """
    members = {name: value for name, value in request.members.items() if name not in _STATEFUL}
    made = read_request(request.dialect, write_members({**members, "input": given}))
    made.echo = {**made.echo, **echo}
    return made


def _with_encrypted(include: bytes | msgspec.Raw) -> bytes:
    """Return an `include` that names encrypted reasoning too; one that is no list is the upstream's to refuse."""
    raw = bytes(include)
    if raw == _NULL:
        return b"[%b]" % _ENCRYPTED
    try:
        asked = msgspec.json.decode(raw, type=list[str])
    except msgspec.DecodeError:
        return raw
    return msgspec.json.encode([*asked, msgspec.Raw(_ENCRYPTED)])


def with_members(request: NativeRequest, members: Mapping[str, bytes | msgspec.Raw]) -> NativeRequest:
    """Return a request that has these members too. Raises ClientFault."""
    made = read_request(request.dialect, write_members({**request.members, **members}))
    made.echo = {**made.echo, **request.echo}
    return made


def is_limited(members: Members) -> bool:
    """Whether a request sets a limit on output tokens."""
    return any(bytes(members[name]) != _NULL for name in _LIMITS if name in members)


def _echo(members: Members) -> dict[str, bytes]:
    present = ((name, bytes(members[name])) for name in ECHOED if name in members)
    return {name: _one_line(value) for name, value in present if value != _NULL}


def _one_line(value: bytes) -> bytes:
    try:
        return msgspec.json.format(value, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        # Half of a surrogate pair. Line ends stand between the tokens of JSON, never inside them.
        return value.replace(b"\r", b" ").replace(b"\n", b" ")


def changed_echo(asked: Mapping[str, bytes], recorded: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the echoed members in which a replay differs from the recording, with what they are now."""
    if asked == recorded:
        return {}
    return {
        name: asked.get(name, default)
        for name, default in ECHOED.items()
        if asked.get(name, default) != recorded.get(name, default)
    }


def _model(members: Members) -> str:
    raw = members.get("model")
    if raw is None or bytes(raw) in {_NULL, b'""'}:
        raise ClientFault(
            "Missing required parameter: 'model'.", code="missing_required_parameter", param="model"
        )
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError as error:
        raise ClientFault("'model' must be a string.", code="invalid_type", param="model") from error


def _boolean(members: Members, name: str, *, default: bool) -> bool:
    raw = members.get(name)
    if raw is None:
        return default
    value = bytes(raw)
    if value == _TRUE:
        return True
    if value == _FALSE:
        return False
    if value == _NULL:
        return default
    raise ClientFault(f"'{name}' must be a boolean.", code="invalid_type", param=name)


def _object(members: Mapping[str, msgspec.Raw], name: str) -> dict[str, Any] | None:
    raw = members.get(name)
    if raw is None or bytes(raw) == _NULL:
        return None
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ClientFault(f"'{name}' must be an object.", code="invalid_type", param=name) from error


def _cache_member(members: Members) -> dict[str, Any] | None:
    """Return the body's `cache` object; one of another type is not ours, and passes on."""
    raw = bytes(members["cache"])
    if raw == _NULL:
        return {}
    return _object(members, "cache") if raw.startswith(b"{") else None


def _opted_in(members: Members) -> bool:
    nomyo = _object(members, "nomyo")
    return bool(nomyo and nomyo.get("cache") is True)
