"""A request as every server in front of the gateway hands it over."""

from dataclasses import dataclass


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
