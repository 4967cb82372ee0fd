"""Equal requests in flight, of all gateways with the same prefix; implements `ports.flights.Flights`.

A flight is a hash with the leader and its epoch, which expires with the lease; beside it are who follows, by the time
until which they do, and for each epoch a list of what they were told. All have one hash tag, so that a cluster keeps
them on one node. Processes tell each other in channels of their own.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from antiphon.drivers.redis.client import FAULTS, open_client, store_fault
from antiphon.drivers.redis.listening import listen
from antiphon.drivers.redis.pipes import Pipes
from antiphon.drivers.redis.scripts import Script
from antiphon.ports.flights import FOLLOWER_SECONDS, KEPT_SECONDS, Claim, Page, Standing, Wanted
from antiphon.settings import Redis as RedisSettings

_T = TypeVar("_T")
_CLAIM: Final = Script("claim_flight")
_RENEW: Final = Script("renew_flight")
_APPEND: Final = Script("append_to_flight")
_RELEASE: Final = Script("release_flight")
_READ: Final = Script("read_flight")
_LEAVE: Final = Script("leave_flight")


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
        await listen(
            self._client,
            self._channels + self._process,
            lambda said: moved(None if said is None else bytes.fromhex(said.decode())),
            what="flights of other processes",
        )

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
