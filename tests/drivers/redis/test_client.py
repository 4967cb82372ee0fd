"""The one way to Redis: the same commands with a server, with TLS and with a cluster."""

import asyncio

import pytest

from antiphon.app import Application
from antiphon.drivers.redis.client import FAULTS, open_client
from antiphon.settings import ConfigurationError, Redis
from serving import settings_for


def test_keys_are_set_and_got_one_by_one_and_in_a_pipeline(server):
    async def run():
        client = open_client(server.settings)
        try:
            await client.set("a", b"\0")
            pipeline = client.pipeline(transaction=False)
            for name in "bcdef":
                pipeline.set(name, name)
            await pipeline.execute()
            assert [await client.get(name) for name in "abf"] == [b"\0", b"b", b"f"]
        finally:
            await client.aclose()

    asyncio.run(run())


def test_a_server_that_is_gone_or_says_nothing_is_a_fault(redis_server):
    async def run():
        client = open_client(redis_server.settings, seconds=0.05)
        try:
            await client.set("a", "1")
            redis_server.pause()
            with pytest.raises(FAULTS):
                await client.get("a")
            redis_server.resume()
            assert await client.get("a") == b"1"
            redis_server.kill()
            with pytest.raises(FAULTS):
                await client.get("a")
        finally:
            await client.aclose()

    asyncio.run(run())


def test_certificates_are_looked_at_when_a_gateway_starts(tmp_path):
    async def run():
        redis = Redis(url="rediss://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))
        with pytest.raises(ConfigurationError, match="redis: its certificates cannot be used: No such file"):
            await Application.open(settings_for(tmp_path, "http://127.0.0.1:1", redis=redis), environ={})

    asyncio.run(run())
