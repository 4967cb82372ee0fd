"""For how long answers are fresh, and for how long after that they are given all the same: RFC 5861, RFC 9111.

What a request says of a window goes before what is configured, whether it is less or more: an entry is its own scope's
in any case, and `max-stale` lets it ask for as much. Beside that, RFC 9111 has a request that limits how old or how
stale an answer may be get nothing staler than that; RFC 5861 lets `stale-if-error` go before all other limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.cache.controls import Controls
from antiphon.settings import Cache, Model


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds, as configured for a model."""

    ttl: float
    """For which an answer is fresh."""
    stale_while_revalidate: float = 0.0
    """After that, for which it answers at once while a fresh one is fetched."""
    stale_if_error: float = 0.0
    """After that, for which it answers where the upstream cannot."""

    @property
    def longest(self) -> float:
        """From its storing on, for how long an answer may be of use."""
        return self.ttl + max(self.stale_while_revalidate, self.stale_if_error)


NONE = Lifetime(0.0)


class Lifetimes:
    """Lifetimes by the name under which a model is asked for."""

    def __init__(self, cache: Cache | None, models: Mapping[str, Model]) -> None:
        """Take what `cache` says for all models, and what `models` say each for itself."""
        self._usual = NONE
        self._own: dict[str, Lifetime] = {}
        if cache is None:
            return
        usual = Lifetime(cache.ttl, cache.stale_while_revalidate, cache.stale_if_error)
        self._usual = usual
        for alias, model in models.items():
            if (own := model.cache) is not None:
                self._own[alias] = Lifetime(
                    _first(own.ttl, usual.ttl),
                    _first(own.stale_while_revalidate, usual.stale_while_revalidate),
                    _first(own.stale_if_error, usual.stale_if_error),
                )

    def of(self, alias: str) -> Lifetime:
        """Return that of a model."""
        return self._own.get(alias, self._usual)


def revalidation_window(controls: Controls, lifetime: Lifetime) -> float:
    """Return for how many seconds after its expiry an entry answers at once while a fresh one is fetched."""
    if controls.stale_while_revalidate is not None:
        return controls.stale_while_revalidate
    if controls.max_age is not None or controls.min_fresh or controls.max_stale:
        return 0.0
    return lifetime.stale_while_revalidate


def error_window(controls: Controls, lifetime: Lifetime) -> float:
    """Return for how many seconds after its expiry an entry answers where the upstream cannot."""
    if not controls.write:
        return 0.0
    if controls.stale_if_error is not None:
        return controls.stale_if_error
    return 0.0 if controls.bypass else lifetime.stale_if_error


def _first(own: float | None, usual: float) -> float:
    return usual if own is None else own
