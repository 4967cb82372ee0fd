"""The log of changes in Redis or Valkey, for hosts that share nothing else; implements `ports.changing.ChangeLog`.

The keys have one hash tag, so that a cluster keeps them together and scripts may see all of them. Numbers are times:
they go on growing also where the server has lost everything, and whoever misses something by that can tell.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from antiphon.cache.changes import Change
from antiphon.drivers.redis.client import FAULTS, open_client, store_fault
from antiphon.drivers.redis.hints import RedisHints
from antiphon.ports.changing import Look
from antiphon.settings import Redis as RedisSettings

_APPEND: Final = """
local latest = tonumber(redis.call('GET', KEYS[1]) or '0')
local time = redis.call('TIME')
local number = math.max(latest + 1, time[1] * 1000000 + time[2])
local written = string.format('%.0f', number)
redis.call('SET', KEYS[1], written)
redis.call('ZADD', KEYS[2], written, written .. ' ' .. string.format('%.0f', latest) .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[2]))
return written
"""
_ENTER: Final = """
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[3], '', time[1] .. ' ' .. ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], '0 ' .. ARGV[2])
"""
_BEHIND: Final = """
local readers = redis.call('HGETALL', KEYS[3])
local now = tonumber(redis.call('TIME')[1])
local behind = {}
for place = 1, #readers, 2 do
    local position, trust = string.match(readers[place + 1], '(%S+) (%S+)')
    if readers[place] == '' then
        -- Who was here before the server lost everything may not have entered again.
        if now - tonumber(position) <= tonumber(trust) then behind[#behind + 1] = trust end
    elseif tonumber(position) < tonumber(ARGV[1]) then
        behind[#behind + 1] = trust
    end
end
return behind
"""
_LOOK: Final = """
return {
    redis.call('GET', KEYS[1]) or '0',
    redis.call('HEXISTS', KEYS[3], ARGV[1]),
    redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf')
}
"""
_ACKNOWLEDGE: Final = """
local reader = redis.call('HGET', KEYS[3], ARGV[1])
if not reader then return 0 end
local position, trust = string.match(reader, '(%S+) (%S+)')
if tonumber(ARGV[2]) > tonumber(position) then redis.call('HSET', KEYS[3], ARGV[1], ARGV[2] .. ' ' .. trust) end
return 1
"""
_STRIKE: Final = """
local readers = redis.call('HGETALL', KEYS[3])
for place = 1, #readers, 2 do
    if readers[place] ~= '' and tonumber(string.match(readers[place + 1], '%S+')) < tonumber(ARGV[1]) then
        redis.call('HDEL', KEYS[3], readers[place])
    end
end
"""
_MOST: Final = 10_000
"""Changes that are kept."""
_PAUSE_SECONDS: Final = 1.0


class RedisChanges:
    """One member of a sorted set a change, and one field of a hash a reader; one field more says since when there are any."""

    def __init__(self, settings: RedisSettings) -> None:
        """Keep them there; connects when it is first used. Raises what `open_client` does."""
        self._client = open_client(settings)
        self._alone = asyncio.Lock()
        self._hints = RedisHints(settings, "changes")
        tag = f"{settings.prefix}{{changes}}:"
        self._keys = [tag + name for name in ("latest", "log", "readers")]
        self.pause = _PAUSE_SECONDS

    async def enter(self, reader: str, trust: float) -> None:
        """Let `reader` be waited for."""
        await self._eval(_ENTER, reader, trust)

    async def look(self, reader: str, after: int) -> Look:
        """Return what has come."""
        latest, is_entered, members = await self._eval(_LOOK, reader, after)
        changes, previous = [], after
        is_whole = True
        for member in members:
            number, before, change = member.split(b" ", 2)
            is_whole = is_whole and int(before) <= previous
            previous = int(number)
            changes.append(Change.read(change, previous))
        return Look(changes, int(latest), bool(is_entered), is_whole=is_whole and previous >= int(latest))

    async def acknowledge(self, reader: str, position: int) -> bool:
        """Say how far `reader` is."""
        return bool(await self._eval(_ACKNOWLEDGE, reader, position))

    async def append(self, change: Change) -> int:
        """Write a change."""
        number = int(await self._eval(_APPEND, change.write(), _MOST))
        with contextlib.suppress(*FAULTS):  # they look soon
            async with self._alone:
                await self._client.publish(self._hints.channel, " ")
        return number

    async def behind(self, number: int) -> list[float]:
        """Return for how long those go on who have not heard."""
        return [float(trust) for trust in await self._eval(_BEHIND, number)]

    async def strike(self, number: int) -> None:
        """Wait no more for those who have not heard."""
        await self._eval(_STRIKE, number)

    async def leave(self, reader: str) -> None:
        """Wait no more for `reader`."""
        await self._run("HDEL", self._keys[2], reader)

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` when somebody has written."""
        await self._hints.watch(lambda _: heard())

    def sweep(self, before: float) -> None:
        """Forget nothing: what is beyond the bound goes with each change that is written."""

    async def close(self) -> None:
        """Hang up."""
        await self._hints.close()
        await self._client.aclose()

    async def _eval(self, script: str, *values: Any) -> Any:
        return await self._run("EVAL", script, len(self._keys), *self._keys, *values)

    async def _run(self, *command: Any) -> Any:
        try:
            # One at a time: a cluster's client that is not connected yet trips over itself.
            async with self._alone:
                return await self._client.execute_command(*command)
        except FAULTS as error:
            raise store_fault(error) from error
