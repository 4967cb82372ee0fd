"""What the first bytes of an image say: its media type and its size in pixels."""

from typing import Final, Literal, NamedTuple

HEADER_BYTES: Final = 256 * 1024
"""Enough of an image to find its size; a JPEG may carry a preview and other things before it."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the frame headers, which hold the size."""
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that have no length behind them."""


class Image(NamedTuple):
    """What an image is; no width and height where its size was not found."""

    media_type: str
    width: int = 0
    height: int = 0


def read_image_header(data: bytes) -> Image | None:
    """Recognise PNG, JPEG, GIF and WebP by their first bytes (`HEADER_BYTES` are enough); None for all else."""
    if data.startswith(_PNG):
        return Image("image/png", *_big(data, 16, 4)) if data[12:16] == b"IHDR" else Image("image/png")
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Image("image/gif", *_little(data, 6, 2))
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data[:HEADER_BYTES])
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _jpeg(data: bytes) -> Image:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_SIZES:
            height, width = _big(data, at + 5, 2)
            return Image("image/jpeg", width, height)
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Image("image/jpeg")


def _webp(data: bytes) -> Image:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        width, height = _little(data, 24, 3)
        return Image("image/webp", width + 1, height + 1)
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return Image("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = _little(data, 26, 2)
        return Image("image/webp", width & 0x3FFF, height & 0x3FFF)
    return Image("image/webp")


def _big(data: bytes, at: int, width: int) -> tuple[int, int]:
    return _pair(data, at, width, is_big=True)


def _little(data: bytes, at: int, width: int) -> tuple[int, int]:
    return _pair(data, at, width, is_big=False)


def _pair(data: bytes, at: int, width: int, *, is_big: bool) -> tuple[int, int]:
    if len(data) < at + 2 * width:
        return 0, 0
    order: Literal["big", "little"] = "big" if is_big else "little"
    middle = at + width
    return int.from_bytes(data[at:middle], order), int.from_bytes(data[middle : middle + width], order)
