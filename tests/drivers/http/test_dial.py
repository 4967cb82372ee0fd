"""Opening connections: refusals, TLS, proxies."""

import asyncio
import contextlib
import socket

import pytest

from antiphon.drivers.http import HttpUpstream, Limits, Proxy
from drivers.http.raw_upstream import ASK, OK, Heard, RawServer, answers, ask, asked, soon


async def one_call(upstream):
    try:
        return await ask(upstream)
    finally:
        await upstream.close()


def test_nobody_listening_is_a_failed_connection(run):
    """A refused connection is a 502 that does not name the address."""

    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            fault = (await one_call(HttpUpstream(f"http://127.0.0.1:{port}"))).fault
        assert (fault.code, fault.status) == ("upstream_connect_failed", 502)
        assert str(port) not in fault.message
        assert "refused" in fault.message

    run(main)


def test_an_unknown_name_is_a_failed_connection(run):
    """A name that cannot be resolved is the same fault."""

    async def main():
        assert (await one_call(HttpUpstream("http://nobody.invalid"))).code == "upstream_connect_failed"

    run(main)


def test_each_request_hears_of_its_own_failed_connection(run):
    """Several requests at once to nowhere all end, and so does the one after them."""

    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            upstream = HttpUpstream(
                f"http://127.0.0.1:{unused.getsockname()[1]}", limits=Limits(max_connections=2)
            )
            everyone = [Heard() for _ in range(4)]
            for heard in everyone:
                upstream.send(ASK, heard)
            for heard in everyone:
                assert (await heard.finished()).code == "upstream_connect_failed"
            assert (await one_call(upstream)).code == "upstream_connect_failed"

    run(main)


def test_a_handshake_that_hangs_is_a_connect_timeout(run, trust):
    """A server that accepts and says nothing does not get more than the connect timeout."""

    async def main():
        async def script(line):
            await line.gone()

        async with RawServer(script).running() as server:
            upstream = HttpUpstream(
                f"https://localhost:{server.port}", ssl_context=trust, limits=Limits(connect_timeout=0.05)
            )
            fault = (await one_call(upstream)).fault
            assert (fault.code, fault.status) == ("upstream_connect_timeout", 504)

    run(main)


def test_a_server_that_closes_at_once_is_a_fault(run):
    """Accepting and hanging up is no answer."""

    async def main():
        async def script(line):
            line.reset()

        async with asked(script) as (_, upstream):
            assert (await ask(upstream)).code in {"upstream_reset", "upstream_connect_failed"}

    run(main)


def test_a_trusted_certificate_is_accepted(run, server_tls, trust):
    """TLS with verification, the name sent along, http/1.1 agreed on, and the connection kept."""

    async def main():
        agreed = []

        async def script(line):
            agreed.append(line.writer.get_extra_info("ssl_object").selected_alpn_protocol())
            while True:
                await line.request()
                line.send(OK)

        async with asked(script, tls=server_tls, trust=trust, host="localhost") as (server, upstream):
            assert (await ask(upstream)).body == b"{}"
            assert (await ask(upstream)).body == b"{}"
            assert (len(server.lines), agreed) == (1, ["http/1.1"])

    run(main)


def test_an_unknown_authority_is_refused(run, server_tls):
    """The host's own trust store does not know the test's CA."""

    async def main():
        async with asked(answers(OK), tls=server_tls, host="localhost") as (_, upstream):
            fault = (await ask(upstream)).fault
            assert (fault.code, fault.status) == ("upstream_tls_failed", 502)

    run(main)


def test_a_certificate_for_another_name_is_refused(run, server_tls, trust):
    """The certificate is for localhost, the request for 127.0.0.1."""

    async def main():
        async with asked(answers(OK), tls=server_tls, trust=trust) as (_, upstream):
            assert (await ask(upstream)).code == "upstream_tls_failed"

    run(main)


def test_speaking_tls_to_a_plain_server_is_a_tls_fault(run, trust):
    """A server that answers a handshake in clear text."""

    async def main():
        async def script(line):
            line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await line.gone()

        async with RawServer(script).running() as server:
            upstream = HttpUpstream(f"https://localhost:{server.port}", ssl_context=trust)
            assert (await one_call(upstream)).code == "upstream_tls_failed"

    run(main)


