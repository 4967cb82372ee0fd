"""How a provider is asked which models it has, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.dialects.providers import Profile


class _Model(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Model]


class _GeminiModel(msgspec.Struct, rename="camel"):
    name: str
    supported_generation_methods: list[str]


class _GeminiList(msgspec.Struct):
    models: list[_GeminiModel] = []


class _OllamaModel(msgspec.Struct):
    name: str


class _OllamaList(msgspec.Struct):
    models: list[_OllamaModel]


@dataclass(frozen=True, slots=True)
class ModelList:
    """The list of one dialect."""

    path: str
    """Below the provider's base URL."""
    read: Callable[[bytes], list[str]]
    """Returns the names in an answer. Raises ValueError."""


def _read_openai(body: bytes) -> list[str]:
    return [model.id for model in msgspec.json.decode(body, type=_List).data]


def _read_ollama(body: bytes) -> list[str]:
    return [model.name for model in msgspec.json.decode(body, type=_OllamaList).models]


def _read_gemini(body: bytes) -> list[str]:
    models = msgspec.json.decode(body, type=_GeminiList).models
    return [
        model.name.removeprefix("models/")
        for model in models
        if "generateContent" in model.supported_generation_methods
    ]


_USUAL: Final = ModelList("/models", _read_openai)
_LISTS: Final = {
    # Anthropic shows twenty models at a time: https://platform.claude.com/docs/en/api/models-list (2026-11)
    "messages": ModelList("/models?limit=1000", _read_openai),
    "ollama": ModelList("/api/tags", _read_ollama),
    "gemini": ModelList("/models?pageSize=1000", _read_gemini),
}
"""By dialect; the others have OpenAI's."""


def model_list_of(profile: Profile) -> ModelList:
    """Return how a provider's list is asked for and read."""
    return _LISTS.get(profile.translates_to or "", _USUAL)
