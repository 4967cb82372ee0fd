"""Forms as clients write them."""

from collections.abc import Iterable

BOUNDARY = "----antiphon-7d1b"
Field = tuple[str, str | tuple[str, bytes] | tuple[str, bytes, str]]
"""A name with its text, or with a file's name, content and perhaps type."""


def form(fields: Iterable[Field], boundary: str = BOUNDARY) -> bytes:
    """Write a form."""
    parts = [b"--%b\r\n%b\r\n" % (boundary.encode(), part(*field)) for field in fields]
    return b"".join(parts) + b"--%b--\r\n" % boundary.encode()


def part(name: str, value: str | tuple[str, bytes] | tuple[str, bytes, str]) -> bytes:
    """Write a part, head and content."""
    head = f'Content-Disposition: form-data; name="{name}"'
    if isinstance(value, str):
        return f"{head}\r\n\r\n{value}".encode()
    filename, content, *types = value
    head += f'; filename="{filename}"'
    for content_type in types:
        head += f"\r\nContent-Type: {content_type}"
    return head.encode() + b"\r\n\r\n" + content


def content_type(boundary: str = BOUNDARY) -> str:
    """Return the header that a form is sent with."""
    return f"multipart/form-data; boundary={boundary}"
