"""What the first bytes of an image say."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.images import HEADER_BYTES, Image, read_image_header


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(5)


def jpeg(width, height, before=b"", marker=0xC0):
    return b"\xff\xd8" + before + struct.pack(">BBHBHH", 0xFF, marker, 17, 8, height, width) + bytes(9)


def segment(marker, size):
    return struct.pack(">BBH", 0xFF, marker, size + 2) + bytes(size)


def webp(kind, body):
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


SIZES = [(1, 2), (640, 480), (16383, 9)]
WRITERS = {
    "png": png,
    "jpeg": jpeg,
    "jpeg, progressive": lambda w, h: jpeg(w, h, marker=0xC2),
    "jpeg with a preview": lambda w, h: jpeg(
        w, h, segment(0xE0, 14) + b"\xff\x01\xff" + segment(0xE1, 60_000)
    ),
    "gif": lambda w, h: b"GIF89a" + struct.pack("<HH", w, h) + bytes(3),
    "old gif": lambda w, h: b"GIF87a" + struct.pack("<HH", w, h),
    "webp": lambda w, h: webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", w, h)),
    "webp, lossless": lambda w, h: webp(b"VP8L", b"\x2f" + struct.pack("<I", (w - 1) | (h - 1) << 14)),
    "webp, extended": lambda w, h: webp(
        b"VP8X", bytes(4) + (w - 1).to_bytes(3, "little") + (h - 1).to_bytes(3, "little")
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", WRITERS)
def test_size_and_type_are_read(kind, size):
    """Of each format, and of each way in which it is written."""
    assert read_image_header(WRITERS[kind](*size)) == Image(
        "image/" + kind.split(" ")[-1 if "old" in kind else 0].rstrip(","), *size
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_a_cut_image_has_no_size(kind):
    """At every length: either it is not recognised, or without a size, or it is all there."""
    whole = WRITERS[kind](640, 480)
    for length in range(len(whole)):
        image = read_image_header(whole[:length])
        assert image is None or image[1:] in {(0, 0), (640, 480)}


@given(st.binary())
def test_anything_may_be_looked_at(data):
    """Nothing is raised, for whatever bytes behind whatever beginning."""
    for beginning in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBPVP8X"):
        read_image_header(beginning + data)
    assert read_image_header(b"%PDF" + data) is None


def test_the_search_is_bounded():
    """Fill bytes without end are not followed to their end."""
    assert read_image_header(jpeg(640, 480, b"\xff" * HEADER_BYTES)) == Image("image/jpeg")
