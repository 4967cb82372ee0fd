"""A provider that can be asked, and what follows from its settings."""

from dataclasses import dataclass, field, replace

from antiphon.dialects.providers import Profile, profile_of
from antiphon.drivers.playback import Playback
from antiphon.engine.error_answers import secrets_of
from antiphon.ports.upstream import Upstream
from antiphon.settings import Provider


@dataclass(frozen=True, slots=True)
class Source:
    """A provider that can be asked."""

    name: str
    settings: Provider
    upstream: Upstream
    secrets: tuple[bytes, ...] = field(init=False)
    """What is not to be shown of what authenticates us there."""
    profile: Profile = field(init=False)

    def __post_init__(self) -> None:
        """Find once what follows from the settings."""
        settings = self.settings
        object.__setattr__(self, "secrets", secrets_of(settings.api_key, settings.headers))
        profile = profile_of(settings.type, settings.base_url)
        if isinstance(self.upstream, Playback):
            # What the cassette has not in the client's dialect is translated from one that it has.
            profile = replace(profile, speaks=self.upstream.dialects())
        object.__setattr__(self, "profile", profile)
