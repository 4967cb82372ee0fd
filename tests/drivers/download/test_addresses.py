"""Which addresses are everybody's."""

import ipaddress

import pytest

from antiphon.drivers.download.addresses import Allowed, is_public, read_address

PUBLIC = ["1.1.1.1", "8.8.8.8", "192.0.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"]  # fmt: skip
REFUSED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.1.1", "fe80::1"],
    "metadata": [
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "broadcast and reserved": ["255.255.255.255", "240.0.0.1", "4000::1", "100::1", "::2"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "site-local": ["fec0::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::808:808"],
    "6to4": ["2002:7f00:1::1", "2002:a00:1::1", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_reached(text):
    """Also IPv4 behind the translator of a host that has IPv6 alone."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in REFUSED.items() for text in texts]
)
def test_no_other_address_may_be_reached(kind, text):
    """Whatever its kind, and whatever it is wrapped in."""
    assert not is_public(ipaddress.ip_address(text)), kind


@pytest.mark.parametrize(
    "text", ["", "host", "127.1", "0x7f.0.0.1", "2130706433", "fe80::1%eth0", "1.2.3.4/8", "010.0.0.1"]
)
def test_only_plain_addresses_are_addresses(text):
    """Whatever else some readers take for one is a name, to be resolved and judged by its answer."""
    assert read_address(text) is None


def test_more_can_be_allowed():
    """Addresses and networks by number, hosts by their whole name."""
    allowed = Allowed(["10.1.0.0/16", "192.168.1.7", "fd00::/8", "Files.internal"])
    inside = [("x", "10.1.2.3"), ("x", "192.168.1.7"), ("x", "fd00::1"), ("files.INTERNAL", "127.0.0.1")]
    outside = [
        ("x", "10.2.0.1"),
        ("x", "192.168.1.8"),
        ("a.files.internal", "127.0.0.1"),
        ("files", "127.0.0.1"),
    ]
    assert [allowed.includes(host, ipaddress.ip_address(text)) for host, text in inside] == [True] * 4
    assert [allowed.includes(host, ipaddress.ip_address(text)) for host, text in outside] == [False] * 4
