"""Real exchanges with real providers, read in place from beside the repository; absent ones skip by name."""

import base64
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "../shared/recordings"

needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the recorded exchanges (shared/recordings beside the repository) are absent"
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request with its answer."""

    id: str
    provider: str
    api: str
    mode: str
    kinds: tuple[str, ...]
    request: Any
    """The request's parsed JSON body; None where the source holds answers only."""
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    wire: tuple[str, ...]


@functools.cache
def exchanges(api: str, mode: str, status: int | None = 200) -> tuple[Exchange, ...]:
    """Return the recordings of `api` (`openai.chat`) in `mode` (`stream`, `plain`); any status where None."""
    read = (_read(path, mode) for path in sorted((FOLDER / api / mode).glob("*.json")))
    return tuple(exchange for exchange in read if status is None or exchange.status == status)


def _read(path: Path, mode: str) -> Exchange:
    raw = json.loads(path.read_bytes())
    request, response = raw["request"], raw["response"]
    if response.get("body_base64") is not None:
        body = base64.b64decode(response["body_base64"])
    else:
        body = (response.get("body_text") or "").encode("utf-8", "surrogateescape")
    headers = response.get("headers") or {}
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Exchange(
        id=raw["id"],
        provider=raw["provider"],
        api=raw["api"],
        mode=mode,
        kinds=tuple(raw.get("kinds", ())),
        request=request.get("body"),
        status=response["status"],
        headers=tuple((str(name), str(value)) for name, value in pairs),
        body=body,
        wire=tuple(raw.get("wire", ())),
    )
