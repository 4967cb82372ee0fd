"""What stands on both sides of a live recording in tests: a call that notes what is asked of it, and a clock."""

from dataclasses import dataclass, field

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.dialect import Dialect
from antiphon.engine.live import LiveRecording
from antiphon.recording import Mode, Recording
from antiphon.wire.sse import DONE, write_frame

STREAM_HEAD = ((b"content-type", b"text/event-stream"),)
JSON_HEAD = ((b"content-type", b"application/json"),)
KEY = b"sk-upstream-0123456789abcdef"


def chunk(text: str = "", finish: str | None = None) -> bytes:
    reason = f'"{finish}"' if finish else "null"
    return write_frame(
        f'{{"id":"c1","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{reason}}}]}}'.encode()
    )


WHOLE = (chunk("A "), chunk("call"), chunk("", "stop"), DONE)


@dataclass
class Call:
    """Notes what is asked of the upstream's connection."""

    asked: list[str] = field(default_factory=list)

    def cancel(self) -> None:
        self.asked.append("cancel")

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")


@dataclass
class Clock:
    """Monotonic time that a test moves."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stage:
    """A live recording with what is around it."""

    live: LiveRecording
    call: Call
    clock: Clock
    ended: list[LiveRecording]

    @property
    def recording(self) -> Recording:
        return self.live.recording

    @property
    def verdict(self) -> tuple[str, str | None, str | None]:
        """State, reason, and the code of the fault."""
        outcome, fault = self.recording.outcome, self.live.fault
        return outcome.state.value, outcome.reason, fault and fault.code


def stage(
    dialect: Dialect = CHAT,
    mode: Mode = Mode.STREAM,
    *,
    head: bool = True,
    max_frame_bytes: int = 1 << 24,
    max_answer_bytes: int = 1 << 26,
    usage_requested: bool = False,
) -> Stage:
    """A recording that was started; its head has come too unless told otherwise."""
    recording = Recording(
        "rec", dialect.name, mode, "up", "gpt-test", 1000.0, usage_requested=usage_requested
    )
    call, clock, ended = Call(), Clock(), []
    live = LiveRecording(
        recording,
        dialect,
        clock=clock,
        max_frame_bytes=max_frame_bytes,
        max_answer_bytes=max_answer_bytes,
        secrets=(KEY,),
        on_ended=ended.append,
    )
    live.started(call)
    if head:
        live.head(200, STREAM_HEAD if mode is Mode.STREAM else JSON_HEAD)
    return Stage(live, call, clock, ended)
