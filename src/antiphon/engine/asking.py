"""Asking an upstream something beside a turn, and waiting for the whole body."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from antiphon.ports.upstream import Upstream, UpstreamRequest
from antiphon.wire.errors import UpstreamFault

_LARGEST_BODY: Final = 8 * 1024 * 1024


class Body(NamedTuple):
    """A whole answer."""

    status: int
    content_type: bytes
    data: bytes


async def ask(upstream: Upstream, request: UpstreamRequest, *, within: float) -> Body:
    """Send a request and return its answer, whatever its status. Raises UpstreamFault, TimeoutError."""
    collected = _Collected()
    call = upstream.send(request, collected)
    try:
        async with asyncio.timeout(within):
            return await collected.body
    finally:
        call.cancel()  # does nothing to one that is over


class _Collected:
    """Implements `ports.upstream.AnswerSink`."""

    def __init__(self) -> None:
        self.body: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._content_type = b""
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._status = status
        self._content_type = dict(headers).get(b"content-type", b"")

    def data(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _LARGEST_BODY:
            self.broken(UpstreamFault("The answer is too long.", code="upstream_answer_too_large"))
        else:
            self._parts.append(data)

    def end(self) -> None:
        if not self.body.done():
            self.body.set_result(Body(self._status, self._content_type, b"".join(self._parts)))

    def broken(self, fault: UpstreamFault) -> None:
        if not self.body.done():
            self.body.set_exception(fault)
