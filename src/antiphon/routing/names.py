"""Which upstream a model name means: an alias, `provider/model`, or a bare name that a provider lists."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from antiphon.settings import Model, Provider
from antiphon.wire.errors import ClientFault

ANY: Final = "*"
"""The alias of what is not known otherwise."""
_COMPARED_LENGTH: Final = 80
_COMPARED_NAMES: Final = 500


class Target(Struct, frozen=True):
    """An upstream model, and the name under which it was asked for."""

    provider: str
    model: str
    alias: str
    open_names: bool = False
    """Whether raw reasoning is told under the event names of Open Responses."""


class Resolver:
    """Resolves names; `listed` is what each provider says that it serves, as far as that is known."""

    def __init__(self, providers: Mapping[str, Provider], models: Mapping[str, Model]) -> None:
        """Take checked settings: every target names a provider that is there."""
        self._providers = tuple(providers)
        self._known = frozenset(providers)
        self._aliases = {alias: _target(alias, model) for alias, model in models.items() if alias != ANY}
        self._other = _target(ANY, models[ANY]) if ANY in models else None

    def resolve(self, name: str, listed: Mapping[str, Sequence[str]]) -> Target:
        """Find the target of `name`; ClientFault 400 for an empty name, 404 for one that nobody knows."""
        target = self._aliases.get(name)
        if target is not None:
            return target
        provider, _, model = name.partition("/")
        if model and provider in self._known:
            return Target(provider, model, name)
        for provider in self._providers:
            if name in listed.get(provider, ()) and name:
                return Target(provider, name, name)
        raise self._fault(name, listed)

    def other(self, name: str) -> Target | None:
        """Return what a name means that nobody knows, if there is an alias for such names."""
        if self._other is None or not name:
            return None
        return Target(self._other.provider, name if self._other.model == ANY else self._other.model, name)

    def names(self, listed: Mapping[str, Sequence[str]]) -> list[str]:
        """All names to show to clients: aliases first, then `provider/model` of everything listed."""
        names = dict.fromkeys(self._aliases)
        names.update(dict.fromkeys(f"{provider}/{model}" for provider, model in self._listed(listed)))
        return list(names)

    def _listed(self, listed: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
        return ((provider, model) for provider in self._providers for model in listed.get(provider, ()))

    def _fault(self, name: str, listed: Mapping[str, Sequence[str]]) -> ClientFault:
        if not name:
            return ClientFault(
                "You must name a model in 'model'.", code="missing_required_parameter", param="model"
            )
        shown = name if len(name) <= _COMPARED_LENGTH else name[:_COMPARED_LENGTH] + "…"
        message = f"The model '{shown}' does not exist or no provider is configured for it."
        near = self._near(name[:_COMPARED_LENGTH], listed)
        if near:
            *others, last = (f"'{other}'" for other in near)
            message += f" Did you mean {', '.join(others) + ' or ' if others else ''}{last}?"
        return ClientFault(message, status=404, code="model_not_found", param="model")

    def _near(self, name: str, listed: Mapping[str, Sequence[str]]) -> list[str]:
        # Each candidate is compared both whole and without its provider. The number is bounded, since
        # comparing is slow and anybody may send unknown names.
        candidates = {alias: alias for alias in self._aliases}
        for provider, model in islice(self._listed(listed), _COMPARED_NAMES):
            candidates[f"{provider}/{model}"] = f"{provider}/{model}"
            candidates.setdefault(model, f"{provider}/{model}")
        found = difflib.get_close_matches(name, candidates, n=6)
        return list(dict.fromkeys(candidates[match] for match in found))[:3]


def _target(alias: str, model: Model) -> Target:
    provider, _, upstream_model = model.target.partition("/")
    return Target(provider, upstream_model, alias, model.reasoning_events == "open")
