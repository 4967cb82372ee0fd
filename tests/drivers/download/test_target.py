"""URLs from clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.drivers.download.target import Target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://host.test", ("http", "host.test", 80, "/")),
        ("HTTPS://Host.Test:8443/a%20b?c=d&e#f", ("https", "host.test", 8443, "/a%20b?c=d&e")),
        ("https://host.test./a", ("https", "host.test", 443, "/a")),
        ("http://host.test?q", ("http", "host.test", 80, "/?q")),
        ("http://bücher.test/über?ß=é", ("http", "xn--bcher-kva.test", 80, "/%C3%BCber?%C3%9F=%C3%A9")),
        ("http://[2606:4700::1]:443/", ("http", "2606:4700::1", 443, "/")),
        ("http://\uff11\uff12\uff17.0.0.1/", ("http", "127.0.0.1", 80, "/")),
        ("http://0x7f.1/", ("http", "0x7f.1", 80, "/")),
        ('http://host.test/a"<b>`{c}|^', ("http", "host.test", 80, "/a%22%3Cb%3E%60%7Bc%7D%7C%5E")),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url, target):
    """As browsers do: what is not ASCII is encoded, the fragment stays at home."""
    read = Target.read(url)
    assert (read.scheme, read.host, read.port, read.path) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host.test/a",
        "//host.test/a",
        "ftp://host.test/",
        "file:///etc/passwd",
        "gopher://host.test/",
        "http:///a",
        "http://:80/",
        "http://user@host.test/",
        "http://user:password@host.test/",
        "http://@host.test/",
        "http://host.test:0/",
        "http://host.test:99999/",
        "http://host.test:x/",
        "http://host.test\\@other.test/",
        "http://host.test/a b",
        " http://host.test/",
        "http://host.test/\r\nHost: other",
        "http://host.test/\x00",
        "http://ho\tst.test/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://a..b/",
        "http://-" + "a" * 64 + ".test/",
        "http://" + "a." * 200 + "test/",
        "http://host.test/" + "a" * 20_000,
        "http://host%2etest/",
        "http://host.test/\ud800",
    ],
)
def test_what_readers_disagree_about_is_refused(url):
    """And what carries credentials, or is no URL of a file."""
    with pytest.raises(ValueError):
        Target.read(url)


@given(st.text(max_size=60))
def test_whatever_is_read_can_be_sent(text):
    """One line of ASCII, without blanks."""
    for url in (text, "http://" + text, "http://host.test/" + text):
        try:
            target = Target.read(url)
        except ValueError:
            continue
        sent = target.base_url + target.path
        assert sent.isascii()
        assert sent.isprintable()
        assert not set(sent) & set(' "<>\\^`{|}#')


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/b", "https://host.test:443/b"),
        ("b?c", "https://host.test:443/a/b?c"),
        ("//other.test/b", "https://other.test:443/b"),
        ("https://other.test:8443/", "https://other.test:8443/"),
    ],
)
def test_a_redirect_is_read_like_a_link(location, leads_to):
    """Relative to where it was found."""
    target = Target.read("https://host.test/a/x?y").redirected(location)
    assert target.base_url + target.path == leads_to


@pytest.mark.parametrize(
    "location", ["http://host.test/", "ftp://host.test/", "data:,a", "https://me@host.test/"]
)
def test_a_redirect_may_not_lead_everywhere(location):
    """Not out of TLS, not to another scheme, not with credentials."""
    with pytest.raises(ValueError):
        Target.read("https://host.test/").redirected(location)
