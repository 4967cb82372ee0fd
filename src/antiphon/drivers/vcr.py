"""Reading cassettes of VCR.py: its interactions with model APIs become exchanges.

Understood are its YAML and JSON files, those of pytest-recording, and those with `parsed_body` in place of texts.
"""

import base64
import gzip
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import yaml

from antiphon.dialects.providers import HOSTS
from antiphon.drivers.answer_frames import AnswerFrames
from antiphon.drivers.outcomes import outcome_of
from antiphon.drivers.tape import model_of, read_body
from antiphon.recording import Head, Recording
from antiphon.recording.cassette import Exchange, UnreadableCassetteError

_ROUTES: Final = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/messages/count_tokens": "count_tokens",
    "/messages": "messages",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
    "/audio/transcriptions": "transcriptions",
}
"""What clients ask the gateway for, the longer ends first."""
_ANTHROPIC: Final = frozenset({"messages", "count_tokens"})
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_vcr(path: Path) -> Iterator[Exchange | str]:
    """Yield the exchanges of a file, and for what is none of them what it is. Raises UnreadableCassetteError."""
    try:
        document = yaml.load(path.read_bytes(), _Loader)  # noqa: S506 - a safe loader; JSON is YAML too
    except OSError as error:
        raise UnreadableCassetteError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableCassetteError(f"{path} is neither YAML nor JSON: {error}") from error
    interactions = document.get("interactions") if isinstance(document, dict) else None
    if not isinstance(interactions, list):
        raise UnreadableCassetteError(f"{path} is no cassette of VCR.py: it has no `interactions`")
    for number, interaction in enumerate(interactions, 1):
        try:
            yield _exchange(interaction)
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error, EOFError) as error:
            raise UnreadableCassetteError(
                f"{path}: interaction {number} cannot be read: {error!r}"
            ) from error


def _exchange(interaction: Mapping[str, Any]) -> Exchange | str:
    request, response = interaction["request"], interaction["response"]
    method, uri = request.get("method", "POST").upper(), urlsplit(request["uri"])
    route = next((end for end in _ROUTES if uri.path.endswith(end)), None)
    if route is None or method != "POST":
        return f"{method} {uri.hostname}{uri.path}"
    sent = _headers(request.get("headers"))
    body = request.get("parsed_body")
    if body is None:
        data = _decoded(_bytes(request.get("body")), sent)
        body = read_body(data, sent.get("content-type", "").encode("latin-1", "replace"))
    headers = _headers(response.get("headers"))
    dialect = _ROUTES[route]
    name, provider_type = _provider(uri.hostname or "", dialect)
    at = _recorded_at(interaction)
    status = int(response.get("status_code") or response["status"]["code"])
    content_type = headers.get("content-type", "application/json").encode("latin-1", "replace")
    frames = AnswerFrames(content_type, status)
    recording = Recording("", dialect, frames.mode, name, model_of(body, "") or "", at)
    recording.head = Head(status, content_type)
    cut = frames.feed(_answer(response, headers))
    rest = frames.close()
    recording.extend([*cut, rest] if rest else cut, 0)
    recording.ended_at = at
    recording.outcome = outcome_of(recording, None, clean=True)
    host = uri.hostname if uri.hostname in HOSTS else ""
    path = route + (f"?{uri.query}" if uri.query else "")
    return Exchange(path, body, recording, provider_type=provider_type, provider_host=host or "")


def _provider(host: str, dialect: str) -> tuple[str, str]:
    """Return the name and the type of a provider."""
    if host in HOSTS:
        return HOSTS[host], HOSTS[host]
    if dialect in _ANTHROPIC:
        return "anthropic", "anthropic"
    if host.endswith(".openai.azure.com"):
        return "azure", "azure"
    kind = "openai" if dialect == "responses" else "openai-chat"
    return kind, kind


def _answer(response: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    if response.get("parsed_body") is not None:
        return msgspec.json.encode(response["parsed_body"])
    body = response["content"] if "content" in response else response.get("body")
    return _decoded(_bytes(body), headers)


def _bytes(body: Any) -> bytes:
    """Return a body in any of the forms in which VCR.py has written them."""
    if body is None:
        return b""
    if isinstance(body, Mapping):
        if body.get("base64_string") is not None:
            return base64.b64decode(body["base64_string"])
        return _bytes(body.get("string"))
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    raise ValueError(f"a body that is {type(body).__name__}")


def _decoded(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Undo the compression; VCR.py leaves the header even where it has done that itself."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in {"gzip", "x-gzip"} and body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    if coding == "deflate":
        try:
            return zlib.decompress(body)
        except zlib.error:
            return body
    if coding in {"br", "zstd"} and not body[:1].strip().startswith((b"{", b"[", b"d", b"e", b":")):
        raise ValueError(f"it is compressed with {coding}; record it with `decode_compressed_response=True`")
    return body


def _headers(headers: Any) -> dict[str, str]:
    """Return headers by their names in lower case; each value may be a list."""
    found = {}
    for name, value in (headers or {}).items():
        found[name.lower()] = str(value[0] if isinstance(value, list) and value else value or "")
    return found


def _recorded_at(interaction: Mapping[str, Any]) -> float:
    told = interaction.get("recorded_at")
    if isinstance(told, datetime):
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    try:
        return datetime.fromisoformat(told).timestamp() if isinstance(told, str) else 0.0
    except ValueError:
        return 0.0
