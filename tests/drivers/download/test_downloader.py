"""Downloads over real sockets: what comes back, what is refused, and that nothing refused is ever knocked at."""

import asyncio
import contextlib
import logging
import socket
import struct
import sys

import pytest
import uvloop

from antiphon.drivers.download import MAX_DOWNLOADS, Downloaded, Downloader, Kind, Wanted
from antiphon.settings import Downloads, Size, Timeout
from antiphon.wire.errors import ClientFault
from drivers.download.test_addresses import REFUSED
from drivers.http.raw_upstream import RawServer, answers
from waiting import PATIENCE

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1, 2) + bytes(30)
IMAGES = ("image/png", "image/jpeg")
LOOPBACK = ("127.0.0.1",)

_connections: list[object] | None = None


def _audit(event, arguments):
    if event == "socket.connect" and _connections is not None:
        _connections.append(arguments[1])


sys.addaudithook(_audit)


@contextlib.contextmanager
def connections():
    """Where anything in this process connects to meanwhile, through Python's own sockets."""
    global _connections  # noqa: PLW0603 - an audit hook cannot be taken back
    _connections = made = []
    try:
        yield made
    finally:
        _connections = None


def run(main, loop_factory=None):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await main()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(within_reason())


both_loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def answer(body=PNG, *fields, status=b"200 OK", length=None):
    head = [b"HTTP/1.1 " + status, b"content-length: %d" % (len(body) if length is None else length), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def picture(body=PNG, media_type=b"image/png"):
    return answer(body, b"content-type: " + media_type)


def wanted(url, **changes):
    return Wanted(**{"url": url, "param": "input[0].content[0].image_url", "accept": IMAGES, **changes})


def names(**addresses):
    """A resolver that knows these hosts, by `pictures` for `pictures.test`, and remembers what it was asked."""

    async def resolve(host):
        asked.append(host)
        known = addresses[host.removesuffix(".test")]
        if isinstance(known, OSError):
            raise known
        return known.pop(0) if known and isinstance(known[0], list) else known

    asked = []
    resolve.asked = asked
    return resolve


def downloader(resolver=None, *, allow=LOOPBACK, tls=None, **settings):
    settings = Downloads(**{"timeout": Timeout(5), "allow": allow, **settings})
    return Downloader(settings, **({"resolver": resolver} if resolver else {}), tls=tls)


async def fault_of(source, url, **changes):
    with pytest.raises(ClientFault) as raised:
        await source.fetch(wanted(url, **changes))
    assert raised.value.status == 400
    assert raised.value.param == "input[0].content[0].image_url"
    return raised.value


# What comes back ------------------------------------------------------------------------------------------------


@both_loops
def test_a_picture_is_fetched(loop):
    """Its bytes and its type; the request carries nothing of the gateway's but its name."""

    async def main():
        requests = []

        async def script(line):
            requests.append(await line.request())
            line.send(picture())

        async with RawServer(script).running() as server:
            url = f"http://127.0.0.1:{server.port}/a/b.png?c=d#e"
            assert await downloader().fetch(wanted(url)) == Downloaded("image/png", PNG)
        head, *fields = requests[0].decode().split("\r\n")
        assert head == "GET /a/b.png?c=d HTTP/1.1"
        assert {field.partition(":")[0] for field in fields if field} == {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
        }
        assert "accept: image/png, image/jpeg" in fields

    run(main, loop)


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    """It stands where other addresses can be reached."""

    async def main():
        async with RawServer(answers(picture())).running() as server:
            await downloader().fetch(wanted(f"http://127.0.0.1:{server.port}/"))

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    run(main)


def test_chunks_and_bodies_until_the_end_of_the_connection_are_read():
    """Both ways of not knowing the length before."""

    async def main():
        head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n"
        chunked = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PNG), PNG)
        for whole in (chunked, head + b"\r\n" + PNG):
            async with RawServer(answers(whole, then="close")).running() as server:
                assert (await downloader().fetch(wanted(f"http://127.0.0.1:{server.port}/"))).data == PNG

    run(main)


