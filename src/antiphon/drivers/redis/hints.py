"""Hints over the channels of Redis or Valkey; implements `ports.hints.Hints`. Nothing is kept there."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from antiphon.drivers.redis.client import FAULTS, open_channels, open_client
from antiphon.settings import Redis as RedisSettings

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 2
"""The first may find a connection that was lost while nobody said anything."""
_MOST_RUNS: Final = 200
"""Named in one hint; more are all."""
_ALIVE_SECONDS: Final = 15.0
"""How long nothing is heard before the connection is tried."""
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0


class RedisHints:
    """One connection that sends and one that listens; where the server is gone nothing is said until it is back."""

    def __init__(self, settings: RedisSettings) -> None:
        """Speak there; what this process says is no news to it. Raises what `open_client` does."""
        # Nothing is tried again in silence: a listener would not know that it may have missed something.
        self._client = open_client(settings)
        self._channel = f"{settings.prefix}runs"
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
                    await self._client.publish(self._channel, f"{self._sender} {named}")
                    break
                except FAULTS:
                    continue  # whoever listens knows that it hears nothing

    async def watch(self, changed: Callable[[Sequence[str]], object]) -> None:
        """Call `changed` with the runs that others have moved on, or with none where it may be any."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                async with await open_channels(self._client) as channel:
                    await channel.subscribe(self._channel)
                    wait = _FIRST_WAIT_SECONDS
                    changed(())  # what was said while nobody listened
                    while True:
                        self._hear(await channel.get_message(timeout=_ALIVE_SECONDS), changed)
            except FAULTS as error:
                _log.warning("hints of other processes are not heard: %s", error)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def check(self) -> None:
        """Return if the server answers. Raises OSError."""
        try:
            await self._client.publish(self._channel, f"{self._sender} ")
        except RedisError as error:
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _hear(self, message: dict[str, object] | None, changed: Callable[[Sequence[str]], object]) -> None:
        said = None if message is None else message.get("data")
        if not isinstance(said, bytes):
            return
        sender, _, named = said.decode("utf-8", "replace").partition(" ")
        if sender != self._sender:
            changed(named.split())
