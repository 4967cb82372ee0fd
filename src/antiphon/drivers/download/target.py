"""URLs from clients, read so that no other reader could take them for something else."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from antiphon.drivers.download.addresses import read_address
from antiphon.drivers.http.proxy import DEFAULT_PORTS

_MAX_URL: Final = 16 * 1024
_MAX_HOST: Final = 253
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\]")
"""What readers of URLs disagree about."""
_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_IN_TARGETS: Final = "!$%&'()*+,-./:;=?@_~[]"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""

    @classmethod
    def read(cls, url: str) -> "Target":
        """Read an absolute URL. Raises ValueError for what is not one, or carries a user."""
        if len(url) > _MAX_URL or _UNSAFE.search(url):
            raise ValueError("too long, or with characters that have no place in a URL")
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or "@" in parts.netloc or parts.port == 0:
            raise ValueError("not http or https, or with a user, or port 0")
        path = quote(parts.path or "/", safe=_IN_TARGETS)
        if parts.query:
            path += "?" + quote(parts.query, safe=_IN_TARGETS)
        return cls(parts.scheme, _host(parts.hostname or ""), parts.port or DEFAULT_PORTS[parts.scheme], path)

    def redirected(self, location: str) -> "Target":
        """Where a redirect leads. Raises ValueError where it may not lead."""
        target = Target.read(urljoin(self.base_url + self.path, location))
        if self.scheme == "https" and target.scheme == "http":
            raise ValueError("from https to http")
        return target

    @property
    def base_url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _host(name: str) -> str:
    if len(name) > _MAX_HOST:
        raise ValueError("a host's name that is too long")
    if read_address(name) is not None:
        return name
    # Only now is the name what it will be asked for as: this also makes plain digits of others.
    host = name.encode("idna").decode("ascii").lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError("not a host's name")
    return host