@pytest.mark.parametrize(
    ("declared", "body", "media_type"),
    [
        (b"image/jpeg", PNG, "image/png"),  # the server is wrong
        (b"application/octet-stream", PNG, "image/png"),
        (b"binary/octet-stream", PNG, "image/png"),
        (b"", PNG, "image/png"),
        (b"Image/PNG; charset=binary", b"no picture", "image/png"),  # for the upstream to judge
    ],
)
def test_a_picture_has_the_type_that_it_is_of(declared, body, media_type):
    """Whatever the server calls it, as long as that is a picture or nothing."""

    async def main():
        async with RawServer(answers(picture(body, declared))).running() as server:
            got = await downloader().fetch(wanted(f"http://127.0.0.1:{server.port}/"))
            assert got == Downloaded(media_type, body)

    run(main)


def test_a_file_has_codes_of_its_own():
    """`text/*` takes all texts; other types, empty files and large ones are told apart."""

    async def main():
        as_file = {"kind": Kind.FILE, "accept": ("application/pdf", "text/*")}
        async with RawServer(answers(picture(b"a,b", b"text/csv"))).running() as server:
            url = f"http://127.0.0.1:{server.port}/"
            assert await downloader().fetch(wanted(url, **as_file)) == Downloaded("text/csv", b"a,b")
            assert (await fault_of(downloader(max_bytes=Size(2)), url, **as_file)).code == "file_too_large"
        for body, declared, code in (
            (PNG, b"image/png", "unsupported_file_media_type"),
            (b"%PDF", b"", "unsupported_file_media_type"),
            (b"", b"text/plain", "empty_file"),
        ):
            async with RawServer(answers(picture(body, declared))).running() as server:
                fault = await fault_of(downloader(), f"http://127.0.0.1:{server.port}/", **as_file)
                assert fault.code == code
        async with RawServer(answers(picture(b"?", b""))).running() as server:
            got = await downloader().fetch(
                wanted(f"http://127.0.0.1:{server.port}/", kind=Kind.FILE, accept=("*/*",))
            )
            assert got == Downloaded("application/octet-stream", b"?")

    run(main)


# What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [text for texts in REFUSED.values() for text in texts])
def test_an_address_that_is_not_public_is_not_knocked_at(address):
    """Named in the URL, or behind a name: the same fault as for a host that does not exist, and no connection."""

    async def main():
        nothing = await fault_of(downloader(names(nobody=OSError("unknown"))), "http://nobody.test/")
        literal = f"[{address}]" if ":" in address else address
        with connections() as made:
            resolver = names(inside=[address])
            for url in (
                f"http://{literal}/",
                f"https://{literal}/",
                "http://inside.test/",
                "https://inside.test/",
            ):
                fault = await fault_of(downloader(resolver, allow=()), url)
                assert (fault.code, fault.message) == ("failed_to_download_image", nothing.message)
        assert made == []

    run(main)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]"]
)
@both_loops
def test_this_host_is_not_reached_by_any_of_its_names(host, loop):
    """As the system itself resolves them: a server that listens hears nothing."""

    async def main():
        async with RawServer(answers(picture())).running() as server:
            for port in (server.port, 80):
                fault = await fault_of(downloader(allow=()), f"http://{host}:{port}/")
                assert fault.code == "failed_to_download_image"
            assert server.lines == []

    run(main, loop)


def test_a_name_with_one_inner_address_is_refused_whole():
    """A public address beside it does not make it better."""

    async def main():
        with connections() as made:
            for addresses in (["1.1.1.1", "10.0.0.1"], ["fe80::1%eth0"], ["nonsense"], []):
                await fault_of(downloader(names(host=addresses), allow=()), "http://host.test/")
        assert made == []

    run(main)


