"""Recordings that are told piece by piece."""

import msgspec
import pytest

from antiphon.recording import Head, Mode, Recording
from antiphon.recording.telling import Over, Part, opening_of, read_piece, write_piece

ECHO = {"metadata": b'{"a":"b"}'}


def recording(mode=Mode.STREAM):
    return Recording(
        id="r1",
        dialect="chat",
        mode=mode,
        provider="p",
        model="m",
        started_at=1.5,
        usage_requested=True,
        head=Head(200, b"text/event-stream", ((b"x-request-id", b"\xff"),)),
    )


@pytest.mark.parametrize(
    "piece",
    [
        opening_of(recording(), ECHO, 17),
        Part([b"data: \xff\n\n", b""], [1, 2]),
        Part([b"a part of a body"]),
        Over(),
        Over(("It broke.", None, 502)),
        Over(("It broke.", "upstream_truncated", 502)),
        Over(is_stored=True),
    ],
    ids=lambda piece: type(piece).__name__,
)
def test_a_piece_is_read_as_it_was_written(piece):
    assert read_piece(write_piece(piece)) == piece


@pytest.mark.parametrize("data", [b"", b"\x92\xa1x\x01", b"\x93\xa1p\xc0\xc0", b"not a piece"])
def test_what_is_no_piece_is_refused(data):
    with pytest.raises(msgspec.DecodeError):
        read_piece(data)


def test_an_opening_tells_the_head():
    assert opening_of(recording(), ECHO, 17).head == recording().head
