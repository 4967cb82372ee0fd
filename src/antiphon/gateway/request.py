"""A request as every server in front of the gateway hands it over."""

from dataclasses import dataclass

from antiphon.ports.idempotency import Claimed


@dataclass(frozen=True, slots=True)
class Request:
    """Method, target, headers (names in lower case, repeated ones joined by a comma) and the whole body."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    peer: str
    """The client's address, "" where there is none."""

    @property
    def claim(self) -> Claimed | None:
        """What its idempotency key has brought; None where it has none, or nobody has looked yet."""
        return None


@dataclass(frozen=True, slots=True)
class ClaimedRequest(Request):
    """A request that is answered now, once for its idempotency key."""

    held: Claimed

    @property
    def claim(self) -> Claimed:
        """What its idempotency key has brought."""
        return self.held

    @classmethod
    def of(cls, request: Request, held: Claimed) -> "ClaimedRequest":
        """Let `request` have what it has claimed."""
        return cls(
            request.method, request.path, request.query, request.headers, request.body, request.peer, held
        )
