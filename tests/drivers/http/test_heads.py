"""What request heads look like, and what never goes into one."""

import pytest

from antiphon import __version__
from antiphon.drivers.http.heads import MAX_KEPT_HEADS, Origin, RequestHeads
from antiphon.drivers.http.proxy import Proxy
from antiphon.ports.upstream import UpstreamRequest


def head_of(request, base_url="http://host:8000/v1", headers=(), proxy=None):
    return RequestHeads(Origin.from_url(base_url), headers, proxy).head(request)


def test_a_post_with_a_body():
    """Target, host, version, wanted types, given headers and the length, in this order."""
    head = head_of(UpstreamRequest("chat", "/chat", b"{}"), headers=((b"Authorization", b"Bearer k"),))
    assert head == (
        b"POST /v1/chat HTTP/1.1\r\nhost: host:8000\r\nuser-agent: antiphon/" + __version__.encode() + b"\r\n"
        b"accept: application/json\r\naccept-encoding: identity\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer k\r\ncontent-length: 2\r\n\r\n"
    )


def test_a_get_has_no_body_headers():
    """Neither a type nor a length for what is not there."""
    head = head_of(UpstreamRequest("chat", "/models", method="GET"))
    assert b"content-" not in head
    assert head.endswith(b"\r\n\r\n")


def test_a_post_without_a_body_says_so():
    """An empty POST has length 0."""
    assert head_of(UpstreamRequest("chat", "/cancel")).endswith(b"\r\ncontent-length: 0\r\n\r\n")


def test_streams_ask_for_events():
    """Accept names the event stream when one is wanted."""
    assert b"\r\naccept: text/event-stream\r\n" in head_of(UpstreamRequest("chat", "/c", b"{}", stream=True))


def test_a_request_s_own_headers_win():
    """A multipart body brings its own content type; each name is sent once."""
    request = UpstreamRequest(
        "transcriptions", "/a", b"--x", headers=((b"Content-Type", b"multipart/form-data"),)
    )
    head = head_of(request, headers=((b"content-type", b"text/plain"),))
    assert head.count(b"content-type") == 1
    assert b"content-type: multipart/form-data\r\n" in head


@pytest.mark.parametrize(
    ("base_url", "path", "target", "host"),
    [
        ("http://h", "", b"/", b"h"),
        ("http://h/", "/x", b"/x", b"h"),
        ("https://h:443/v1/", "/x", b"/v1/x", b"h"),
        ("https://h:80", "/x?a=1", b"/x?a=1", b"h:80"),
        ("https://h/v1?api-version=2", "/x", b"/v1/x?api-version=2", b"h"),
        ("https://h/v1?api-version=2", "/x?a=1", b"/v1/x?a=1&api-version=2", b"h"),
        ("http://[::1]:9/v1", "/x", b"/v1/x", b"[::1]:9"),
        ("http://bücher.example", "/x", b"/x", b"xn--bcher-kva.example"),
    ],
)
def test_targets_join_the_base_url_and_the_path(base_url, path, target, host):
    """The path goes below the base URL's; its query stays; default ports are not named."""
    head = head_of(UpstreamRequest("chat", path, b"{}"), base_url)
    assert head.startswith(b"POST " + target + b" HTTP/1.1\r\nhost: " + host + b"\r\n")


def test_a_proxy_gets_absolute_targets_and_its_password():
    """Over a plain proxy the target names the origin, and the proxy's credentials go along."""
    proxy = Proxy.from_url("http://me:pw@proxy:3128")
    head = head_of(UpstreamRequest("chat", "", b"{}"), "http://h:1", proxy=proxy)
    assert head.startswith(b"POST http://h:1/ HTTP/1.1\r\nhost: h:1\r\n")
    assert b"\r\nproxy-authorization: Basic bWU6cHc=\r\n" in head


def test_a_tunnel_hides_the_proxy_s_password_from_the_origin():
    """Inside a CONNECT tunnel requests look as without a proxy."""
    proxy = Proxy.from_url("http://me:pw@proxy:3128")
    head = head_of(UpstreamRequest("chat", "/x", b"{}"), "https://h", proxy=proxy)
    assert head.startswith(b"POST /x HTTP/1.1\r\n")
    assert b"proxy-authorization" not in head


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\0b", b"key\n"])
def test_control_characters_in_values_are_refused_when_made(bad):
    """A header with a line break or NUL never gets as far as a request, and the message does not quote it."""
    with pytest.raises(ValueError, match="control character") as caught:
        RequestHeads(Origin.from_url("http://h"), ((b"authorization", bad),), None)
    assert "key" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"a\r\n", b"Content-Length", b"Transfer-Encoding", b"accept-encoding"]
)
def test_bad_and_reserved_names_are_refused(name):
    """Names that are no names, and those that decide where a message ends."""
    with pytest.raises(ValueError):
        RequestHeads(Origin.from_url("http://h"), ((name, b"x"),), None)


@pytest.mark.parametrize("path", ["x", "/a b", "/a\r\n", "/a#b", "/ä"])
def test_paths_that_are_none_are_refused(path):
    """A path is visible ASCII and starts with a slash."""
    with pytest.raises(ValueError, match="path"):
        head_of(UpstreamRequest("chat", path))


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "GET /"])
def test_methods_that_change_the_framing_are_refused(method):
    """An answer to HEAD has no body where its length says there is one."""
    with pytest.raises(ValueError, match="method"):
        head_of(UpstreamRequest("chat", "/x", method=method))


@pytest.mark.parametrize(
    "base_url", ["ftp://h", "h:80", "http://", "http://u:p@h", "http://h/#f", "http://h/a b", ""]
)
def test_base_urls_that_are_none_are_refused(base_url):
    """A base URL names http or https and a host, and carries no secret."""
    with pytest.raises(ValueError, match="base URL"):
        Origin.from_url(base_url)


def test_kept_heads_are_bounded():
    """Headers that differ each time do not fill the memory."""
    heads = RequestHeads(Origin.from_url("http://h"), (), None)
    for number in range(MAX_KEPT_HEADS + 10):
        heads.head(UpstreamRequest("chat", "/x", b"{}", headers=((b"x-id", b"%d" % number),)))
    assert len(heads._kept) <= MAX_KEPT_HEADS
