"""Signs by which an answer that nobody expected tells who gave it, and what it has to say."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from antiphon.wire.objects import read_object
from antiphon.wire.sse import BYTE_ORDER_MARK

_MOST_TEXT: Final = 200
_SAYING: Final = ("message", "detail", "error", "msg", "title")
"""Members in which upstreams say what is wrong; over twenty shapes are made of these."""


class Speaker(StrEnum):
    """Who seems to have answered."""

    OPENAI = "an API in OpenAI's manner"
    ANTHROPIC = "Anthropic's API"
    GEMINI = "Gemini's API"
    OLLAMA = "Ollama's own API"
    WEB = "a web page"
    OTHER = "something else"


def speaker_of(content_type: bytes, body: bytes) -> Speaker:
    """Recognise who answered by the shape of the answer, never by its words."""
    if content_type.startswith(b"text/html") or _is_markup(body):
        return Speaker.WEB
    answer = _object(body)
    error = answer.get("error")
    if isinstance(error, dict):
        if answer.get("type") == "error":
            return Speaker.ANTHROPIC
        if isinstance(error.get("code"), int) and isinstance(error.get("status"), str):
            return Speaker.GEMINI
        return Speaker.OPENAI
    if isinstance(models := answer.get("models"), list):
        names = [model.get("name") for model in models if isinstance(model, dict)]
        return Speaker.GEMINI if any(str(name).startswith("models/") for name in names) else Speaker.OLLAMA
    return Speaker.OPENAI if isinstance(answer.get("data"), list) else Speaker.OTHER


def says_bad_key(body: bytes) -> bool:
    """Whether the error is about the key although its status does not say so: Gemini answers 400."""
    error = _object(body).get("error")
    details = error.get("details") if isinstance(error, dict) else None
    if not isinstance(details, list):
        return False
    return any(isinstance(each, dict) and each.get("reason") == "API_KEY_INVALID" for each in details)


def message_in(content_type: bytes, body: bytes) -> str:
    """Return what an error says, on one line and cut to what fits there; "" where it says nothing."""
    text = _said(_object(body))
    if not text and content_type.startswith(b"text/plain"):
        text = body.decode("utf-8", "replace")
    return one_line(text)


def one_line(text: str) -> str:
    """Make a short line of what a stranger wrote: no line ends, nothing that moves a terminal's cursor."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _MOST_TEXT]).split())
    return line if len(line) <= _MOST_TEXT else line[: _MOST_TEXT - 1] + "…"


def _said(value: Any, depth: int = 3) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth:
        return _said(value[0], depth - 1)
    if isinstance(value, Mapping) and depth:
        for name in _SAYING:
            if text := _said(value.get(name), depth - 1):
                return text
    return ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body)
    except ValueError:
        return {}


def _is_markup(body: bytes) -> bool:
    start = body[:200].removeprefix(BYTE_ORDER_MARK).lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<?xml"))
