"""Looking whether what the settings name is there and works, without a gateway."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from antiphon.app.outside import hints_of, upstream_of
from antiphon.drivers.http import proxy_from_environment
from antiphon.drivers.storage import inspect_storage
from antiphon.ports.storage import StorageUnusable
from antiphon.settings import ConfigurationError, Provider, Settings

if TYPE_CHECKING:
    from antiphon.engine.verdicts import Step


async def storage_state(settings: Settings) -> str:
    """Say where storage is, and whether it is there already; nothing is made. Raises ConfigurationError."""
    try:
        return await inspect_storage(settings)
    except StorageUnusable as error:
        raise ConfigurationError(f"storage.url: {error}") from error


async def hints_state(settings: Settings) -> str:
    """Say whether the Redis of the settings answers. Raises ConfigurationError."""
    hints = hints_of(settings)
    assert hints is not None
    try:
        await hints.check()
    except OSError as error:
        raise ConfigurationError("redis.url: nobody answers there") from error
    finally:
        await hints.close()
    return "it answers"


async def probe_provider(
    settings: Settings, name: str, *, models: Sequence[str] = (), seconds: float, environ: Mapping[str, str]
) -> "tuple[Step, ...]":
    """Probe a configured provider, with waits of at most `seconds`; `models` are asked in place of a chosen one."""
    from antiphon.engine.probe_subject import Subject
    from antiphon.engine.probing import hurried, probe, unusable

    provider = hurried(settings.providers[name], seconds)
    targets = ((alias, model.target.partition("/")) for alias, model in settings.models.items())
    aliases = {alias: model for alias, (owner, _, model) in targets if owner == name}
    try:
        subject = Subject(name, provider, aliases, models, _proxy_of(provider, environ))
        return await probe(subject, lambda changed: upstream_of(name, changed, environ), time.monotonic)
    except ConfigurationError as error:
        return unusable(str(error))


def _proxy_of(provider: Provider, environ: Mapping[str, str]) -> str | None:
    try:
        proxy = proxy_from_environment(provider.base_url or "", environ)
    except ValueError as error:
        # Not the error itself: it may quote a piece of a password.
        raise ConfigurationError("the environment names a proxy that is none: see HTTPS_PROXY") from error
    return None if proxy is None else f"{proxy.host}:{proxy.port}"
