"""The composition root: the only package that knows everybody."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.app.application import Application
from antiphon.app.checking import hints_state, probe_provider, storage_state
from antiphon.settings import Settings, checked

if TYPE_CHECKING:
    from antiphon.gateway.asgi import AsgiApplication

__all__ = ["Application", "create_app", "hints_state", "probe_provider", "storage_state"]


def create_app(config: Settings | str | os.PathLike[str] | None = None) -> "AsgiApplication":
    """Return an ASGI application with every route.

    `config` is the settings, or the path of a configuration file; None looks for `antiphon.yaml` in the
    working directory and else takes providers from the environment. Raises ConfigurationError.
    """
    from antiphon.gateway.asgi import AsgiApplication
    from antiphon.settings import load

    settings = (
        config
        if isinstance(config, Settings)
        else load(None if config is None else Path(config), os.environ, Path.cwd())
    )
    settings = checked(settings)

    async def start() -> Application:
        application = await Application.open(settings)
        application.start()
        return application

    return AsgiApplication(settings.server, start)
