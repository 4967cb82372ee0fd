"""What is probed, and in which steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from antiphon.ports.upstream import Upstream
from antiphon.settings import Provider

REACHABLE: Final = "reachable"
KEY: Final = "key"
DIALECT: Final = "dialect"
MODELS: Final = "models"
ANSWER: Final = "answer"
STEPS: Final = (REACHABLE, KEY, DIALECT, MODELS, ANSWER)

Connect = Callable[[Provider], Upstream]
"""Makes the upstream of a provider's settings."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider, and what is expected of it."""

    name: str
    settings: Provider
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Upstream models by the aliases that lead to them."""
    asked: Sequence[str] = ()
    """Upstream models to ask, instead of one that is chosen here."""
    proxy: str | None = None
    """HOST:PORT of the proxy through which it is reached."""
