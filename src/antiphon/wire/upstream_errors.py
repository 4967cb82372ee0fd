"""Reads what an upstream says is wrong, out of the many shapes in which upstreams say it.

{"error": {"message", "type", "param", "code"}}        OpenAI and most others; Gemini has `status` for a code
{"type": "error", "error": {"type", "message", "details": {"error_code"}}}                 Anthropic
{"code", "error": "text"}                              xAI
{"detail": "text"}, {"detail": [{"loc", "msg"}]}       Mistral, Voyage, whatever runs on FastAPI
{"message", "error_type"}                              Cohere, Bedrock; vLLM adds `type`, `param`, `code`
text/plain                                             Hugging Face, and the proxies in between
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

_MOST_TEXT = 1000
_TEXTS = ("message", "error", "detail", "msg", "Message", "error_description")
_CODES = ("code", "error_code", "error_type")


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """What an upstream has told of its error; all of it may be missing."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None


def read_error(body: bytes, content_type: bytes) -> UpstreamError:
    """Read the body of an answer that is an error; its message is "" where it tells none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return UpstreamError(text[:_MOST_TEXT] if content_type.lower().startswith(b"text/plain") else "")
    layers = [*_layers(value)]
    return UpstreamError(
        message=_first(layers, _TEXTS) or "",
        code=_code(layers),
        type=next((kind for kind in _texts(layers, "type") if kind != "error"), None),
        param=_first(layers, ("param", "loc")),
    )


def _layers(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects that may tell something, the innermost first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return
    for name in ("error", "detail", "errors", "message"):
        inner = value.get(name)
        if isinstance(inner, list) and inner and isinstance(inner[0], str):
            yield {"message": inner[0]}
        elif isinstance(inner, dict | list):
            yield from _layers(inner)
            break
    yield value
    if isinstance(value.get("details"), dict):
        yield value["details"]


def _first(layers: list[dict[str, Any]], names: tuple[str, ...]) -> str | None:
    return next((text for name in names for text in _texts(layers, name)), None)


def _texts(layers: list[dict[str, Any]], name: str) -> Iterator[str]:
    for layer in layers:
        value = layer.get(name)
        if isinstance(value, list):
            # FastAPI tells a place step by step, from the kind of parameter on.
            value = ".".join(str(step) for step in value if step != "body") if name == "loc" else None
        if isinstance(value, str) and value.strip():
            yield value


def _code(layers: list[dict[str, Any]]) -> str | None:
    told = _first(layers, _CODES)
    if told is not None:
        return told
    numbers = (layer["code"] for layer in layers if isinstance(layer.get("code"), int))
    number = next(numbers, None)
    # Beside a number, which is the HTTP status once more, Gemini tells a code in words.
    return _first(layers, ("status",)) or (None if number is None else str(number))
