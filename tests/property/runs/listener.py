"""Clients: one that follows a run, and what anybody can read out of its events."""

import json
from typing import Any

from antiphon.ports.reply import Headers, ReplyWatcher
from antiphon.wire.sse import DONE, FrameReader, parse_frame


class Listener:
    """Implements `ports.reply.Reply`: keeps what it is told, after the event number `after`."""

    def __init__(self, run_id: str, worker: Any, after: int) -> None:
        self.run_id = run_id
        self.worker = worker
        self.after = after
        self.status = 0
        self.body = b""
        self.frames: list[bytes] = []
        self.is_over = False
        self.is_whole = False
        self.is_gone = False
        self.is_slow = False
        self._reader = FrameReader(1 << 20)
        self._watcher: ReplyWatcher | None = None

    @property
    def last(self) -> int:
        """The number of the last event it has, with which it would come back."""
        return self.after + len(self.frames)

    @property
    def is_listening(self) -> bool:
        return self.status == 200 and not (self.is_gone or self.is_over or self.worker.is_dead)

    def leave(self) -> None:
        self.is_gone = True
        if self._watcher is not None and self.worker.is_up:
            self._watcher.on_gone()

    def read_on(self) -> None:
        self.is_slow = False
        if self._watcher is not None and self.is_listening:
            self.worker.loop.call_soon(self._watcher.on_writable)

    # The reply.

    @property
    def congested(self) -> bool:
        return self.is_slow

    def watch(self, watcher: ReplyWatcher) -> None:
        self._watcher = watcher

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.body, self.is_over = status, body, True

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        assert not self.is_over, "something came after the end"
        self.is_whole = self.is_whole or data.endswith(DONE)
        if not self.is_gone:
            self.frames += [frame for frame in self._reader.feed(data) if frame != DONE]

    def end(self) -> None:
        assert self.is_whole, "it was ended before its end"
        self.is_over = True

    def abort(self) -> None:
        self.is_over = True


def event_of(frame: bytes) -> dict[str, Any]:
    """Read one event."""
    event = parse_frame(frame)
    assert event is not None
    told: dict[str, Any] = json.loads(event.data)
    return told


def text_of(events: list[dict[str, Any]]) -> str:
    """Put the pieces of a log together."""
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def output_text(output: list[dict[str, Any]]) -> str:
    """Read the text out of a response's output."""
    messages = [item for item in output if item["type"] == "message"]
    return "".join(part.get("text", "") for item in messages for part in item["content"])