def test_a_name_is_resolved_once():
    """The connection goes to the address that was judged: an answer that changes meanwhile changes nothing."""

    async def main():
        async with RawServer(answers(picture(), then="close")).running() as server:
            resolver = names(rebinding=[["127.0.0.1"], ["10.0.0.1"]])
            url = f"http://rebinding.test:{server.port}/"
            source = downloader(resolver)
            assert (await source.fetch(wanted(url))).data == PNG
            assert resolver.asked == ["rebinding.test"]
            # The next download judges anew.
            with connections() as made:
                assert (await fault_of(source, url)).code == "failed_to_download_image"
            assert made == []

    run(main)


def test_refused_and_unreachable_are_told_alike():
    """Refused here, nobody listening, hung up on, too late, not HTTP: a client learns nothing of the network."""

    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = unused.getsockname()[1]
            messages = {(await fault_of(downloader(), f"http://127.0.0.1:{closed}/")).message}
        messages.add((await fault_of(downloader(), "http://10.0.0.1/")).message)

        async def reset(line):
            line.reset()

        for script in (reset, answers(b"SSH-2.0-OpenSSH_9.2\r\n"), answers(picture()[:-1], then="close")):
            async with RawServer(script).running() as server:
                messages.add((await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")).message)
        assert len(messages) == 1
        assert "127.0.0.1" not in messages.pop()

    run(main)


def test_the_log_says_what_was_refused(caplog):
    """Whoever runs the gateway sees host and address, and can allow them."""
    caplog.set_level(logging.INFO, "antiphon")
    run(lambda: fault_of(downloader(names(files=["10.1.2.3"]), allow=()), "http://files.test/secret?token=1"))
    assert "port 80 of files.test at 10.1.2.3" in caplog.text
    assert "secret" not in caplog.text
    assert "token" not in caplog.text


def test_other_ports_are_only_for_what_is_allowed():
    """A public address at a port of its own is refused without a connection."""

    async def main():
        with connections() as made:
            for url in ("http://1.1.1.1:22/", "https://1.1.1.1:8443/", "http://host.test:6379/"):
                fault = await fault_of(downloader(names(host=["1.1.1.1"])), url)
                assert fault.code == "failed_to_download_image"
        assert made == []

    run(main)


def test_a_host_can_be_allowed_by_its_name():
    """Wherever it is, at any port; another name of the same address is not."""

    async def main():
        async with RawServer(answers(picture())).running() as server:
            resolver = names(files=["127.0.0.1"], other=["127.0.0.1"])
            source = downloader(resolver, allow=("files.test",))
            assert (await source.fetch(wanted(f"http://files.test:{server.port}/"))).data == PNG
            await fault_of(source, f"http://other.test:{server.port}/")
            await fault_of(source, f"http://127.0.0.1:{server.port}/")
            assert len(server.lines) == 1

    run(main)


@pytest.mark.parametrize(
    "url", ["", "picture.png", "file:///etc/passwd", "ftp://host.test/", "http://me:pw@host.test/"]
)
def test_what_is_no_url_of_a_picture_is_an_invalid_url(url):
    """It can be mended by the client alone, so it has a code of its own; the URL is not repeated."""

    async def main():
        for kind in Kind:
            fault = await fault_of(downloader(), url, kind=kind)
            assert fault.code == f"invalid_{kind}_url"
            assert "pw" not in fault.message

    run(main)


def test_downloads_can_be_turned_off():
    """Then everything is refused, saying what to do."""

    async def main():
        with connections() as made:
            fault = await fault_of(downloader(enabled=False), "http://1.1.1.1/")
        assert fault.code == "failed_to_download_image"
        assert "data URL" in fault.message
        assert made == []

    run(main)


# Redirects ------------------------------------------------------------------------------------------------------


def redirect(location, status=b"302 Found"):
    return answer(b"moved", b"location: " + location.encode(), status=status)


@pytest.mark.parametrize("status", [b"301 M", b"302 F", b"303 S", b"307 T", b"308 P"])
def test_a_redirect_is_followed(status):
    """Of each kind, to a place that is judged in the same way."""

    async def main():
        async with RawServer(answers(picture())).running() as there:
            location = f"http://there.test:{there.port}/b"
            async with RawServer(answers(redirect(location, status))).running() as here:
                resolver = names(here=["127.0.0.1"], there=["127.0.0.1"])
                got = await downloader(resolver).fetch(wanted(f"http://here.test:{here.port}/a"))
                assert got.data == PNG
                assert resolver.asked == ["here.test", "there.test"]

    run(main)


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://inside.test/",
        "//inside.test/",
        "file:///etc/passwd",
        "http://me@1.1.1.1/",
        "http://1.1.1.1:22/",
        "http://[",
    ],
)
def test_a_redirect_does_not_lead_inside(location):
    """Nothing but the first server is connected to."""

    async def main():
        async with RawServer(answers(redirect(location))).running() as server:
            resolver = names(inside=["192.168.0.1"])
            with connections() as made:
                fault = await fault_of(downloader(resolver), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "failed_to_download_image"
            assert made == [("127.0.0.1", server.port)]

    run(main)


def test_redirects_come_to_an_end():
    """Three are followed, the fourth is not."""

    async def main():
        places = []

        async def script(line):
            places.append((await line.request()).split(b" ")[1])
            line.send(redirect("/" + "a" * len(places)) if len(places) <= limit else picture())

        for limit in (3, 4):
            places.clear()
            async with RawServer(script).running() as server:
                url = f"http://127.0.0.1:{server.port}/"
                if limit == 3:
                    assert (await downloader().fetch(wanted(url))).data == PNG
                else:
                    assert (await fault_of(downloader(), url)).code == "failed_to_download_image"
                assert places == [b"/", b"/a", b"/aa", b"/aaa"]

    run(main)


# Limits ---------------------------------------------------------------------------------------------------------


def test_a_body_without_end_is_cut_off():
    """At the bound, whether or not a length was said; the server is hung up on."""

    async def main():
        async def endless(line):
            await line.request()
            line.send(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n" + PNG)
            while not line.writer.is_closing():
                line.send(bytes(10_000))
                await line.writer.drain()
                await asyncio.sleep(0)

        async with RawServer(endless).running() as server:
            fault = await fault_of(downloader(max_bytes=Size(50_000)), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "image_file_too_large"
            assert "50000 bytes" in fault.message
            await asyncio.wait_for(server.a_line_closed.wait(), PATIENCE)

    run(main)


def test_a_body_that_says_it_is_too_large_is_not_read():
    """The bound itself is not too large."""

    async def main():
        said = picture()[: -len(PNG)].replace(b"%d" % len(PNG), b"9" * 15)
        async with RawServer(answers(said)).running() as server:
            fault = await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "image_file_too_large"
        async with RawServer(answers(picture())).running() as server:
            got = await downloader(max_bytes=Size(len(PNG))).fetch(wanted(f"http://127.0.0.1:{server.port}/"))
            assert got.data == PNG

    run(main)


@pytest.mark.parametrize("stalls_after", [0, 20, len(picture()) - 1])
@both_loops
def test_a_slow_server_does_not_hold_a_request(stalls_after, loop):
    """Silent before its head, in it, or in the body: time is up for the whole, and the connection is closed."""

    async def main():
        async def script(line):
            await line.request()
            line.send(picture()[:stalls_after])
            await line.gone()

        async with RawServer(script).running() as server:
            fault = await fault_of(downloader(timeout=Timeout(0.05)), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "failed_to_download_image"
            await asyncio.wait_for(server.a_line_closed.wait(), PATIENCE)

    run(main, loop)


def test_a_dripping_body_does_not_hold_a_request():
    """A byte now and then is not progress."""

    async def main():
        async def script(line):
            await line.request()
            line.send(picture()[: -len(PNG)])
            with contextlib.suppress(ConnectionError):
                while not line.writer.is_closing():
                    line.send(b".")
                    await asyncio.sleep(0.001)

        async with RawServer(script).running() as server:
            url = f"http://127.0.0.1:{server.port}/"
            source = downloader(timeout=Timeout(0.01))
            assert (await fault_of(source, url)).code == "failed_to_download_image"

    run(main)


def test_a_name_that_takes_long_does_not_hold_a_request():
    """The time for the look-up counts."""

    async def main():
        async def never(host):
            await asyncio.Event().wait()

        fault = await fault_of(downloader(never, timeout=Timeout(0.02)), "http://host.test/")
        assert fault.code == "failed_to_download_image"

    run(main)


@pytest.mark.parametrize(
    "media_type", [b"text/html; charset=utf-8", b"image/svg+xml", b"application/pdf", b"nonsense"]
)
def test_another_type_is_refused(media_type):
    """Saying which are accepted."""

    async def main():
        async with RawServer(answers(picture(b"<html>", media_type))).running() as server:
            fault = await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "unsupported_image_media_type"
            assert "image/png, image/jpeg" in fault.message

    run(main)


@pytest.mark.parametrize("body", [b"<html>", b"GIF89a\x01\x00\x01\x00"])
def test_what_is_not_named_must_show_what_it_is(body):
    """Without a useful type from the server only a picture of an accepted kind passes."""

    async def main():
        async with RawServer(answers(picture(body, b"application/octet-stream"))).running() as server:
            fault = await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "unsupported_image_media_type"

    run(main)


@pytest.mark.parametrize(
    "status", [b"404 Not Found", b"403 Forbidden", b"500 X", b"204 No Content", b"206 Partial", b"302 Found"]
)
def test_an_answer_without_the_file_is_a_fault(status):
    """Naming the status; a part is not the whole, and a redirect without a place leads nowhere."""

    async def main():
        body = b"" if status.startswith(b"204") else PNG
        async with RawServer(
            answers(answer(body, b"content-type: image/png", status=status))
        ).running() as server:
            fault = await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")
            assert fault.code == "failed_to_download_image"
            assert status.decode()[:3] in fault.message

    run(main)


def test_an_empty_picture_is_refused():
    """It has a code of its own."""

    async def main():
        async with RawServer(answers(picture(b""))).running() as server:
            assert (
                await fault_of(downloader(), f"http://127.0.0.1:{server.port}/")
            ).code == "empty_image_file"

    run(main)


# Addresses and TLS ----------------------------------------------------------------------------------------------


def test_another_address_is_tried_when_one_does_not_answer():
    """IPv4 first, and only where no connection came about."""

    async def main():
        async with RawServer(answers(picture())).running() as server:
            resolver = names(host=["::1", "127.0.0.2", "127.0.0.1"])
            with connections() as made:
                got = await downloader(resolver, allow=("host.test",)).fetch(
                    wanted(f"http://host.test:{server.port}/")
                )
            assert got.data == PNG
            assert [place[0] for place in made] == ["127.0.0.2", "127.0.0.1"]

    run(main)


@both_loops
def test_tls_is_checked_against_the_name(server_tls, trust, loop):
    """The name in the URL, not the address: a certificate for another name is a failed download."""

    async def main():
        named = []

        async def script(line):
            named.append((await line.request()).split(b"host: ")[1].split(b"\r\n")[0])
            line.send(picture())

        async with RawServer(script).running(server_tls) as server:
            resolver = names(localhost=["127.0.0.1"], other=["127.0.0.1"])
            source = downloader(resolver, tls=trust)
            url = f"https://localhost:{server.port}/"
            assert (await source.fetch(wanted(url))).data == PNG
            assert named == [b"localhost:%d" % server.port]
            assert resolver.asked == ["localhost"]
            for refused in (f"https://other.test:{server.port}/", f"https://127.0.0.1:{server.port}/"):
                assert (await fault_of(source, refused)).code == "failed_to_download_image"
            # Without the test's own authority the certificate is nobody's.
            assert (await fault_of(downloader(resolver), url)).code == "failed_to_download_image"
            assert len(named) == 1

    run(main, loop)


def test_a_redirect_does_not_lead_out_of_tls(server_tls, trust):
    """Even to a server that could be reached."""

    async def main():
        async with RawServer(answers(picture())).running() as plain:
            location = redirect(f"http://127.0.0.1:{plain.port}/")
            async with RawServer(answers(location)).running(server_tls) as server:
                source = downloader(names(localhost=["127.0.0.1"]), tls=trust)
                assert (
                    await fault_of(source, f"https://localhost:{server.port}/")
                ).code == "failed_to_download_image"
                assert plain.lines == []

    run(main)


# Several --------------------------------------------------------------------------------------------------------


def test_several_are_fetched_at_once_in_order():
    """All of them under way together, up to a bound; the order is that of the request."""

    async def main():
        under_way, most = 0, 0
        all_here = asyncio.Event()

        async def script(line):
            nonlocal under_way, most
            request = await line.request()
            under_way += 1
            most = max(most, under_way)
            if under_way == 8:
                all_here.set()
            await all_here.wait()
            under_way -= 1
            line.send(picture(PNG + request.split(b" ")[1]))

        async with RawServer(script).running() as server:
            urls = [f"http://127.0.0.1:{server.port}/{i}" for i in range(16)]
            got = await downloader().fetch_all([wanted(url) for url in urls])
            assert [each.data for each in got] == [PNG + b"/%d" % i for i in range(16)]
            assert most == 8
            assert await downloader().fetch_all([]) == []

    run(main)


@both_loops
def test_one_that_fails_ends_the_others(loop):
    """The fault names its own place; what is under way is hung up on."""

    async def main():
        async def script(line):
            request = await line.request()
            if b"/bad" in request:
                line.send(answer(b"", status=b"404 Not Found"))
            await line.gone()

        async with RawServer(script).running() as server:
            url = f"http://127.0.0.1:{server.port}"
            with pytest.raises(ClientFault) as raised:
                await downloader().fetch_all(
                    [
                        wanted(f"{url}/slow", param="a"),
                        wanted(f"{url}/bad", param="b"),
                        wanted(f"{url}/slow", param="c"),
                    ]
                )
            assert raised.value.param == "b"
            while server.closed < 3:
                server.a_line_closed.clear()
                await asyncio.wait_for(server.a_line_closed.wait(), PATIENCE)

    run(main, loop)


def test_all_files_of_a_request_are_bounded_together():
    """Each may be as large as allowed, and still they are too large."""

    async def main():
        async with RawServer(answers(picture(PNG + bytes(1000)))).running() as server:
            several = [wanted(f"http://127.0.0.1:{server.port}/")] * 3
            assert len(await downloader(max_request_bytes=Size(4000)).fetch_all(several)) == 3
            with pytest.raises(ClientFault) as raised:
                await downloader(max_request_bytes=Size(3000)).fetch_all(several)
            assert raised.value.code == "image_file_too_large"
            assert "together" in raised.value.message

    run(main)


def test_the_number_of_files_is_bounded():
    """Before anything is fetched; the first that is one too many is named."""

    async def main():
        several = [wanted("http://1.1.1.1/", param=f"input[{i}]") for i in range(MAX_DOWNLOADS + 1)]
        with connections() as made, pytest.raises(ClientFault) as raised:
            await downloader().fetch_all(several)
        assert (raised.value.code, raised.value.param) == (
            "array_above_max_length",
            f"input[{MAX_DOWNLOADS}]",
        )
        assert made == []

    run(main)
