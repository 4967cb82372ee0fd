"""Requests that come as forms: read into the same properties as JSON, and passed on part by part.

What counts is the same as in JSON: each field is a member. A file is a member too, but by its digest: neither the
cache nor a cassette keeps megabytes to compare with.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from antiphon.dialects.native import NativeRequest, is_limited
from antiphon.wire.errors import ClientFault
from antiphon.wire.json import Members
from antiphon.wire.multipart import Form, Part, read_form, write_form

_SOURCES = ("file", "url", "file_url", "file_id")
"""Fields that name what is to be transcribed: all but the first are of Groq and Mistral."""
_PLAIN_TEXT = frozenset({"srt", "vtt"})
"""Formats that no upstream streams, and that say nothing which a stream could be made from."""
_SWITCH = {"true": True, "1": True, "false": False, "0": False, "": False}
_ONCE = ("model", "stream", "response_format")
_CONTROL = re.compile(r"(cache|nomyo)(?:\[([\w-]+)\])?")
"""Clients write `{"cache": {"ttl": 60}}` as `cache[ttl]`."""
_FORMAT_LENGTH = 16


@dataclass(slots=True, eq=False)
class FormRequest(NativeRequest):
    """One request of a client, in a form."""

    form: Form
    control_parts: frozenset[str]
    """The names of the parts that are the gateway's own."""
    response_format: str

    @property
    def takes_text(self) -> bool:
        """The answer may be a plain text: an upstream has formats that we have not heard of."""
        return True

    @property
    def is_apart(self) -> bool:
        """A text cannot be folded from a stream, since the fold is JSON."""
        return self.response_format == "text"

    @property
    def upstream_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The boundary, and that any kind of answer is welcome."""
        content_type = (b"content-type", self.form.content_type)
        return (content_type,) if self.stream else (content_type, (b"accept", b"*/*"))

    def upstream_body(
        self, model: str, *, keep_state: bool, ask_usage: bool, ask_encrypted: bool = False
    ) -> bytes:
        """Write the form for an upstream that calls the model `model`; all other parts stay as they came."""
        del keep_state, ask_usage, ask_encrypted
        if model == self.model and not self.control_parts:
            return self.body
        named = model.encode()
        kept = (part for part in self.form.parts if part.name not in self.control_parts)
        return write_form(
            self.form.boundary,
            ((part.head, named if part.name == "model" else part.content) for part in kept),
        )


def read_transcription(headers: Mapping[bytes, bytes], body: bytes) -> FormRequest:
    """Read the form of a transcription. Raises ClientFault for what cannot be understood."""
    form = read_form(headers.get(b"content-type", b""), body)
    controls = _Controls.of(form.parts)
    said = described(part for part in form.parts if part.name not in controls.names)
    for name in _ONCE:
        if isinstance(said.get(name, ""), dict | list):
            raise ClientFault(f"'{name}' must be one field with a text.", code="invalid_type", param=name)
    if not any(said.get(name) for name in _SOURCES):
        raise _missing("file")
    response_format = said.get("response_format", "")
    members: Members = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in said.items()}
    return FormRequest(
        dialect="transcriptions",
        body=body,
        members=members,
        model=_model(said.get("model", "")),
        stream=_switch("stream", said.get("stream", "")) and response_format not in _PLAIN_TEXT,
        include_usage=False,
        store=False,
        limited=is_limited(members),
        cache_member=controls.cache,
        opted_in=controls.opted_in,
        echo={},
        form=form,
        control_parts=controls.names,
        response_format=response_format,
    )


def described(parts: Iterable[Part]) -> dict[str, Any]:
    """Say as JSON what a form says: fields as texts, files as digests, lists for names that stand more than once."""
    values: dict[str, list[Any]] = {}
    for part in parts:
        values.setdefault(part.name, []).append(_value(part))
    return {name: each[0] if len(each) == 1 else each for name, each in values.items()}


def _value(part: Part) -> str | dict[str, Any]:
    if part.filename is None and part.name != "file":
        try:
            return str(part.content, "utf-8")
        except UnicodeDecodeError:
            pass  # a file whose sender does not say so
    return {
        "format": _format(part),
        "sha256": hashlib.sha256(part.content).hexdigest(),
        "size": len(part.content),
    }


def _format(part: Part) -> str:
    """Return what tells upstreams how to read a file: the end of its name, or else its type.

    The rest of the name changes nothing.
    """
    _, dot, extension = (part.filename or "").rpartition(".")
    if dot and 0 < len(extension) <= _FORMAT_LENGTH:
        return extension.lower()
    return part.content_type.lower()


@dataclass(frozen=True, slots=True)
class _Controls:
    """What the form says to the gateway itself."""

    names: frozenset[str]
    cache: dict[str, Any] | None
    opted_in: bool

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "_Controls":
        names: set[str] = set()
        found: dict[str, dict[str, Any]] = {}
        for part in parts:
            control = _CONTROL.fullmatch(part.name)
            said = _said(control[2], part) if control else None
            if control and said is not None:
                names.add(part.name)
                found.setdefault(control[1], {}).update(said)
        opted_in = found.get("nomyo", {}).get("cache") is True
        return cls(frozenset(names), found.get("cache"), opted_in)


def _said(member: str | None, part: Part) -> dict[str, Any] | None:
    """Return the members that a control sets; None if it is not ours, and passes on."""
    if member is None:
        try:
            return msgspec.json.decode(part.content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    text = str(part.content, "utf-8", "replace")
    if member == "namespace":
        return {member: text}
    try:
        return {member: msgspec.json.decode(text.lower(), type=bool | int | float)}
    except msgspec.DecodeError:
        return {member: text}


def _model(model: str) -> str:
    if not model:
        raise _missing("model")
    if not model.isprintable():
        # Behind a head, a line that begins with the boundary would be a part of its own.
        raise ClientFault("'model' must be one line of text.", code="invalid_value", param="model")
    return model


def _switch(name: str, text: str) -> bool:
    value = _SWITCH.get(text.lower())
    if value is None:
        raise ClientFault(f"'{name}' must be `true` or `false`.", code="invalid_type", param=name)
    return value


def _missing(name: str) -> ClientFault:
    return ClientFault(
        f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
    )
