"""Hints over the channels of Redis or Valkey; implements `ports.hints.Hints`. Nothing is kept there."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from antiphon.drivers.redis.client import FAULTS, open_client
from antiphon.drivers.redis.listening import listen
from antiphon.settings import Redis as RedisSettings

_ATTEMPTS: Final = 2
"""The first may find a connection that was lost while nobody said anything."""
_MOST_RUNS: Final = 200
"""Named in one hint; more are all."""


class RedisHints:
    """One connection that sends and one that listens; where the server is gone nothing is said until it is back."""

    def __init__(self, settings: RedisSettings, topic: str = "runs") -> None:
        """Speak there; what this process says is no news to it. Raises what `open_client` does."""
        # Nothing is tried again in silence: a listener would not know that it may have missed something.
        self._client = open_client(settings)
        self._topic = topic
        self.channel = f"{settings.prefix}{topic}"
        self._sender = secrets.token_hex(4)
        self._published: dict[str, None] = {}
        self._is_wanted = asyncio.Event()

    def publish(self, run_ids: Sequence[str]) -> None:
        """Say, soon, that these runs have moved on."""
        self._published.update(dict.fromkeys(run_ids))
        self._is_wanted.set()

    async def send(self) -> None:
        """Send what is published: all that has come while the last was sent, at once."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            run_ids, self._published = self._published, {}
            named = " ".join(run_ids) if len(run_ids) <= _MOST_RUNS else ""
            for _ in range(_ATTEMPTS):
                try:
                    await self._client.publish(self.channel, f"{self._sender} {named}")
                    break
                except FAULTS:
                    continue  # whoever listens knows that it hears nothing

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that others have moved on, or with none where it may be any."""
        await listen(
            self._client,
            self.channel,
            lambda said: self._hear(said, changed),
            what=f"hints of other processes about {self._topic}",
        )

    async def check(self) -> None:
        """Return if the server answers. Raises OSError."""
        try:
            await self._client.publish(self.channel, f"{self._sender} ")
        except RedisError as error:
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _hear(self, said: bytes | None, changed: Callable[[Sequence[str]], object]) -> None:
        if said is None:
            changed(())
            return
        sender, _, named = said.decode("utf-8", "replace").partition(" ")
        if sender != self._sender:
            changed(named.split())
