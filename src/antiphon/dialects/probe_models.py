"""What a provider's list of models says, and which of them to ask when nobody said."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from antiphon.dialects.probe_reading import member
from antiphon.wire.objects import DECODE_FAULTS

_NO_CHAT_TYPES: Final = frozenset(
    {"audio", "embedding", "image", "moderation", "rerank", "transcribe", "video"}
)
"""What Together says of its models."""
_NO_CHAT: Final = re.compile(
    r"embed|rerank|moderat|guard|whisper|transcri|tts|speech|audio|realtime|voice|image|imagen|dall-e|sora|veo"
    r"|video|diffusion|flux|ocr|search|research|computer-use|babbage|davinci|3\.5-turbo-instruct|aqa|minilm|bge-",
    re.IGNORECASE,
)
_SMALL: Final = re.compile(
    r"nano|mini\b|mini-|lite|flash|haiku|small|tiny|instant|\b[1-8](\.\d)?b\b", re.IGNORECASE
)
_LATEST: Final = ":latest"
_MOST_COMPARED: Final = 2000
_LONGEST_NAME: Final = 200
_PREFIX: Final = "models/"


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of a list."""

    name: str
    may_chat: bool = True
    """False where the list says that it answers no chats."""


def read_openai(body: bytes) -> list[Listed]:
    """Read `{"data": [{"id": …}]}`, or the bare list of Together. ValueError for anything else."""
    answer = _decoded(body)
    return [
        Listed(item["id"], _may_chat(item))
        for item in _items(answer if isinstance(answer, list) else member(answer, "data"), "id")
    ]


def read_gemini(body: bytes) -> list[Listed]:
    """Read `{"models": [{"name": "models/…"}]}`. ValueError for anything else."""
    items = _items(member(_decoded(body), "models"), "name")
    if items and not any(item["name"].startswith(_PREFIX) for item in items):
        raise ValueError("not Gemini's names")
    return [
        Listed(
            item["name"].removeprefix(_PREFIX),
            "generateContent" in (item.get("supportedGenerationMethods") or ["generateContent"]),
        )
        for item in items
    ]


def read_ollama(body: bytes) -> list[Listed]:
    """Read `{"models": [{"name": …}]}`. ValueError for anything else."""
    return [Listed(item["name"]) for item in _items(member(_decoded(body), "models"), "name")]


def is_listed(model: str, names: Iterable[str]) -> bool:
    """Whether a model is among `names`; Ollama's `:latest` and Gemini's `models/` may be left out."""
    bare = model.removeprefix(_PREFIX)
    return any(name in {model, bare, bare + _LATEST} or name == _PREFIX + bare for name in names)


def near(model: str, names: Sequence[str]) -> list[str]:
    """Up to three names that look like `model`."""
    return difflib.get_close_matches(model, names[:_MOST_COMPARED], n=3)


def guesses(listed: Sequence[Listed], most: int = 3) -> list[str]:
    """Models that probably answer a chat, small ones first: they cost least."""
    chat = [model.name for model in listed if model.may_chat and not _NO_CHAT.search(model.name)]
    return sorted(chat, key=lambda name: _SMALL.search(name) is None)[:most]


def _items(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError("no list of models")  # noqa: TRY004 - a fault of the data, not of a caller
    items = [item for item in value if isinstance(item, dict) and _is_name(item.get(name))]
    if value and not items:
        raise ValueError("no names in the list of models")
    return items


def _is_name(value: object) -> bool:
    """Whether it may stand in a sentence, and in a path."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def _may_chat(item: dict[str, Any]) -> bool:
    chats = member(item, "capabilities", "completion_chat")  # Mistral
    return item.get("type") not in _NO_CHAT_TYPES and item.get("active") is not False and chats is not False


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except DECODE_FAULTS as error:
        raise ValueError("not JSON") from error
