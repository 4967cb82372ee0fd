"""The faults of an upstream, one code each. Addresses stay in the cause: clients are not told them."""

from antiphon.wire.errors import UpstreamFault


def connect_failed(why: str) -> UpstreamFault:
    """No connection: refused, unreachable, unknown name, or the proxy would not."""
    return UpstreamFault(f"The upstream could not be reached: {why}.", code="upstream_connect_failed")


def tls_failed(why: str) -> UpstreamFault:
    """The upstream's certificate or its TLS was not acceptable."""
    return UpstreamFault(f"No trusted TLS connection to the upstream: {why}.", code="upstream_tls_failed")


def connect_timeout(seconds: float) -> UpstreamFault:
    """No connection in time."""
    return UpstreamFault(
        f"The upstream took no connection within {seconds:g} s.", code="upstream_connect_timeout", status=504
    )


def first_byte_timeout(seconds: float) -> UpstreamFault:
    """No head of an answer in time."""
    return UpstreamFault(
        f"The upstream did not start its answer within {seconds:g} s.",
        code="upstream_first_byte_timeout",
        status=504,
    )


def idle_timeout(seconds: float) -> UpstreamFault:
    """An answer that fell silent."""
    return UpstreamFault(
        f"The upstream fell silent for {seconds:g} s in the middle of its answer.",
        code="upstream_idle_timeout",
        status=504,
    )


def total_timeout(seconds: float) -> UpstreamFault:
    """An answer that took too long as a whole."""
    return UpstreamFault(
        f"The upstream did not finish its answer within {seconds:g} s.",
        code="upstream_total_timeout",
        status=504,
    )


def busy(why: str) -> UpstreamFault:
    """All connections are taken."""
    return UpstreamFault(
        f"The upstream is busy: {why}.", code="upstream_busy", status=503, headers=((b"retry-after", b"1"),)
    )


def reset() -> UpstreamFault:
    """The connection died before the head of the answer was complete."""
    return UpstreamFault("The upstream closed the connection without an answer.", code="upstream_reset")


def truncated() -> UpstreamFault:
    """The connection died in the middle of the body."""
    return UpstreamFault(
        "The upstream closed the connection in the middle of its answer.", code="upstream_truncated"
    )


def protocol_error(why: str) -> UpstreamFault:
    """What came is not an HTTP answer that can be trusted."""
    return UpstreamFault(f"The upstream's answer is not valid HTTP: {why}.", code="upstream_protocol_error")


def shutting_down() -> UpstreamFault:
    """The gateway itself is going."""
    return UpstreamFault("The gateway is shutting down.", code="shutting_down", status=503)
