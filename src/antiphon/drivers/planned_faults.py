"""An answer that goes wrong where it was planned, whoever gives it: a cassette or an upstream."""

from collections.abc import Sequence

from antiphon.drivers.answer_frames import AnswerFrames
from antiphon.ports.upstream import AnswerSink
from antiphon.recording.faults import Kind, PlannedFault
from antiphon.wire.errors import UpstreamFault


class FaultySink:
    """Implements `ports.upstream.AnswerSink` in front of another, which hears of the answer only until the fault."""

    def __init__(self, sink: AnswerSink, fault: PlannedFault) -> None:
        """Let `fault` happen, which is in the course of the answer and not another status."""
        self._sink = sink
        self._fault = fault
        self._left = fault.frames
        self._frames: AnswerFrames | None = None
        self.has_failed = False
        """Whether the fault has happened, so that nothing more is passed on."""

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Pass on the head."""
        content_type = dict(headers).get(b"content-type", b"")
        self._frames = AnswerFrames(content_type, status)
        self._sink.head(status, headers)
        if self._left == 0:
            self._fail()

    def data(self, data: bytes) -> None:
        """Pass on as many frames as there may be."""
        if self.has_failed or self._frames is None:
            return
        frames = self._frames.feed(data)[: self._left]
        self._left -= len(frames)
        if frames:
            self._sink.data(b"".join(frames))
        if self._left == 0:
            self._fail()

    def end(self) -> None:
        """An answer with fewer frames fails at its end."""
        if self.has_failed:
            return
        rest = self._frames.close() if self._frames else b""
        if rest:
            self._sink.data(rest)
        self._fail()

    def broken(self, fault: UpstreamFault) -> None:
        """It broke off by itself, earlier than planned."""
        if not self.has_failed:
            self.has_failed = True
            self._sink.broken(fault)

    def _fail(self) -> None:
        if self.has_failed:
            return
        self.has_failed = True
        match self._fault.kind:
            case Kind.BREAK:
                self._sink.broken(
                    UpstreamFault(
                        "The upstream closed the connection in the middle of its answer.",
                        code="upstream_truncated",
                    )
                )
            case Kind.END:
                self._sink.end()
            case _:
                pass  # a stall: nothing more is heard
