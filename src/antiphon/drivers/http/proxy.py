"""Which proxy stands between the gateway and an upstream, as the usual environment variables say."""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, spoken to in the clear or over TLS."""

    host: str
    port: int
    tls: bool = False
    authorization: bytes | None = None
    """The value of `proxy-authorization`."""

    @classmethod
    def from_url(cls, url: str) -> "Proxy":
        """Read `http://user:password@host:port`; the scheme may be left out."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"A proxy's scheme must be http or https, not {parts.scheme!r}.")
        if not parts.hostname:
            raise ValueError("A proxy's URL must name a host.")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + base64.b64encode(pair.encode())
        return cls(
            host=parts.hostname,
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "https",
            authorization=authorization,
        )


def proxy_from_environment(base_url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Find the proxy for `base_url`, or None where it is to be reached directly."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    url = _first(environ, f"{parts.scheme}_proxy", "all_proxy")
    if url is None or _is_exempt(host, port, _first(environ, "no_proxy") or ""):
        return None
    return Proxy.from_url(url)


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    for name in names:
        # Under CGI, HTTP_PROXY is the client's own `Proxy:` header (https://httpoxy.org).
        may_be_forged = name == "http_proxy" and "REQUEST_METHOD" in environ
        value = environ.get(name) or (None if may_be_forged else environ.get(name.upper()))
        if value and value.strip():
            return value.strip()
    return None


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    return any(_matches(host, port, entry) for entry in no_proxy.replace(",", " ").split())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, wanted_port = _split_port(entry.lower())
    if wanted_port is not None and wanted_port != port:
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    suffix = name.removeprefix("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdigit() else None
    name, colon, port = entry.rpartition(":")
    # A bare IPv6 address has colons too, and no port.
    if colon and ":" not in name and port.isdigit():
        return name, int(port)
    return entry, None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
