"""A gateway with a provider for each dialect, and a program that asks it, as its user starts it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Simulator
from antiphon.gateway.request import Request
from antiphon.ports.reply import Reply
from antiphon.settings import Model, Provider, Secret
from npm.scripted import DIALECTS, Script, ScriptedUpstream
from serving import Running, serving, settings_for
from waiting import PATIENCE

ADDRESS = "http://127.0.0.1:8080"
"""The gateway's, on the pages."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    status: int
    out: str
    err: str


@dataclass
class Behind:
    """The gateway, what it heard and what its upstream heard."""

    folder: Path
    """For the program: its home is `home` below, its working directory `work`."""
    gateway: Running
    upstream: ScriptedUpstream
    heard: list[Request] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def here(self, text: str) -> str:
        """Return what a page says, with this gateway's address."""
        assert ADDRESS in text
        return text.replace(ADDRESS, self.gateway.url)

    async def run(self, command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> Ended:
        """Run a program to its end, in a bare environment."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.work,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **(environ or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@contextlib.asynccontextmanager
async def behind(
    folder: Path, script: Script, *, aliases: Sequence[str] = (), to: str = "responses", **changes: Any
) -> AsyncIterator[Behind]:
    """Serve `DIALECT/m` for each dialect, and `aliases` for the upstream that speaks the dialect `to`."""
    upstream = ScriptedUpstream(script)
    for name in ("home", "work"):
        (folder / name).mkdir()
    async with Simulator(upstream) as simulator:
        models = {name: Model(target=f"{to}/m") for name in aliases}
        settings = settings_for(
            folder, "", providers=_providers(simulator.base_url), models=models, **{"cache": None, **changes}
        )
        async with serving(settings) as gateway:
            there = Behind(folder, gateway, upstream)
            _listen(there)
            yield there


def play(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; the programs have a deadline each."""
    asyncio.run(test)


def _listen(there: Behind) -> None:
    listening = there.gateway.server._listening
    handler = listening.handler

    def hear(request: Request, reply: Reply) -> None:
        there.heard.append(request)
        handler(request, reply)

    listening.handler = hear


def _providers(url: str) -> dict[str, Provider]:
    types: dict[str, Any] = {
        "responses": ("openai", url),
        "chat": ("openai-chat", url),
        "messages": ("anthropic", url),
        "gemini": ("gemini", url),
        "ollama": ("ollama", url.removesuffix("/v1")),
    }
    assert types.keys() == set(DIALECTS)
    return {
        dialect: Provider(type=kind, base_url=base_url, api_key=Secret("sk-upstream"), models=("m",))
        for dialect, (kind, base_url) in types.items()
    }
