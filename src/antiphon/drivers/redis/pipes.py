"""The connection for each key: the one that there is, or that of the cluster's node which has the key."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable
from typing import Final

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ResponseError

from antiphon.drivers.redis.client import FAULTS, Client
from antiphon.drivers.redis.pipe import Pipe, Reply

_ELSEWHERE: Final = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
"""How a node refuses what it has not."""


class Pipes:
    """One pipe to each node; where the nodes are is known by the library's client."""

    def __init__(self, client: Client, patience: float = math.inf) -> None:
        """Ask what `client` knows of; it is closed by whoever has made it. `patience` is that of each pipe."""
        self._client = client
        self._patience = patience
        self._pipes: dict[str, Pipe] = {}
        self._finding: asyncio.Task[None] | None = None
        self._only = (
            None
            if isinstance(client, RedisCluster)
            else Pipe(client.connection_pool.make_connection, patience)
        )

    def ask(self, key: bytes, *words: bytes) -> Awaitable[Reply]:
        """Send a command about one key. Raises one of FAULTS; a refusal is ResponseError."""
        return self._ask_node(key, words) if self._only is None else self._only.ask(*words)

    async def servers(self) -> list[Pipe]:
        """Return a pipe to each server that has a part of the keys. Raises one of FAULTS."""
        if not isinstance(self._client, RedisCluster):
            return [] if self._only is None else [self._only]
        await self._client.initialize()
        return [self._to(node) for node in self._client.get_primaries()]

    async def close(self) -> None:
        """Hang up."""
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.wait([self._finding])
        for pipe in [self._only] if self._only is not None else list(self._pipes.values()):
            await pipe.close()

    async def _ask_node(self, key: bytes, words: tuple[bytes, ...]) -> Reply:
        client = self._client
        assert isinstance(client, RedisCluster)
        await client.initialize()
        try:
            return await self._at(client, key).ask(*words)
        except ResponseError as refusal:
            if not str(refusal).startswith(_ELSEWHERE):
                raise
            await asyncio.shield(self._find_out(client))
        except FAULTS:
            self._find_out(client)  # perhaps another has taken its place
            raise
        try:
            return await self._at(client, key).ask(*words)
        except ResponseError as refusal:
            if not str(refusal).startswith(_ELSEWHERE):
                raise
        # It is on its way from one node to another: that has to be asked for in a way that the library knows.
        name, *rest = words
        return await client.execute_command(name.decode(), *rest)

    def _find_out(self, client: RedisCluster) -> asyncio.Task[None]:
        """Find out where everything is now, once for all who want to know."""

        async def find_out() -> None:
            with contextlib.suppress(*FAULTS):
                await client.nodes_manager.initialize()

        if self._finding is None or self._finding.done():
            self._finding = asyncio.get_running_loop().create_task(find_out(), name="redis-topology")
        return self._finding

    def _at(self, client: RedisCluster, key: bytes) -> Pipe:
        node = client.get_node_from_key(key.decode())
        assert node is not None  # only replicas are looked for in vain
        return self._to(node)

    def _to(self, node: ClusterNode) -> Pipe:
        pipe = self._pipes.get(node.name)
        if pipe is None:
            pipe = self._pipes[node.name] = Pipe(
                lambda: node.connection_class(**node.connection_kwargs), self._patience
            )
        return pipe
