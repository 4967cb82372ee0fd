"""One answer of a server: judged as it arrives, and given up as soon as it is not what was wanted."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from antiphon.drivers.download.faults import Faults
from antiphon.ports.upstream import Call
from antiphon.wire.errors import ClientFault, UpstreamFault
from antiphon.wire.images import read_image_header

_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
_UNTYPED: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""What storage services say of files that they know nothing of."""


class Downloaded(NamedTuple):
    """What was fetched."""

    media_type: str
    """Without parameters; of images what they are, not what the server says."""
    data: bytes


class Room:
    """Bytes that the files of one request may still take."""

    def __init__(self, size: int) -> None:
        """Have room for `size` bytes."""
        self._left = size

    def take(self, size: int) -> bool:
        """Use some of it; False if there is not so much."""
        self._left -= size
        return self._left >= 0


class Answer:
    """Collects one answer; implements `ports.upstream.AnswerSink`."""

    def __init__(self, faults: Faults, max_bytes: int, room: Room) -> None:
        """Take at most `max_bytes`, and no more than there is `room` for."""
        self.faults = faults
        self.over = asyncio.Event()
        self.call: Call | None = None
        """Set by whoever sends the request."""
        self.location: str | None = None
        """Where the answer leads instead, if it is a redirect."""
        self.fault: ClientFault | None = None
        self.is_unreached = False
        """Whether there was no connection: another address may do."""
        self._max_bytes = max_bytes
        self._room = room
        self._declared = ""
        self._pieces: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Judge what the answer says of itself."""
        by_name = dict(headers)
        location = by_name.get(b"location")
        if status in _REDIRECTING and location is not None:
            self.location = location.decode("utf-8", "replace")
            self._stop()
            return
        self._declared = by_name.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        length = by_name.get(b"content-length", b"")
        if status != 200:
            self._stop(self.faults.failed_with(status))
        elif self._declared not in _UNTYPED and not self._is_accepted(self._declared):
            self._stop(self.faults.wrong_type())
        elif length.isdigit() and int(length[:20]) > self._max_bytes:
            self._stop(self.faults.too_large())

    def data(self, data: bytes) -> None:
        """Collect the next bytes."""
        self._size += len(data)
        if self._size > self._max_bytes:
            self._stop(self.faults.too_large())
        elif not self._room.take(len(data)):
            self._stop(self.faults.too_much())
        else:
            self._pieces.append(data)

    def end(self) -> None:
        """Have the whole."""
        self.over.set()

    def broken(self, fault: UpstreamFault) -> None:
        """Have nothing, or a part that is of no use."""
        self.is_unreached = fault.code in {"upstream_connect_failed", "upstream_connect_timeout"}
        self.fault = self.faults.failed()
        self.fault.__cause__ = fault
        self.over.set()

    def downloaded(self) -> Downloaded:
        """Return the whole. Raises ClientFault if it is empty, or not what was wanted."""
        data = b"".join(self._pieces)
        if not data:
            raise self.faults.empty()
        # Upstreams refuse an image that is not what it says it is; servers are often wrong.
        image = read_image_header(data)
        if image is not None and self._is_accepted(image.media_type):
            return Downloaded(image.media_type, data)
        if self._declared in _UNTYPED and not self._is_accepted("application/octet-stream"):
            raise self.faults.wrong_type()
        return Downloaded(self._declared or "application/octet-stream", data)

    def _is_accepted(self, media_type: str) -> bool:
        whole_type = media_type.partition("/")[0] + "/*"
        return any(accepted in (media_type, whole_type, "*/*") for accepted in self.faults.wanted.accept)

    def _stop(self, fault: ClientFault | None = None) -> None:
        self.fault = fault
        assert self.call is not None
        self.call.cancel()
        self.over.set()
