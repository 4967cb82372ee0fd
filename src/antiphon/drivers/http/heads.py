"""Request heads: everything but the length of the body is made once for each kind of request."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from antiphon import __version__
from antiphon.drivers.http.proxy import DEFAULT_PORTS, Proxy
from antiphon.ports.upstream import UpstreamRequest

Headers = tuple[tuple[bytes, bytes], ...]

MAX_KEPT_HEADS = 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_TARGET = re.compile(r"(/[!\"$-~]*)?")
_RESERVED = frozenset(
    {
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""The driver answers for these: they decide where a message ends."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a base URL points."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @classmethod
    def from_url(cls, base_url: str) -> "Origin":
        """Read a base URL, `https://host:port/path?query`."""
        parts = urlsplit(base_url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"A base URL must start with http:// or https:// and name a host: {base_url!r}.")
        if parts.username is not None or parts.fragment:
            raise ValueError("A base URL must not carry a user, a password or a fragment.")
        path = parts.path.rstrip("/")
        if not _TARGET.fullmatch(path) or not _TARGET.fullmatch(f"/{parts.query}"):
            raise ValueError(f"A base URL must be percent-encoded ASCII: {base_url!r}.")
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
        return cls(parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme], path, parts.query)

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken with it."""
        return self.scheme == "https"

    @property
    def bracketed_host(self) -> str:
        """The host as URLs write it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """Host and port, as the Host header wants them."""
        is_default = self.port == DEFAULT_PORTS[self.scheme]
        return self.bracketed_host if is_default else f"{self.bracketed_host}:{self.port}"


def check_headers(headers: Headers) -> None:
    """Refuse headers that could be read as something else, with a ValueError."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"Not a header name: {name!r}.")
        if name.lower() in _RESERVED:
            raise ValueError(f"The header {name.decode()} is not yours to set.")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"The value of the header {name.decode()} has a control character in it.")


class RequestHeads:
    """Makes request heads for one origin and keeps them."""

    def __init__(self, origin: Origin, headers: Headers, proxy: Proxy | None) -> None:
        """Add `headers` to each request; name the origin in each target where a proxy forwards."""
        check_headers(headers)
        self._headers = headers
        self._proxy_headers: Headers = ()
        self._prefix = origin.path
        self._root = "" if origin.path else "/"
        self._query = origin.query
        if proxy is not None and not origin.is_tls:
            self._prefix = f"{origin.scheme}://{origin.authority}{origin.path}"
            if proxy.authorization is not None:
                self._proxy_headers = ((b"proxy-authorization", proxy.authorization),)
        self._authority = origin.authority.encode("ascii")
        self._kept: dict[tuple[str, str, bool, bool, Headers], bytes] = {}

    def head(self, request: UpstreamRequest) -> bytes:
        """Everything before the body. ValueError for what must not be sent."""
        body = request.body
        key = (request.method, request.path, request.stream, not body, request.headers)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._make(request)
            if len(self._kept) >= MAX_KEPT_HEADS:
                self._kept.clear()
            self._kept[key] = kept
        if body:
            return b"%b%d\r\n\r\n" % (kept, len(body))
        return kept

    def _make(self, request: UpstreamRequest) -> bytes:
        check_headers(request.headers)
        if request.method not in {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            raise ValueError(f"The method {request.method!r} is not sent to upstreams.")
        fields = {
            b"host": self._authority,
            b"user-agent": b"antiphon/" + __version__.encode(),
            b"accept": b"text/event-stream" if request.stream else b"application/json",
            b"accept-encoding": b"identity",
        }
        if request.body:
            fields[b"content-type"] = b"application/json"
        for name, value in self._headers + request.headers + self._proxy_headers:
            fields[name.lower()] = value
        lines = [f"{request.method} {self._target(request.path)} HTTP/1.1".encode("ascii")]
        lines += [b"%b: %b" % field for field in fields.items()]
        if request.body:
            return b"\r\n".join([*lines, b"content-length: "])
        if request.method not in {"GET", "DELETE"}:
            lines.append(b"content-length: 0")
        return b"\r\n".join([*lines, b"", b""])

    def _target(self, path: str) -> str:
        if not _TARGET.fullmatch(path):
            raise ValueError(f"Not a path that can be sent: {path!r}.")
        target = self._prefix + (path or self._root)
        if self._query:
            target += ("&" if "?" in path else "?") + self._query
        return target
