"""Listeners: what a client hears of a recording, live or replayed, and in which form.

A listener writes to its reply as far as the client keeps up, and goes on from its own position when the client
has read. When the reply has been sent, or the client has left, it tells once how that went.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from antiphon.dialects.chat.dialect import is_usage_only
from antiphon.dialects.native import changed_echo
from antiphon.dialects.responses.frames import under_open_name
from antiphon.dialects.responses.replay import asked_by, under_id
from antiphon.engine.error_answers import in_own_places
from antiphon.engine.live import LiveRecording
from antiphon.engine.rendition import JSON_TYPE, STREAM_HEADERS, Header, hides_usage, render
from antiphon.engine.turn import Turn
from antiphon.recording import Mode, Recording, State
from antiphon.wire.errors import GatewayError, UpstreamFault
from antiphon.wire.splice import replace_string

_BATCH_FRAMES = 256
_BATCH_BYTES = 256 * 1024
"""Written at once; then we look whether the client keeps up."""
CLIENT_CLOSED = 499
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply went."""

    status: int
    sent: bool
    """Whether the client was sent all of it."""
    error: str | None = None


OnEnding = Callable[[Turn, Recording, Ending], None]


class LiveAnswer:
    """Answers one turn from a live recording; a `Listener`, and the watcher of its reply."""

    __slots__ = (
        "_done",
        "_echoed",
        "_error",
        "_headers",
        "_hides_usage",
        "_live",
        "_now",
        "_on_ending",
        "_position",
        "_started",
        "_status",
        "_tells_kept",
        "consumed",
        "turn",
    )

    def __init__(
        self,
        turn: Turn,
        live: LiveRecording,
        recorded_echo: Mapping[str, bytes],
        headers: Callable[[Turn, LiveRecording], tuple[Header, ...]],
        on_ending: OnEnding,
        now: Callable[[], float],
        *,
        tells_kept: bool = False,
    ) -> None:
        """Answer `turn` from what is recorded for a request with `recorded_echo`.

        `headers` gives what goes out beside the content type. `tells_kept`: the end is told when it is kept.
        """
        self.turn = turn
        self.consumed = 0
        self._live = live
        self._headers = headers
        self._on_ending = on_ending
        self._now = now
        self._tells_kept = tells_kept
        self._position = 0
        self._started = False
        self._done = False
        self._status = 200
        self._error: str | None = None
        self.recorded_for(recorded_echo)
        turn.reply.watch(self)

    def recorded_for(self, recorded_echo: Mapping[str, bytes]) -> None:
        """The recording is the answer to a request with `recorded_echo`; nothing was passed on yet."""
        asked = self.turn.ask
        self._echoed = changed_echo(asked.request.echo, recorded_echo)
        self._hides_usage = hides_usage(self._live.recording, asked.asked)

    @property
    def is_begun(self) -> bool:
        """Whether the client was sent anything."""
        return self._started or self._done

    # The recording.

    def on_frames(self) -> bool:
        """Pass on what has come, if the client asked for a stream and keeps up."""
        turn = self.turn
        if turn.ask.asked.mode is not Mode.STREAM:
            self.consumed = self._live.recording.size
            return True
        reply = turn.reply
        recording = self._live.recording
        frames = recording.frames
        count = self._live.before_end if self._tells_kept else len(frames)
        while self._position < count and not reply.congested:
            batch = frames[self._position : self._position + _BATCH_FRAMES]
            if recording.size - self.consumed > _BATCH_BYTES:
                batch = _first_of(batch)
            self._position += len(batch)
            data = batch[0] if len(batch) == 1 else b"".join(batch)
            self.consumed += len(data)
            self._write(self._passing(batch, data))
        return self._position == count

    def on_silence(self) -> None:
        """Keep the client's connection alive; what is passed on byte for byte has nothing added to it."""
        if self._started and self.turn.ask.upstream_dialect is not None and not self.turn.reply.congested:
            self.turn.reply.write(self.turn.ask.dialect.keep_alive)

    def on_end(self) -> None:
        """Finish the answer, or say honestly that it is none."""
        keeping = self.turn.keeping
        if keeping is None:
            self._finish()
        else:
            keeping.then(self._finish)

    def _finish(self) -> None:
        if self._done:
            return
        self._tells_kept = False
        live = self._live
        if live.error_answer is not None:
            self._pass_error()
        elif live.fault is not None and not self._started:
            self._refuse(live.fault)
        elif self.turn.ask.asked.mode is Mode.STREAM and live.recording.mode is Mode.STREAM:
            self.on_frames()
            if self._position == len(live.recording.frames):
                self._end_stream()
        else:
            self._send_whole()

    # The reply.

    def on_writable(self) -> None:
        """Go on where the client's slowness had stopped us."""
        if self._done:
            return
        self.on_frames()
        if self._live.recording.is_live:
            self._live.caught_up()
        elif self._position == len(self._live.recording.frames) and not self._tells_kept:
            self._end_stream()

    def on_sent(self) -> None:
        """The client has it all."""
        self._on_ending(self.turn, self._live.recording, Ending(self._status, sent=True, error=self._error))

    def on_gone(self) -> None:
        """The client has left."""
        was_done, self._done = self._done, True
        if not was_done:
            self._live.detach(self)
        ending = Ending(CLIENT_CLOSED, sent=False, error="client_left")
        self._on_ending(self.turn, self._live.recording, ending)

    # Forms.

    def _passing(self, batch: Sequence[bytes], data: bytes) -> bytes:
        """Return what this client sees of `batch`, whose bytes are `data`."""
        turn = self.turn
        if turn.ask.asked.open_names and self._live.recording.mode is Mode.STREAM:
            batch = [under_open_name(frame) for frame in batch]
            data = b"".join(batch)
        if turn.response_id:
            return self._under_own_id(batch, data, self._live.response_id)
        if self._hides_usage and b"[]" in data and b"usage" in data:
            return b"".join(frame for frame in batch if not is_usage_only(frame))
        return data

    def _under_own_id(self, batch: Sequence[bytes], data: bytes, upstream_id: str | None) -> bytes:
        mode, own_id = self._live.recording.mode, self.turn.response_id
        if self._echoed:
            batch = [asked_by(part, mode, self._echoed) for part in batch]
            data = b"".join(batch)
        if not upstream_id:
            return data
        if mode is Mode.JSON:
            return replace_string(data, upstream_id.encode(), own_id)
        return b"".join([under_id(frame, upstream_id.encode(), own_id) for frame in batch])

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if not self._started:
            self._started = True
            self.turn.first_byte_at = self._now()
            self.turn.reply.start(200, (*STREAM_HEADERS, *self._headers(self.turn, self._live)))
        self.turn.reply.write(data)

    def _end_stream(self) -> None:
        live = self._live
        fault = live.fault
        if fault is not None:
            self._error = fault.code
            dialect, seen = self.turn.ask.dialect, live.recording.frames
            frames = dialect.break_off(fault.message, fault.code or "server_error", seen)
            frames = [asked_by(frame, Mode.STREAM, self._own_members()) for frame in frames]
            self._write(self._passing(frames, b"".join(frames)))
        elif live.recording.outcome.state is State.FAILED:
            self._error = live.recording.outcome.reason
        self._done = True
        self._live.detach(self)
        if not self._started:
            self._started = True
            self.turn.reply.start(200, (*STREAM_HEADERS, *self._headers(self.turn, self._live)))
        self.turn.reply.end()

    def _own_members(self) -> dict[str, bytes]:
        """What a response that we tell of ourselves says of itself."""
        recording, own_id = self._live.recording, self.turn.response_id
        members = {"id": b'"%b"' % own_id} if own_id else {}
        if self._live.response_id is None:
            members["created_at"] = b"%d" % int(recording.started_at)
            members["model"] = msgspec.json.encode(recording.model)
        return members

    def _send_whole(self) -> None:
        """Send the whole answer at once: JSON, or a stream made from JSON."""
        turn, recording = self.turn, self._live.recording
        state = recording.outcome.state
        same = recording.mode is turn.ask.asked.mode
        if state in {State.FAILED, State.CANCELLED} and not same:
            reason = recording.outcome.reason or "upstream_error"
            self._refuse(UpstreamFault(f"The upstream's answer failed: {reason}.", code=reason))
            return
        headers: tuple[Header, ...]
        if same:
            body = self._passing(recording.frames, recording.body())
            headers = ((b"content-type", recording.head.content_type),)
        else:
            try:
                rendition = render(recording, turn.ask.dialect, turn.ask.asked)
            except (ValueError, GatewayError):
                self._refuse(
                    UpstreamFault("The upstream's answer cannot be read.", code="upstream_invalid_json")
                )
                return
            body = rendition.fill(turn.response_id, None, self._echoed)
            headers = rendition.headers
        if state is State.FAILED:
            self._error = recording.outcome.reason
        self._status = recording.head.status
        self._send(self._status, (*headers, *self._headers(turn, self._live)), body)

    def _pass_error(self) -> None:
        answer = self._live.error_answer
        assert answer is not None
        if self._is_stood_in_for(answer.status, "upstream_error"):
            return
        self._status, self._error = answer.status, "upstream_error"
        ask = self.turn.ask
        content_type, body = answer.told(
            ask.dialect.errors,
            self.turn.request_id.decode(),
            is_native=ask.upstream_dialect is None,
            context=self.turn.context,
        )
        headers = ((b"content-type", content_type), *self._headers(self.turn, self._live))
        self._send(answer.status, headers, body)

    def _is_stood_in_for(self, status: int, code: str) -> bool:
        """Whether an expired entry has answered, since nothing was sent and the upstream fails for now."""
        turn, spare = self.turn, self._live.spare
        if spare is None or turn.stand_in is None or (status < 500 and status != _TOO_MANY_REQUESTS):
            return False
        if not turn.stand_in(turn, spare, status, code):
            return False
        self._done = True
        self._live.detach(self)
        return True

    def _refuse(self, fault: GatewayError) -> None:
        if isinstance(fault, UpstreamFault) and self._is_stood_in_for(fault.status, fault.code or ""):
            return
        self._status, self._error = fault.status, fault.code
        fault = in_own_places(fault, self.turn.context)
        headers = (JSON_TYPE, *fault.headers, *self._headers(self.turn, self._live))
        self._send(
            fault.status, headers, self.turn.ask.dialect.errors.write(fault, self.turn.request_id.decode())
        )

    def _send(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self._done = True
        self._live.detach(self)
        self.turn.first_byte_at = self._now()
        self.turn.reply.send(status, headers, body)


def _first_of(batch: list[bytes]) -> list[bytes]:
    """Return the first frames of `batch`, up to the limit in bytes, but one in any case."""
    size = 0
    for index, frame in enumerate(batch):
        size += len(frame)
        if size > _BATCH_BYTES:
            return batch[: max(1, index)]
    return batch
