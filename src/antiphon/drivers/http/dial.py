"""Opening connections: straight, through a proxy's CONNECT tunnel, with or without TLS."""

import asyncio
import functools
import ssl
from collections.abc import Callable
from typing import TypeVar

from antiphon.drivers.http import faults
from antiphon.drivers.http.heads import Origin
from antiphon.drivers.http.limits import MAX_HEAD_BYTES
from antiphon.drivers.http.proxy import Proxy

P = TypeVar("P", bound=asyncio.Protocol)


@functools.cache
def default_tls() -> ssl.SSLContext:
    """Make the context that trusts what the host trusts; loading its certificates takes a while."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], P],
    origin: Origin,
    *,
    tls: ssl.SSLContext | None,
    proxy: Proxy | None,
    within: float,
    address: str | None = None,
) -> P:
    """Connect to `origin` in `within` seconds. Raises UpstreamFault.

    With an `address` the origin's name is not resolved: the connection goes there, and no proxy is asked.
    """
    assert proxy is None or address is None
    try:
        async with asyncio.timeout(within):
            return await _connect(loop, make_protocol, origin, tls or default_tls, proxy, address)
    except TimeoutError as error:
        raise faults.connect_timeout(within) from error
    except ssl.SSLError as error:
        raise faults.tls_failed(
            getattr(error, "verify_message", "") or error.reason or "handshake failed"
        ) from error
    except OSError as error:
        raise faults.connect_failed(_reason(error)) from error


def _reason(error: OSError) -> str:
    if isinstance(error, _ProxyRefused):
        return str(error)
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection reset"
    return (error.strerror or "no connection").lower()


async def _connect(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], P],
    origin: Origin,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext],
    proxy: Proxy | None,
    address: str | None,
) -> P:
    def context() -> ssl.SSLContext:
        return tls if isinstance(tls, ssl.SSLContext) else tls()

    if proxy is None or not origin.is_tls:
        host, port, is_tls = (
            (origin.host, origin.port, origin.is_tls)
            if proxy is None
            else (proxy.host, proxy.port, proxy.tls)
        )
        _, protocol = await loop.create_connection(
            make_protocol,
            address or host,
            port,
            ssl=context() if is_tls else None,
            server_hostname=host if is_tls else None,
        )
        return protocol
    tunnel_transport = await _open_tunnel(loop, origin, proxy, context() if proxy.tls else None)
    protocol = make_protocol()
    try:
        transport = await loop.start_tls(tunnel_transport, protocol, context(), server_hostname=origin.host)
    except BaseException:
        tunnel_transport.abort()
        raise
    if transport is None:
        raise ConnectionResetError
    # start_tls leaves this call to its caller.
    protocol.connection_made(transport)
    return protocol


async def _open_tunnel(
    loop: asyncio.AbstractEventLoop, origin: Origin, proxy: Proxy, tls: ssl.SSLContext | None
) -> asyncio.Transport:
    target = f"{origin.bracketed_host}:{origin.port}".encode("ascii")
    transport, tunnel = await loop.create_connection(lambda: _Tunnel(loop), proxy.host, proxy.port, ssl=tls)
    request = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n" % (target, target)
    if proxy.authorization is not None:
        request += b"proxy-authorization: %b\r\n" % proxy.authorization
    transport.write(request + b"\r\n")
    try:
        await tunnel.opened
    except BaseException:
        transport.abort()
        raise
    return transport


class _ProxyRefused(OSError):
    """The proxy answered CONNECT with something other than success."""


class _Tunnel(asyncio.Protocol):
    """Waits for the proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if self.opened.done() or (not end and len(self._answer) < MAX_HEAD_BYTES):
            return
        status = head.split(b"\r\n", 1)[0].split(b" ")
        if not end or not head.startswith(b"HTTP/1.") or len(status) < 2 or rest:
            self.opened.set_exception(_ProxyRefused("the proxy's answer makes no sense"))
        elif status[1][:1] != b"2":
            code = status[1].decode("ascii", "replace")
            self.opened.set_exception(_ProxyRefused(f"the proxy answered {code}"))
        else:
            self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            refusal = _ProxyRefused("the proxy closed the connection")
            refusal.__cause__ = exc
            self.opened.set_exception(refusal)
