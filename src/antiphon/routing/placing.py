"""Who runs a background answer: the gateway, the provider's own background mode, or nobody."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, get_args

from antiphon.routing.names import Target
from antiphon.settings import Background, Model, Provider, ProviderType

_TYPES: Final = frozenset(get_args(ProviderType))


class Place(StrEnum):
    """Where a background answer is made."""

    HERE = "here"
    UPSTREAM = "upstream"
    NOWHERE = "nowhere"


class Placing:
    """Decides by the name of a model, as `responses.background` says."""

    def __init__(
        self, background: Background, providers: Mapping[str, Provider], models: Mapping[str, Model]
    ) -> None:
        """Take checked settings."""
        self._listed = background.providers
        self._native = frozenset(background.native_models)
        self._providers = providers
        self._models = models

    def place(self, name: str, target: Target | None = None) -> Place:
        """Return where the answer of the model `name` is made.

        `target` is what the name means, for one that only a list of models knows. A name that means nothing is
        placed nowhere.
        """
        if name and name in self._native:
            return Place.UPSTREAM
        providers = tuple(self._providers_of(name)) or (() if target is None else (target.provider,))
        return Place.HERE if any(map(self._runs, providers)) else Place.NOWHERE

    def _providers_of(self, name: str) -> Iterator[str]:
        """Yield the providers that a name leads to; any of an alias' targets counts."""
        model = self._models.get(name)
        for target in (name,) if model is None else (model.target,):
            provider, _, upstream_model = target.partition("/")
            if upstream_model and provider in self._providers:
                yield provider

    def _runs(self, provider: str) -> bool:
        if isinstance(self._listed, str):
            return self._listed == "all"
        if self._providers[provider].type in self._listed:
            return True
        # A provider may be called after a type that it is not of: then the name says nothing.
        return provider in self._listed and provider not in _TYPES
