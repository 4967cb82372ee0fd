"""The Responses API: the dialect whose items and events are the hub."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.dialect import KEEP_ALIVE
from antiphon.dialects.responses.frames import RESPONSE_KEY, EventData, events_with
from antiphon.dialects.responses.watch import BodyWatcher, StreamWatcher
from antiphon.recording.recording import Mode
from antiphon.turn.events import LIFECYCLE, TERMINAL, Event
from antiphon.turn.snapshot import Snapshot
from antiphon.turn.unfold import unfold as unfold_response
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.splice import with_member
from antiphon.wire.sse import DONE, parse_frame, write_frame

_ITEM_DONE: Final = "response.output_item.done"
_EMPTY: Final = (b"", b"null", b"[]")


class _Folded(msgspec.Struct):
    output: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()


class Responses:
    """The dialect, seen from the engine."""

    name = "responses"
    streams = True
    keep_alive = KEEP_ALIVE
    errors = OPENAI_ERRORS

    def watch(self, mode: Mode) -> StreamWatcher | BodyWatcher:
        """Return a watcher for one answer with status 200; its `response_id` is known as soon as it was seen."""
        return StreamWatcher() if mode is Mode.STREAM else BodyWatcher()

    def fold(self, frames: Sequence[bytes]) -> bytes:
        """Return the response of the terminal event, as its bytes stand there.

        Only what the upstream left out is added: a missing status, and an output that is empty although
        items were streamed. Raises ValueError for a stream without a terminal event.
        """
        for data in events_with(frames, RESPONSE_KEY):
            if data.type in TERMINAL and len(data.response):
                return _complete(bytes(data.response), TERMINAL[data.type], frames)
        raise ValueError("a stream without a terminal event has no answer to fold")

    def unfold(self, body: bytes, *, include_usage: bool = True) -> list[bytes]:  # noqa: ARG002  always there
        """Return the stream whose terminal event carries `body`.

        Raises ValueError for a body that is no finished response.
        """
        response = msgspec.json.decode(body)
        if not isinstance(response, dict):
            raise ValueError("a response is a JSON object")  # noqa: TRY004  one error for every bad body
        *events, last = unfold_response(response)
        raw = body.strip()
        if b"\n" in raw or b"\r" in raw:
            raw = msgspec.json.format(raw, indent=-1)
        ending = b'{"type":"%b","sequence_number":%d,"response":%b}' % (
            last["type"].encode(),
            last["sequence_number"],
            raw,
        )
        return [*map(_frame, events), write_frame(ending, last["type"]), DONE]

    def break_off(self, message: str, code: str, seen: Sequence[bytes]) -> list[bytes]:
        """Return `error` and `response.failed` with what was told so far, after the frames in `seen`.

        Where no response was seen, `response.created` comes first, with the empty id and time 0: the caller
        knows better. An error that the upstream has told itself is not told twice; after a terminal event
        there is nothing to say.
        """
        told = [data for data in events_with(seen, RESPONSE_KEY) if data.type in LIFECYCLE]
        if any(data.type in TERMINAL for data in told):
            return []
        number = _next_number(seen)
        response = _last_response(told)
        events: list[Event] = []
        if response is None:
            response = {**_NAMELESS}
            events.append({"type": "response.created", "response": response})
        error = next((data for data in events_with(seen, b"error") if data.type == "error"), None)
        if error is None:
            events.append(_error_event(message, code))
        failed = response | {
            "status": "failed",
            "error": {"code": code, "message": message} if error is None else _error_of(error, code, message),
            "output": _told_so_far(seen),
        }
        events.append({"type": "response.failed", "response": failed})
        numbered = (
            {"type": event.pop("type"), "sequence_number": number + place, **event}
            for place, event in enumerate(events)
        )
        return [*map(_frame, numbered), DONE]


RESPONSES: Final = Responses()

_NAMELESS: Final[dict[str, Any]] = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}
"""The smallest response that both contracts accept (specification, section 20.1), before anything is known."""


def _frame(event: Event) -> bytes:
    return write_frame(msgspec.json.encode(event), event["type"])


def _complete(response: bytes, status: str, frames: Sequence[bytes]) -> bytes:
    told = msgspec.json.decode(response, type=_Folded)
    if bytes(told.status) in (b"", b"null"):
        response = with_member(response, "status", msgspec.json.encode(status))
    if bytes(told.output) in _EMPTY:
        items = items_done(frames)
        if items or bytes(told.output) != b"[]":
            response = with_member(response, "output", b"[%b]" % b",".join(items))
    return response


def items_done(frames: Sequence[bytes]) -> list[bytes]:
    """Return the finished items, in the order of their places in the output."""
    items: dict[int, bytes] = {}
    for data in events_with(frames, b"output_item.done"):
        if data.type == _ITEM_DONE and len(data.item) and isinstance(data.output_index, int):
            items[data.output_index] = bytes(data.item)
    return [items[index] for index in sorted(items)]


def _told_so_far(seen: Sequence[bytes]) -> list[Event]:
    """Return the items of a stream, those that have not ended as far as they have come."""
    snapshot = Snapshot()
    for frame in seen:
        event = parse_frame(frame)
        try:
            told = None if event is None else msgspec.json.decode(event.data)
        except ValueError:
            continue
        if isinstance(told, dict):
            snapshot.feed(told)
    return snapshot.output


def _next_number(seen: Sequence[bytes]) -> int:
    """Return the sequence number after the last; some old upstreams number nothing: there events are counted."""
    for frame in reversed(seen):
        for data in events_with([frame], b"sequence_number"):
            if isinstance(data.sequence_number, int):
                return data.sequence_number + 1
    return len(events_with(seen, b"data"))


def _last_response(told: Sequence[EventData]) -> Event | None:
    for data in reversed(told):
        try:
            response = msgspec.json.decode(data.response)
        except ValueError:
            continue
        if isinstance(response, dict):
            return response
    return None


def _error_event(message: str, code: str) -> Event:
    """Write the one shape that every client reads (specification, section 9.7)."""
    told = {"code": code, "message": message, "param": None}
    return {"type": "error", **told, "error": {"type": "server_error", **told}}


def _error_of(data: EventData, code: str, message: str) -> Event:
    error = data.error if isinstance(data.error, dict) else {"code": data.code, "message": data.message}
    return {"code": error.get("code") or code, "message": error.get("message") or message}
