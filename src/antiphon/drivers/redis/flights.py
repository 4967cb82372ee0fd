"""Equal requests in flight, of all gateways with the same prefix; implements `ports.flights.Flights`.

A flight is a hash with the leader and its epoch, which expires with the lease; beside it are who follows, by the time
until which they do, and for each epoch a list of what they were told. All have one hash tag, so that a cluster keeps
them on one node. Processes tell each other in channels of their own.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from antiphon.drivers.redis.client import FAULTS, open_channels, open_client, store_fault
from antiphon.drivers.redis.pipes import Pipes
from antiphon.drivers.redis.scripts import Script
from antiphon.ports.flights import FOLLOWER_SECONDS, KEPT_SECONDS, Claim, Page, Standing, Wanted
from antiphon.settings import Redis as RedisSettings

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_CLAIM: Final = Script("claim_flight")
_RENEW: Final = Script("renew_flight")
_APPEND: Final = Script("append_to_flight")
_RELEASE: Final = Script("release_flight")
_READ: Final = Script("read_flight")
_LEAVE: Final = Script("leave_flight")
_ALIVE_SECONDS: Final = 15.0
"""How long nothing is heard before the connection is tried."""
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 5.0


class RedisFlights:
    """Flights on a server, or a cluster."""

    def __init__(self, settings: RedisSettings) -> None:
        """Share flights there; connects when it is first used. Raises what `open_client` does."""
        self._client = open_client(settings)
        self._pipes = Pipes(self._client)
        self._flights = f"{settings.prefix}flight:".encode()
        self._channels = f"{settings.prefix}flights:".encode()
        self._process = secrets.token_hex(8).encode()

    async def claim(self, claim: Claim, lease: float) -> str | None:
        """Lead, or return the epoch that is followed."""
        flight, followers, _ = self._keys(claim)
        led = await _asked(
            _CLAIM.run(
                self._pipes,
                (flight, followers),
                claim.epoch.encode(),
                self._process,
                _ms(lease),
                _ms(FOLLOWER_SECONDS),
                self._channels,
                claim.flight.hex().encode(),
            )
        )
        return None if led is None else bytes(led).decode()

    async def renew(self, held: Sequence[Claim], lease: float) -> list[Standing]:
        """Prolong leases."""
        replies = await _asked(
            asyncio.gather(
                *(
                    _RENEW.run(self._pipes, self._keys(claim)[:2], claim.epoch.encode(), _ms(lease))
                    for claim in held
                )
            )
        )
        return [_standing(reply) for reply in replies]

    async def append(
        self, claim: Claim, at: int, pieces: Sequence[bytes], lease: float, next_epoch: str | None = None
    ) -> bool:
        """Tell the followers more."""
        is_mine = await _asked(
            _APPEND.run(
                self._pipes,
                self._keys(claim),
                claim.epoch.encode(),
                b"%d" % at,
                _ms(lease),
                _ms(KEPT_SECONDS),
                (next_epoch or "").encode(),
                self._channels,
                claim.flight.hex().encode(),
                *pieces,
            )
        )
        return bool(is_mine)

    async def release(self, held: Sequence[Claim], *, even_if_followed: bool) -> list[Standing]:
        """Let flights go."""
        replies = await _asked(
            asyncio.gather(
                *(
                    _RELEASE.run(
                        self._pipes,
                        self._keys(claim)[:2],
                        claim.epoch.encode(),
                        b"1" if even_if_followed else b"0",
                        self._channels,
                        claim.flight.hex().encode(),
                    )
                    for claim in held
                )
            )
        )
        return [_standing(reply) for reply in replies]

    async def read(self, wanted: Sequence[Wanted]) -> list[Page]:
        """Return what has been told."""
        replies = await _asked(
            asyncio.gather(
                *(
                    _READ.run(
                        self._pipes,
                        self._keys(each.claim),
                        each.claim.epoch.encode(),
                        b"%d" % each.position,
                        b"%d" % each.most,
                        self._process,
                        _ms(FOLLOWER_SECONDS),
                        _ms(KEPT_SECONDS),
                    )
                    for each in wanted
                )
            )
        )
        return [Page(pieces, bool(is_led)) for is_led, pieces in replies]

    async def leave(self, claim: Claim) -> None:
        """Follow no more."""
        await _asked(
            _LEAVE.run(
                self._pipes,
                self._keys(claim)[:2],
                claim.epoch.encode(),
                self._process,
                self._channels,
                claim.flight.hex().encode(),
            )
        )

    async def listen(self, moved: Callable[[bytes | None], object]) -> None:
        """Hear what is said in this process's channel."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                async with await open_channels(self._client) as channel:
                    await channel.subscribe(self._channels + self._process)
                    wait = _FIRST_WAIT_SECONDS
                    moved(None)  # what was said while nobody listened
                    while True:
                        message = await channel.get_message(timeout=_ALIVE_SECONDS)
                        if message is not None:
                            moved(bytes.fromhex(bytes(message["data"]).decode()))
            except FAULTS as error:
                _log.warning("flights of other processes are not heard of: %s", error)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        await self._pipes.close()
        await self._client.aclose()

    def _keys(self, claim: Claim) -> tuple[bytes, bytes, bytes]:
        flight = b"%b{%b}" % (self._flights, claim.flight.hex().encode())
        return flight, flight + b":followers", flight + b":told:" + claim.epoch.encode()


async def _asked(asking: Awaitable[_T]) -> _T:
    """Return what the server says. Raises StoreFault."""
    try:
        return await asking
    except FAULTS as error:
        raise store_fault(error) from error


def _ms(seconds: float) -> bytes:
    return b"%d" % (seconds * 1000)


def _standing(reply: int | None) -> Standing:
    if reply is None:
        return Standing.LOST
    return Standing.FOLLOWED if reply else Standing.ALONE
