"""Which addresses a URL from a client may lead to: those of the public internet, and no others.

Written out rather than asked of `ipaddress.is_global`, whose answer differs between versions of Python and is yes
for multicast. Lists: IANA's special-purpose address registries, read 2026-09.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own services, at an address that looks public
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All that is assigned to the public; loopback, link-local, unique local, multicast and the like are outside."""
_SPECIAL_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which wraps IPv4 addresses
            "2001:db8::/32",
            "2002::/16",  # 6to4, which wraps IPv4 addresses too
            "3fff::/20",
        ),
    )
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""On hosts that have IPv6 only, all of IPv4 lies in here."""


class Allowed:
    """What may be reached although it is not public: networks, and hosts by their names."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Read addresses (`192.168.1.7`), networks (`10.1.0.0/16`) and host names (`files.internal`)."""
        self._networks: list[IPv4Network | IPv6Network] = []
        self._hosts: set[str] = set()
        for entry in entries:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                self._hosts.add(entry.lower())

    def includes(self, host: str, address: Address) -> bool:
        """Whether `address`, which `host` resolved to, is allowed by either."""
        return host.lower() in self._hosts or any(address in network for network in self._networks)


def read_address(text: str) -> Address | None:
    """Read an address; None for what is not one, or names an interface (`fe80::1%eth0`)."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether everybody on the internet can reach the address; the IPv4 address that is wrapped in it counts."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if address in _MAPPED or address in _NAT64:
        return is_public(IPv4Address(address.packed[12:]))
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)