def test_a_tls_body_without_length_is_not_whole_when_the_line_is_cut(run, server_tls, trust):
    """Over TLS only a proper close ends a body that has no length."""

    async def main():
        async def script(line):
            await line.request()
            line.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            await line.writer.drain()
            await half_read.wait()
            line.reset()

        half_read = asyncio.Event()
        async with asked(script, tls=server_tls, trust=trust, host="localhost") as (_, upstream):
            heard = Heard()
            upstream.send(ASK, heard)
            await soon(heard.got_data)
            half_read.set()
            await heard.finished()
            assert (heard.body, heard.code, heard.ends) == (b"half", "upstream_truncated", 0)

    run(main)


def test_a_tls_body_without_length_ends_with_a_proper_close(run, server_tls, trust):
    """TLS's own farewell ends a body that has no length."""

    async def main():
        script = answers(b"HTTP/1.1 200 OK\r\n\r\nall of it", then="close")
        async with asked(script, tls=server_tls, trust=trust, host="localhost") as (_, upstream):
            heard = await ask(upstream)
            assert (heard.body, heard.ends) == (b"all of it", 1)

    run(main)


async def pump(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


def tunnel_script(seen, port_of):
    """A CONNECT proxy that connects everything to one port."""

    async def script(line):
        seen.append(await line.request())
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of())
        line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(line.reader, writer), pump(reader, line.writer))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    return script


@pytest.mark.parametrize("proxy_speaks_tls", [False, True])
def test_https_goes_through_a_tunnel(run, server_tls, trust, proxy_speaks_tls):
    """CONNECT with the proxy's password, then TLS with the origin, verified; the tunnel is kept."""

    async def main():
        seen = []
        async with (
            RawServer(answers(OK, OK)).running(server_tls) as origin,
            RawServer(tunnel_script(seen, lambda: origin.port)).running(
                server_tls if proxy_speaks_tls else None
            ) as hop,
        ):
            scheme = "https" if proxy_speaks_tls else "http"
            upstream = HttpUpstream(
                f"https://localhost:{origin.port}/v1",
                proxy=Proxy.from_url(f"{scheme}://me:pw@localhost:{hop.port}"),
                ssl_context=trust,
            )
            assert (await ask(upstream)).body == b"{}"
            assert (await one_call(upstream)).body == b"{}"
            assert len(seen) == 1
            assert seen[0].startswith(f"CONNECT localhost:{origin.port} HTTP/1.1\r\n".encode())
            assert b"\r\nproxy-authorization: Basic bWU6cHc=\r\n" in seen[0]

    run(main)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"nonsense\r\n\r\n", "no sense"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly bytes", "no sense"),
        (b"", "closed"),
    ],
)
def test_a_proxy_that_refuses_is_a_failed_connection(run, trust, answer, word):
    """The fault says what the proxy answered."""

    async def main():
        async with RawServer(answers(answer, then="close")).running() as hop:
            upstream = HttpUpstream(
                "https://localhost", proxy=Proxy("127.0.0.1", hop.port), ssl_context=trust
            )
            fault = (await one_call(upstream)).fault
            assert fault.code == "upstream_connect_failed"
            assert word in fault.message

    run(main)


def test_http_goes_to_a_proxy_in_absolute_form(run):
    """A plain proxy gets the whole URL and forwards it."""

    async def main():
        seen = []

        async def script(line):
            seen.append(await line.request())
            line.send(OK)
            await line.gone()

        async with RawServer(script).running() as hop:
            upstream = HttpUpstream("http://upstream.invalid:81/v1", proxy=Proxy("127.0.0.1", hop.port))
            assert (await one_call(upstream)).body == b"{}"
            head = b"POST http://upstream.invalid:81/v1/chat/completions HTTP/1.1\r\nhost: upstream.invalid:81\r\n"
            assert seen[0].startswith(head)

    run(main)
