"""How Redis or Valkey is reached: one server or a cluster, with TLS or without. Whoever speaks to it begins here."""

import random
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from antiphon.settings import Redis as RedisSettings
from antiphon.wire.errors import StoreFault

Client = Redis | RedisCluster
"""Commands with one key, pipelines of such commands without a transaction, and channels are the same with both.

With a cluster, commands and scripts of several keys need keys with one `{hash tag}`.
"""

FAULTS: Final = (RedisError, RedisClusterException, OSError)
"""The server is gone, slow, full, or does not understand: TimeoutError is among them."""

_CONNECT_SECONDS: Final = 2.0
_ALIVE_SECONDS: Final = 15.0
"""How often a silent connection is tried: one whose other end has vanished says nothing by itself."""


def open_client(settings: RedisSettings, *, seconds: float = _CONNECT_SECONDS) -> Client:
    """Return a client that connects when it is first used, and gives up on a command after `seconds`.

    Nothing is tried twice: who can do without an answer would only wait longer for it. Raises ValueError for what is
    no address, OSError for certificates that cannot be used.
    """
    urls = [_known(url) for url in settings.urls]
    options: dict[str, Any] = {
        "protocol": 2,  # understood by all of them, without a greeting that some proxies refuse
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "health_check_interval": int(_ALIVE_SECONDS),
        "retry": Retry(NoBackoff(), 0),
        **(_tls(settings) if urls[0].startswith("rediss:") else {}),
    }
    if not settings.is_cluster:
        return Redis.from_url(urls[0], **options)
    nodes = [urlsplit(url) for url in urls]
    return RedisCluster.from_url(
        urls[0],
        startup_nodes=[ClusterNode(node.hostname or "127.0.0.1", node.port or 6379) for node in nodes],
        require_full_coverage=False,  # what the other nodes have is there all the same
        **options,
    )


async def open_channels(client: Client) -> PubSub:
    """Return where messages come in; of a cluster any node will do, since each passes on what it is told.

    It is closed by whoever uses it, as a context. Raises one of FAULTS.
    """
    await client.initialize()
    if isinstance(client, RedisCluster):
        nodes = client.get_nodes()
        if not nodes:
            raise RedisClusterException("no node of the cluster is known")
        return client.pubsub(node=random.choice(nodes), ignore_subscribe_messages=True)  # noqa: S311 - any will do
    return client.pubsub(ignore_subscribe_messages=True)


def store_fault(error: Exception) -> StoreFault:
    """Return what one of FAULTS means for who needs an answer."""
    said = str(error) or "it does not answer in time"
    return StoreFault(
        f"Redis cannot be used: {said}", code="storage_unavailable", headers=((b"retry-after", b"1"),)
    )


def _known(url: str) -> str:
    return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url


def _tls(settings: RedisSettings) -> dict[str, str]:
    """Return the files for TLS, which are looked at now: later would be while a client waits. Raises OSError."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    files = {
        "ssl_ca_certs": settings.ca_file,
        "ssl_certfile": settings.certificate_file,
        "ssl_keyfile": settings.key_file,
    }
    return {name: file for name, file in files.items() if file is not None}
