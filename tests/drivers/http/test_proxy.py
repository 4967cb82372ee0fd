"""Which proxy the environment names for which upstream."""

import pytest

from antiphon.drivers.http.proxy import Proxy, proxy_from_environment

P = "http://proxy:3128"


def host_for(base_url, **environ):
    proxy = proxy_from_environment(base_url, environ)
    return None if proxy is None else proxy.host


def test_each_scheme_has_its_variable():
    """http and https look at their own variable, in either case, then at ALL_PROXY."""
    assert host_for("http://x", http_proxy=P) == "proxy"
    assert host_for("http://x", HTTP_PROXY=P) == "proxy"
    assert host_for("https://x", HTTPS_PROXY=P) == "proxy"
    assert host_for("https://x", HTTP_PROXY=P) is None
    assert host_for("https://x", ALL_PROXY=P) == "proxy"
    assert host_for("https://x", ALL_PROXY=P, https_proxy="http://other") == "other"
    assert host_for("https://x", HTTPS_PROXY=" ") is None


def test_a_forged_proxy_is_not_believed():
    """Under CGI a client could set HTTP_PROXY; only the lower-case name counts there."""
    assert host_for("http://x", HTTP_PROXY=P, REQUEST_METHOD="GET") is None
    assert host_for("http://x", http_proxy=P, REQUEST_METHOD="GET") == "proxy"
    assert host_for("https://x", HTTPS_PROXY=P, REQUEST_METHOD="GET") == "proxy"


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("a.example.com", "example.com"),
        ("a.example.com", ".example.com"),
        ("a.example.com", "*.example.com"),
        ("A.Example.COM", "other, EXAMPLE.com"),
        ("example.com", "example.com:80"),
        ("anything", "*"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("[fd00::1]", "fd00::/8"),
        ("[::1]", "::1"),
        ("[::1]", "[::1]:80"),
        ("10.1.2.3", "10.1.2.3:80"),
    ],
)
def test_exempt_hosts_are_reached_directly(host, no_proxy):
    """Suffixes, ports, addresses, networks and the star exempt."""
    assert host_for(f"http://{host}/v1", HTTP_PROXY=P, NO_PROXY=no_proxy) is None


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("badexample.com", "example.com"),
        ("example.com", "a.example.com"),
        ("example.com", "example.com:8080"),
        ("11.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "2.3"),
        ("10.1.2.3", "::/0"),
        ("example.com", ""),
        ("example.com", " , ."),
        ("[::1]", "[::1]:81"),
    ],
)
def test_other_hosts_are_not_exempt(host, no_proxy):
    """Half a label, another port or another network does not exempt."""
    assert host_for(f"http://{host}/v1", HTTP_PROXY=P, NO_PROXY=no_proxy) == "proxy"


def test_a_proxy_s_url_carries_its_password():
    """User and password are percent-decoded and become basic authentication."""
    assert Proxy.from_url("https://me:p%40ss@proxy") == Proxy(
        "proxy", 443, tls=True, authorization=b"Basic bWU6cEBzcw=="
    )
    assert Proxy.from_url("proxy:3128") == Proxy("proxy", 3128)


@pytest.mark.parametrize("url", ["socks5://proxy:1080", "http://", "http://proxy:99999"])
def test_proxies_that_cannot_be_used_are_refused(url):
    """SOCKS is not spoken, and a proxy has a host and a port."""
    with pytest.raises(ValueError):
        Proxy.from_url(url)
