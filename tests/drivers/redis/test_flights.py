"""What flights leave behind in Redis: nothing that stays."""

import asyncio

import redis.asyncio

from antiphon.drivers.redis.flights import RedisFlights
from antiphon.ports.flights import Claim, Wanted


def test_every_key_expires(redis_server):
    """Whatever becomes of those who have made it."""

    async def test():
        leader, follower = RedisFlights(redis_server.settings), RedisFlights(redis_server.settings)
        client = redis.asyncio.from_url(redis_server.url)
        for number, next_epoch in enumerate((None, "next")):
            claim = Claim(bytes([number]) * 32, "mine")
            await leader.claim(claim, 5.0)
            await follower.claim(Claim(claim.flight, "theirs"), 5.0)
            await leader.append(claim, 0, [b"0"], 5.0, next_epoch)
            await follower.read([Wanted(claim, 0, 10)])
        keys = [key async for key in client.scan_iter()]
        assert len(keys) == 5
        assert all(key.startswith(b"antiphon:flight:{") for key in keys)
        assert all([await client.pttl(key) > 0 for key in keys])
        for each in (leader, follower):
            await each.close()
        await client.aclose()

    asyncio.run(test())
