"""Gateways on hosts of their own, which share the place where flights are, and one upstream."""

import contextlib
from pathlib import Path

from antiphon.settings import Cache, Storage
from e2e.plain_client import plain_client
from engine.scene import ASKED, CHAT, SHARING, Scene
from serving import UNHURRIED, serving, settings_for
from waiting import eventually

DRIVERS = ("postgres", "redis")


def place_of(request, kind):
    """Return the settings that let gateways share flights in a server of this kind."""
    if kind == "postgres":
        return {"storage": Storage(url=request.getfixturevalue("postgres_url"))}
    if kind == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/shared.db"
        return {"storage": Storage(url=url), "server": SHARING}
    server = {"redis": "redis_server", "cluster": "redis_cluster"}[kind]
    return {"redis": request.getfixturevalue(server).settings}


@contextlib.asynccontextmanager
async def hosts(folder: Path, simulator, place, count=2, *, cache=(), clock=None, **changes):
    """Serve with so many gateways."""
    store = "redis" if "redis" in place else "storage"
    cache = Cache(**{"store": store, "lookup_timeout": UNHURRIED, **dict(cache)})
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for number in range(count):
            own = folder / f"host-{number}"
            own.mkdir()
            settings = settings_for(own, simulator.base_url, **{**place, "cache": cache, **changes})
            running = await stack.enter_async_context(serving(settings, clock))
            client = await stack.enter_async_context(plain_client(running.port))
            made.append(Scene(own, running, simulator, client))
        yield made


def sharing_of(host):
    return host.application.producing.sharing


async def following(host, count=1):
    """Return when a host follows so many flights of others."""
    await eventually(lambda: sharing_of(host).followed == count)


def ask_later(host, path=CHAT, **changes):
    """Send a request over the host's own client; its answer is read later."""
    headers = changes.pop("headers", {})
    host.client.send("POST", path, {**ASKED[path], **changes}, **headers)


def is_told(host):
    """Whether somebody on another host follows what this one leads."""
    leads = sharing_of(host)._leading._leads.values()
    return any(lead.publisher is not None and lead.publisher in lead.live.listeners for lead in leads)
