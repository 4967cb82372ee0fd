"""What is stored of a request that is answered later, beside its input."""

from collections.abc import Mapping
from typing import Final

import msgspec

from antiphon.turn.history import Context
from antiphon.wire.json import Members

_TAKEN_OUT: Final = frozenset(
    {"input", "background", "stream", "stream_options", "store", "previous_response_id", "conversation"}
)
"""Members that the turn is not asked with, or with others."""
_KEPT_HEADERS: Final = frozenset({b"cache-control", b"x-antiphon-cache", b"x-antiphon-cache-tag"})


class StoredRequest(msgspec.Struct):
    """A request, as far as the turn that answers it needs it."""

    members: dict[str, bytes]
    headers: dict[bytes, bytes]
    owner: str
    project: str
    echo: dict[str, bytes]
    """Members of the response that the gateway answers for."""
    inherited: int = 0
    """How many items of the input stand in front of the client's own."""
    is_text: bool = False
    """Whether the client's own is a string."""

    @classmethod
    def of(
        cls,
        members: Members,
        headers: Mapping[bytes, bytes],
        owner: str,
        project: str,
        echo: Mapping[str, bytes],
        context: Context,
    ) -> "StoredRequest":
        """Take from a request what is to be stored."""
        return cls(
            {name: bytes(raw) for name, raw in members.items() if name not in _TAKEN_OUT},
            {name: value for name, value in headers.items() if name in _KEPT_HEADERS},
            owner,
            project,
            dict(echo),
            context.inherited,
            context.is_text,
        )

    def encode(self) -> bytes:
        """Return it as bytes."""
        return _ENCODE(self)


def decode_request(data: bytes) -> StoredRequest:
    """Return what was encoded. Raises msgspec.DecodeError."""
    return _DECODE(data)


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(StoredRequest).decode
