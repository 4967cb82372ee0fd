"""How a recording is told piece by piece to whoever records it once more: its head, its frames, and how it ended.

    Opening  Part*  Over

Together they make the same recording again, times and outcome included: what ended well is watched to its end there
too, and what did not says why.
"""

import msgspec

from antiphon.recording.recording import Head, Mode, Recording


class Opening(msgspec.Struct, array_like=True, tag="o", frozen=True):
    """What is known when the answer begins."""

    recording_id: str
    mode: Mode
    started_at: float
    elapsed: int
    """Microseconds since the request was sent."""
    usage_requested: bool
    echo: dict[str, bytes]
    """Members of the request that the answer echoes."""
    status: int
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def head(self) -> Head:
        """The recording's head."""
        return Head(self.status, self.content_type, self.headers)


class Part(msgspec.Struct, array_like=True, tag="p", frozen=True):
    """Frames of a stream with their times, or a part of a body without."""

    frames: list[bytes]
    times: list[int] = []


class Over(msgspec.Struct, array_like=True, tag="e", frozen=True):
    """The end; with a fault if something went wrong that the frames do not tell."""

    fault: tuple[str, str | None, int] | None = None
    """Message, code, status."""
    is_stored: bool = False
    """Whether the answer is in the cache."""


Piece = Opening | Part | Over

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Piece] = msgspec.msgpack.Decoder(Piece)


def write_piece(piece: Piece) -> bytes:
    """Write a piece."""
    return _encoder.encode(piece)


def read_piece(data: bytes) -> Piece:
    """Read what `write_piece` wrote. Raises msgspec.DecodeError."""
    return _decoder.decode(data)


def opening_of(recording: Recording, echo: dict[str, bytes], elapsed: int) -> Opening:
    """Tell how a recording begins, whose head is there."""
    head = recording.head
    return Opening(
        recording.id,
        recording.mode,
        recording.started_at,
        elapsed,
        recording.usage_requested,
        echo,
        head.status,
        head.content_type,
        head.headers,
    )
