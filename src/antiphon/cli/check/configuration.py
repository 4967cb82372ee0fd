"""What can be said of a configuration without asking a provider."""

import asyncio
import errno

from antiphon.app import hints_state, storage_state
from antiphon.drivers.http import HttpUpstream, Limits
from antiphon.engine.probe_calls import Calls
from antiphon.engine.verdicts import Step, failed, ok
from antiphon.gateway.server import listening_socket
from antiphon.ports.upstream import UpstreamRequest
from antiphon.settings import ConfigurationError, Loaded, Server, Settings

_PROBE_SECONDS = 1.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - asked, not bound
_ALIVE = b'{"status":"ok"}'


async def configuration_steps(loaded: Loaded, *, offline: bool) -> list[Step]:
    """Look at the file, storage, the port and the keys; nothing is made, and nothing stays open."""
    settings = loaded.settings
    return [
        ok("settings", loaded.source),
        await _storage(settings),
        *([] if settings.redis is None or offline else [await _hints(settings)]),
        await _port(settings.server, offline=offline),
        _keys(settings),
        _clients(settings),
    ]


async def _storage(settings: Settings) -> Step:
    try:
        return ok("storage", await storage_state(settings))
    except ConfigurationError as error:
        return failed("storage", str(error))


async def _hints(settings: Settings) -> Step:
    try:
        return ok("redis", await hints_state(settings))
    except ConfigurationError as error:
        return failed("redis", str(error))


async def _port(server: Server, *, offline: bool) -> Step:
    place = f"{server.host}:{server.port}"
    try:
        listening_socket(server.host, server.port, shared=False).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            why = (error.strerror or "it cannot be bound").lower()
            return failed("port", f"{place}: {why}: check `server.host` and `server.port`")
        if not offline and await _is_gateway(server):
            return ok("port", f"a gateway answers at {place} already")
        return failed("port", f"{place} is taken by another program: choose another `server.port`")
    return ok("port", f"{place} is free" if server.port else f"a free one at {server.host}")


async def _is_gateway(server: Server) -> bool:
    host = _ANY_ADDRESS.get(server.host, server.host)
    shown = f"[{host}]" if ":" in host else host
    limits = Limits(_PROBE_SECONDS, _PROBE_SECONDS, _PROBE_SECONDS, 2 * _PROBE_SECONDS)
    upstream = HttpUpstream(f"http://{shown}:{server.port}", limits=limits)
    try:
        request = UpstreamRequest("health", "/healthz", method="GET")
        reply = await Calls((), asyncio.get_running_loop().time).send(upstream, request)
    finally:
        await upstream.close()
    return reply.status == 200 and reply.body == _ALIVE


def _keys(settings: Settings) -> Step:
    """Whether providers have keys; those on the public network do nothing without."""
    said, missing = [], []
    for name, provider in settings.providers.items():
        has_key = bool(provider.api_key or provider.headers)
        if provider.type == "playback":
            continue
        said.append(f"{name} has {'one' if has_key else 'none'}")
        if not has_key and (provider.base_url or "").startswith("https://"):
            missing.append(name)
    if missing:
        return failed("keys", f"no `api_key` for {', '.join(missing)}: a provider on the network wants one")
    return ok("keys", "; ".join(said) or "no provider needs one")


def _clients(settings: Settings) -> Step:
    if settings.keys:
        names = ", ".join(key.name for key in settings.keys)
        return ok("clients", f"who asks needs a key: {names}")
    return ok("clients", "whoever is on this host may ask, without a key")
