"""A complete recording in the form that somebody asked for: as it was, folded, or unfolded."""

from collections.abc import Mapping
from dataclasses import dataclass

from antiphon.dialects.chat.dialect import is_usage_only
from antiphon.dialects.dialect import Dialect
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.frames import under_open_name
from antiphon.dialects.responses.replay import Template, template
from antiphon.engine.turn import Asked
from antiphon.recording import Mode, Recording

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
STREAM_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True, slots=True)
class Rendition:
    """The bytes of an answer, with places for what differs from replay to replay."""

    body: bytes | Template
    headers: tuple[Header, ...]
    size: int
    times: tuple[int, ...] = ()
    """Of each frame, microseconds since the request was sent."""

    def fill(self, response_id: bytes, created_at: int | None, echoed: Mapping[str, bytes]) -> bytes:
        """Return the answer under the id `response_id`; None leaves the time as recorded."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.fill(response_id, None if created_at is None else b"%d" % created_at, echoed)


def render(recording: Recording, dialect: Dialect, asked: Asked) -> Rendition:
    """Render a complete recording of `dialect` in the form that was asked for."""
    frames, times = recording.frames, recording.times
    headers = STREAM_HEADERS if asked.mode is Mode.STREAM else (JSON_TYPE,)
    if recording.mode is asked.mode:
        if asked.mode is Mode.JSON:
            headers = ((b"content-type", recording.head.content_type),)
        elif hides_usage(recording, asked):
            kept = [index for index, frame in enumerate(frames) if not is_usage_only(frame)]
            frames, times = [frames[index] for index in kept], [times[index] for index in kept]
    elif asked.mode is Mode.JSON:
        frames = [dialect.fold(frames)]
    else:
        frames = dialect.unfold(recording.body(), include_usage=asked.include_usage)
        times = [times[-1]] * len(frames)
    if asked.open_names and asked.mode is Mode.STREAM:
        frames = [under_open_name(frame) for frame in frames]
    if dialect is not RESPONSES:
        body = b"".join(frames)
        return Rendition(body, headers, len(body), tuple(times))
    made = template(frames, asked.mode, recording.outcome.response_id)
    return Rendition(made, headers, sum(map(len, made.pieces)), tuple(times))


def hides_usage(recording: Recording, asked: Asked) -> bool:
    """Whether the usage chunk of a chat stream was not asked for by this client."""
    return (
        recording.usage_requested and not asked.include_usage and recording.dialect in {"chat", "completions"}
    )
