"""A gateway on a thread of its own, so that blocking clients can be used too, with one provider of each dialect."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Simulator
from antiphon.settings import Provider, Secret
from scripted.upstream import Play, ScriptedUpstream
from serving import serving, settings_for
from waiting import PATIENCE


@dataclass(frozen=True)
class Upstream:
    """A provider, and a model that it has."""

    kind: str
    type: str
    model: str
    path: str = "/v1"

    @property
    def name(self) -> str:
        """What clients call the model."""
        return f"{self.kind}/{self.model}"


RESPONSES = Upstream("responses", "openai", "gpt-5.2")
CHAT = Upstream("chat", "openai-chat", "llama-3.3-70b")
OPENROUTER = Upstream("openrouter", "openrouter", "anthropic/claude-sonnet-4.5")
DEEPSEEK = Upstream("deepseek", "deepseek", "deepseek-chat")
MESSAGES = Upstream("messages", "anthropic", "claude-sonnet-5", "")
GEMINI = Upstream("gemini", "gemini", "gemini-3-flash-preview", "/v1beta")
OLLAMA = Upstream("ollama", "ollama", "qwen3:8b", "")
UPSTREAMS = (RESPONSES, CHAT, OPENROUTER, DEEPSEEK, MESSAGES, GEMINI, OLLAMA)


class House:
    """The gateway, and the upstream behind all of its providers."""

    def __init__(self, url: str, upstream: ScriptedUpstream) -> None:
        self.url = url
        self.base_url = f"{url}/v1"
        self._upstream = upstream

    def playing(self, play: Play) -> AbstractContextManager[ScriptedUpstream]:
        """Let the upstream play a scenario until the block ends."""
        return self._upstream.playing(play)


@contextlib.contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """Serve until the block ends, with the database in `folder`."""
    upstream = ScriptedUpstream()
    opened: list[str] = []
    is_open = threading.Event()
    loop = asyncio.new_event_loop()
    leaving = asyncio.Event()

    async def serve() -> None:
        async with Simulator(upstream) as simulator:
            root = simulator.base_url.removesuffix("/v1")
            settings = settings_for(folder, simulator.base_url, providers=_providers(root), cache=None)
            async with serving(settings) as gateway:
                opened.append(gateway.url)
                is_open.set()
                await leaving.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="house")
    thread.start()
    try:
        assert is_open.wait(PATIENCE), "the gateway does not serve"
        yield House(opened[0], upstream)
    finally:
        loop.call_soon_threadsafe(leaving.set)
        thread.join(PATIENCE)


def _providers(root: str) -> dict[str, Provider]:
    def provider(each: Upstream) -> Provider:
        told: dict[str, Any] = {"type": each.type, "base_url": f"{root}/{each.kind}{each.path}"}
        return Provider(**told, api_key=Secret("sk-upstream"), models=(each.model,))

    return {each.kind: provider(each) for each in UPSTREAMS}
