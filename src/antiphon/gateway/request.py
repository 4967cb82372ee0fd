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
    claim: Claimed | None = None
    """What its idempotency key has brought; None where it has none."""

    @property
    def answer_id(self) -> bytes:
        """The id that a response to it is to have; empty where any will do."""
        return b"" if self.claim is None else self.claim.answer_id.encode()
