"""An upstream for programs that run outside of the test's loop, and the configuration that leads to it."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Simulator
from clients.house import UPSTREAMS
from scripted.upstream import ScriptedUpstream
from waiting import PATIENCE

KEY = "sk-proj-a-key-that-nobody-may-find-0123456789"


@dataclass
class Upstreams:
    """All kinds of providers at one address."""

    root: str
    simulator: Simulator
    scripted: ScriptedUpstream

    @property
    def environ(self) -> dict[str, str]:
        """What makes `openai` the only provider."""
        return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{self.root}/responses/v1"}

    def write_config(self, path: Path, **sections: Any) -> Path:
        """Write a configuration file with a provider of each kind."""
        providers = {
            each.kind: {
                "type": each.type,
                "base_url": f"{self.root}/{each.kind}{each.path}",
                "api_key": KEY,
                "models": [each.model],
            }
            for each in UPSTREAMS
        }
        path.write_text(json.dumps({"providers": providers, **sections}))
        return path


@contextlib.contextmanager
def upstreams(answers: Any = None) -> Iterator[Upstreams]:
    """Serve in a thread until the block ends: what is scripted, or else `answers`."""
    scripted = ScriptedUpstream()
    opened: list[Simulator] = []
    is_open = threading.Event()
    loop = asyncio.new_event_loop()
    leaving = asyncio.Event()

    async def serve() -> None:
        async with Simulator(scripted if answers is None else answers) as simulator:
            opened.append(simulator)
            is_open.set()
            await leaving.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="upstreams")
    thread.start()
    try:
        assert is_open.wait(PATIENCE)
        yield Upstreams(opened[0].base_url.removesuffix("/v1"), opened[0], scripted)
    finally:
        loop.call_soon_threadsafe(leaving.set)
        thread.join(PATIENCE)
