"""The headers that tell a client what the cache did: `Cache-Status` (RFC 9211), `Age`, `X-Cache`."""

_Header = tuple[bytes, bytes]

_HIT = (b"x-cache", b"HIT (exact)")
SEMANTIC_HIT = (b"x-cache", b"HIT (semantic)")


def hit_headers(shown_key: bytes, age: float, remaining: float, detail: bytes = b"") -> tuple[_Header, ...]:
    """Headers of an answer from the cache; a negative ttl says that it is stale.

    One put together of several entries has no key.
    """
    status = b"antiphon; hit; ttl=%d" % (remaining // 1)
    if shown_key:
        status += b'; key="%b"' % shown_key
    if detail:
        status += b"; detail=" + detail
    return ((b"cache-status", status), (b"age", b"%d" % max(0, age)), _HIT)


def semantic_hit_headers(
    shown_key: bytes, age: float, remaining: float, similarity: float
) -> tuple[_Header, ...]:
    """Headers of an answer to a request that was so alike."""
    said = b'"semantic %.4f"' % similarity
    return (*hit_headers(shown_key, age, remaining, said)[:2], SEMANTIC_HIT)


def forward_header(
    reason: str, *, stored: bool = False, collapsed: bool = False, detail: str = "", status: int = 0
) -> _Header:
    """`Cache-Status` of an answer that came from an upstream."""
    text = f"antiphon; fwd={reason}"
    if status:
        text += f"; fwd-status={status}"
    if stored:
        text += "; stored"
    if collapsed:
        text += "; collapsed"
    if detail:
        text += f"; detail={detail}"
    return b"cache-status", text.encode()


def timing_header(seconds: float) -> _Header:
    """Say how long an answer took, from the request until it was whole."""
    return b"server-timing", b"total;dur=%.1f" % (seconds * 1000)
