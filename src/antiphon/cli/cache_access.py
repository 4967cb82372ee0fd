"""How `antiphon cache` reaches the cache: through a gateway that runs, or else in storage."""

import asyncio
import ipaddress
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antiphon.settings import ConfigurationError, Settings, load
from antiphon.wire.errors import ClientFault, GatewayError

_SECONDS: Final = 60.0
"""A purge may wait for workers that do not answer."""
_CLOSED: Final = 403
_USAGE: Final = (400, 422)


class Failed(Exception):
    """It was not done; says why, and whether it was asked for in a way that cannot be done."""

    def __init__(self, message: str, *, is_usage: bool = False) -> None:
        super().__init__(message)
        self.exit_code = 2 if is_usage else 1


class _NobodyThereError(Exception):
    """No gateway answers, or it has no admin key."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the command line says of where the cache is."""

    config: Path | None = None
    url: str | None = None
    admin_key: str | None = None

    def carry_out(self, name: str, order: dict[str, Any]) -> dict[str, Any]:
        """Give an order, and return what came of it. Raises Failed."""
        settings = None if self.url is not None and self.admin_key else self._settings()
        key = self.admin_key or (settings.admin.key if settings is not None else None)
        if self.url is not None:
            try:
                return _ask(self.url, key, name, order)
            except _NobodyThereError as error:
                raise Failed(str(error)) from error
        assert settings is not None
        try:
            return _ask(_address(settings), key, name, order)
        except _NobodyThereError:
            return _in_storage(settings, name, order)

    def _settings(self) -> Settings:
        try:
            return load(self.config, os.environ, Path.cwd())
        except (ConfigurationError, OSError) as error:
            raise Failed(str(error), is_usage=True) from error


def _address(settings: Settings) -> str:
    host = settings.server.host
    try:
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
    except ValueError:
        pass  # it is a name
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def _ask(url: str, key: str | None, name: str, order: dict[str, Any]) -> dict[str, Any]:
    """Order it of the gateway at `url`. Raises Failed, _NobodyThereError."""
    if not url.startswith(("http://", "https://")):
        raise Failed(f"--url: expected http://HOST:PORT, not {url!r}", is_usage=True)
    at = f"{url.rstrip('/').removesuffix('/v1')}/admin/v1/cache/{name}"
    reads = name in {"stats", "entries"}
    query = f"?{urllib.parse.urlencode(order)}" if reads and order else ""
    request = urllib.request.Request(  # noqa: S310 - its scheme is looked at above
        at + query,
        data=None if reads else json.dumps(order).encode(),
        headers={
            "content-type": "application/json",
            **({"authorization": f"Bearer {key}"} if key else {}),
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            outcome: dict[str, Any] = json.load(answer)
            return outcome
    except urllib.error.HTTPError as error:
        with error:
            message = _message(error.read()) or f"the gateway answered {error.code}"
        if error.code == _CLOSED:
            raise _NobodyThereError(f"{url}: {message}") from error
        raise Failed(message, is_usage=error.code in _USAGE) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            raise _NobodyThereError(f"{url}: nobody answers there") from error
        raise Failed(f"{url}: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Failed(f"{url}: {error}") from error


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _in_storage(settings: Settings, name: str, order: dict[str, Any]) -> dict[str, Any]:
    """Do it to what is stored. Raises Failed."""
    from antiphon.app.curating import curating

    async def work() -> dict[str, Any]:
        async with curating(settings) as found:
            if name == "stats":
                outcome = await found.stats()
                del outcome["memory"]
                return outcome
            carry_out = {
                "entries": found.entries,
                "purge": found.purge,
                "pin": found.pin,
                "unpin": found.unpin,
                "wrong": found.wrong,
            }[name]
            return await carry_out(order)

    try:
        return asyncio.run(work())
    except ConfigurationError as error:
        raise Failed(str(error), is_usage=True) from error
    except ClientFault as fault:
        raise Failed(fault.message, is_usage=fault.status in _USAGE) from fault
    except GatewayError as fault:
        raise Failed(fault.message) from fault
