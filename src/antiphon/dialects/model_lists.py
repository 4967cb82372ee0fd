"""How providers are asked which models they have.

One row a dialect whose providers do not list them as OpenAI does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.dialects.providers import Profile


@dataclass(frozen=True, slots=True)
class ModelList:
    """A list of models."""

    path: str
    """Below the provider's base URL."""
    read: Callable[[bytes], list[str]]
    """Returns the models' names. Raises ValueError for what is no such list."""


class _Model(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Model]


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Tag]


_OPENAI: Final = ModelList(
    "/models", lambda body: [model.id for model in msgspec.json.decode(body, type=_List).data]
)

_LISTS: Final = {
    "ollama": ModelList(
        "/api/tags", lambda body: [tag.name for tag in msgspec.json.decode(body, type=_Tags).models]
    ),
}


def model_list(profile: Profile) -> ModelList:
    """Return how a provider is asked, by the richest dialect that it speaks."""
    return _LISTS.get(profile.translates_to or "", _OPENAI)
