"""Fetching what a client names by URL, for upstreams that do not fetch it themselves.

The gateway stands inside a network that the client does not: a URL is a way to make it knock at doors there. So names
are resolved here, every address must be public (or allowed in the configuration), and the connection goes to the
address that was looked at. Redirects are held to the same. Nothing of the gateway's own goes along: no cookies, no
credentials, no proxy. A client hears the same of what is refused and of what cannot be reached.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from antiphon.drivers.download.addresses import Address, Allowed, is_public, read_address
from antiphon.drivers.download.answer import Answer, Downloaded, Room
from antiphon.drivers.download.faults import Faults, Wanted
from antiphon.drivers.download.target import Target
from antiphon.drivers.http import HttpUpstream, Limits
from antiphon.drivers.http.proxy import DEFAULT_PORTS
from antiphon.ports.upstream import UpstreamRequest
from antiphon.settings import Downloads
from antiphon.wire.errors import ClientFault

_log = logging.getLogger(__name__)

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Takes a host's name, gives its addresses; OSError where there are none."""

MAX_DOWNLOADS: Final = 100
"""Bound of what one request may name."""

_PARALLEL: Final = 8
_REDIRECTS: Final = 3
_TRIED: Final = 3
"""Addresses of one host that are tried."""
_RESOLVING: Final = ThreadPoolExecutor(4, "antiphon-resolve")
"""Names that clients make up may take long to resolve: those of providers do not wait behind them."""


async def resolve(host: str) -> Sequence[str]:
    """Ask the system for the addresses of `host`."""
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVING, socket.getaddrinfo, host, None)
    return [str(address[0]) for *_, address in found]


class Downloader:
    """Fetches for all requests of a worker, each within its bounds."""

    def __init__(
        self, settings: Downloads, *, resolver: Resolver = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        """Trust what the host trusts, unless there is a context of your own."""
        self._settings = settings
        self._allowed = Allowed(settings.allow)
        self._resolve = resolver
        self._tls = tls

    async def fetch_all(self, wanted: Sequence[Wanted]) -> list[Downloaded]:
        """Fetch what one request names, several at a time, in the order of `wanted`.

        Raises ClientFault for the first that fails; the others are broken off.
        """
        if len(wanted) > MAX_DOWNLOADS:
            raise ClientFault(
                f"A request may name at most {MAX_DOWNLOADS} images and files by URL; send the others as data URLs.",
                code="array_above_max_length",
                param=wanted[MAX_DOWNLOADS].param,
            )
        room = Room(self._settings.max_request_bytes)
        places = asyncio.Semaphore(_PARALLEL)

        async def fetched(each: Wanted) -> Downloaded:
            async with places:
                return await self._fetch(each, room)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetched(each)) for each in wanted]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def fetch(self, wanted: Wanted) -> Downloaded:
        """Fetch one. Raises ClientFault."""
        return await self._fetch(wanted, Room(self._settings.max_request_bytes))

    async def _fetch(self, wanted: Wanted, room: Room) -> Downloaded:
        faults = Faults(wanted, self._settings)
        if not self._settings.enabled:
            raise faults.disabled()
        try:
            target = Target.read(wanted.url)
        except ValueError as error:
            raise faults.invalid_url() from error
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._follow(target, faults, room)
        except TimeoutError as error:
            raise faults.failed() from error

    async def _follow(self, target: Target, faults: Faults, room: Room) -> Downloaded:
        for _ in range(_REDIRECTS + 1):
            answer = await self._ask(target, faults, room)
            if answer.location is None:
                return answer.downloaded()
            try:
                target = target.redirected(answer.location)
            except ValueError as error:
                raise faults.failed() from error
        raise faults.failed()

    async def _ask(self, target: Target, faults: Faults, room: Room) -> Answer:
        addresses = await self._addresses(target, faults)
        answer = Answer(faults, self._settings.max_bytes, room)
        for address in addresses[:_TRIED]:
            answer = Answer(faults, self._settings.max_bytes, room)
            await self._ask_at(address, target, answer)
            if not answer.is_unreached:
                break
        if answer.fault is not None:
            raise answer.fault
        return answer

    async def _addresses(self, target: Target, faults: Faults) -> list[Address]:
        literal = read_address(target.host)
        try:
            texts = [target.host] if literal is not None else await self._resolve(target.host)
        except (OSError, UnicodeError) as error:
            raise faults.failed() from error
        addresses = [read_address(text) for text in dict.fromkeys(texts)]
        known = [address for address in addresses if address is not None]
        for address in addresses:
            # One that is not public among many that are is an attempt to be lucky.
            if address is None or not self._may_reach(target, address):
                _log.info("a download was refused: port %d of %s at %s", target.port, target.host, address)
                raise faults.failed()
        if not known:
            raise faults.failed()
        # Many hosts have no way out over IPv6, none in practice over IPv4.
        return sorted(known, key=lambda address: address.version)

    def _may_reach(self, target: Target, address: Address) -> bool:
        is_ordinary = target.port in DEFAULT_PORTS.values() and is_public(address)
        return is_ordinary or self._allowed.includes(target.host, address)

    async def _ask_at(self, address: Address, target: Target, answer: Answer) -> None:
        seconds = self._settings.timeout
        limits = Limits(
            connect_timeout=seconds / 2,
            first_byte_timeout=seconds,
            idle_timeout=seconds,
            total_timeout=seconds,
        )
        upstream = HttpUpstream(target.base_url, limits=limits, ssl_context=self._tls, address=str(address))
        accept = ", ".join(answer.faults.wanted.accept).encode("ascii")
        request = UpstreamRequest("", target.path, method="GET", headers=((b"accept", accept),))
        try:
            answer.call = upstream.send(request, answer)
            await answer.over.wait()
        finally:
            await upstream.close()
