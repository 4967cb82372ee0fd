"""The stream of an upstream's answer, told again as that of a run.

It has the run's own beginning and numbers, and says of the response what only the gateway knows.

    created queued in_progress  item events …  terminal
    ------- made here --------  -- renumbered --  with the members that the gateway answers for

Where the run carries an answer that somebody waits for, its beginning is the upstream's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.responses.dialect import _NAMELESS
from antiphon.dialects.responses.frames import EventData, read_event
from antiphon.dialects.responses.prepared import echo_of
from antiphon.turn.events import LIFECYCLE, TERMINAL, Event, Item
from antiphon.turn.snapshot import Snapshot
from antiphon.wire.json import Members
from antiphon.wire.objects import DONE_DATA, read_object, write_object
from antiphon.wire.splice import splice, with_member
from antiphon.wire.sse import parse_frame, write_frame

TRUNCATED: Final = "upstream_truncated"
"""The code of the error that tells of a stream without a terminal event."""
_NUMBER: Final = re.compile(rb'\A\{[^{]*?"sequence_number"[ ]?:[ ]?(\d+)')
_ADDED: Final = "response.output_item.added"
_READ: Final = LIFECYCLE | {_ADDED, "error"}
_HARMLESS: Final = frozenset(
    {
        *("message", "reasoning", "compaction", "function_call", "custom_tool_call", "computer_call"),
        *("local_shell_call", "shell_call", "apply_patch_call", "mcp_approval_request", "mcp_list_tools"),
        *("web_search_call", "file_search_call", "tool_search_call"),
    }
)
"""Items of which nothing was done yet that could be done twice: the client does it, or it only looks."""


def queued_response(members: Members, response_id: str, created_at: int, echo: Mapping[str, bytes]) -> Item:
    """Return the response to a request with `members` before anything of it was done."""
    response = {**_NAMELESS, "id": response_id, "created_at": created_at, "status": "queued"}
    response |= echo_of(members)
    response |= {name: msgspec.json.decode(value) for name, value in echo.items()}
    return response


def opening(response: Item, statuses: Sequence[str], first: int = 0) -> list[bytes]:
    """Return the lifecycle events, from the number `first`, that tell of `response` in each of `statuses`.

    The first of them is `response.created`.
    """
    names = [status if first + place else "created" for place, status in enumerate(statuses)]
    return [
        write_event(
            {
                "type": f"response.{name}",
                "sequence_number": first + place,
                "response": response | {"status": status},
            }
        )
        for place, (name, status) in enumerate(zip(names, statuses, strict=True))
    ]


def write_event(event: Event) -> bytes:
    """Write one frame."""
    return write_frame(write_object(event), event["type"])


def failed(snapshot: Snapshot, number: int, code: str, message: str) -> bytes:
    """Return the event that ends a stream as broken, with what there is of the answer."""
    response = (snapshot.response or {**_NAMELESS}) | {
        "status": "failed",
        "error": {"code": code, "message": message},
    }
    return write_event({"type": "response.failed", "sequence_number": number, "response": response})


def completed(snapshot: Snapshot, number: int) -> bytes:
    """Return the event that ends a stream as whole although its upstream did not say so."""
    response = snapshot.response or {**_NAMELESS}
    output = [
        item | {"status": "completed"} if item.get("status") == "in_progress" else item
        for item in response["output"]
    ]
    response |= {"status": "completed", "output": output}
    return write_event({"type": "response.completed", "sequence_number": number, "response": response})


class Retelling:
    """Tells one answer again, frame by frame."""

    def __init__(
        self,
        number: int,
        members: Mapping[str, bytes],
        *,
        tells_beginning: bool = False,
        tells_truncation: bool = True,
    ) -> None:
        """Go on with the event `number`; `members` of the response are what the gateway says they are.

        `tells_beginning`: the upstream's own `created`, `queued` and `in_progress` are told. Without
        `tells_truncation` a stream that has no terminal event is not told to have failed: see `is_truncated`.
        """
        self.number = number
        self.is_truncated = False
        """Whether the stream has ended without saying how, and nothing was told of that."""
        self._tells_truncation = tells_truncation
        self.status: str | None = None
        """How the answer has ended, as soon as it has."""
        self.heard = -1
        """The upstream's own number of its last event."""
        self.has_effect = False
        self.error: EventData | None = None
        """The error that the stream has told of."""
        self._members = members
        self._tells_beginning = tells_beginning

    def feed(self, frame: bytes) -> bytes | None:
        """Return the frame as it is told again; None if it is not. Raises ValueError for what cannot be read."""
        event = parse_frame(frame)
        if event is None or self.status is not None or self.is_truncated:
            return None
        data = event.data
        if data.strip() in (b"", DONE_DATA):
            return None
        kind = event.type
        number = _number_in(data)
        self.heard = self.heard if number is None else number
        if not kind or kind in _READ:
            told = read_event(event)
            kind = str(told.type)
            if not self._tells_truncation and _is_truncation(kind, told):
                self.is_truncated = True
                return None
            if kind in TERMINAL:
                data = self._end(kind, told, data)
            elif kind in LIFECYCLE:
                if not self._tells_beginning:
                    return None
            elif kind == "error":
                self.error = told
            elif kind == _ADDED:
                self.has_effect = self.has_effect or _kind_of(bytes(told.item)) not in _HARMLESS
        numbered = _numbered(data, self.number)
        self.number += 1
        return write_frame(numbered.replace(b"\n", b" "), kind)

    def _end(self, kind: str, told: EventData, data: bytes) -> bytes:
        response = bytes(told.response)
        status = read_object(response).get("status")
        self.status = status if status in TERMINAL.values() else TERMINAL[kind]
        for name, value in self._members.items():
            response = with_member(response, name, value)
        return splice(data, {("response",): response})


def begins(frame: bytes) -> bool:
    """Whether a frame tells that the response has begun, and nothing of its answer. Raises ValueError."""
    event = parse_frame(frame)
    if event is None or event.data.strip() in (b"", DONE_DATA):
        return False
    kind = event.type or str(read_event(event).type)
    return kind in LIFECYCLE and kind not in TERMINAL


def _number_in(data: bytes) -> int | None:
    found = _NUMBER.match(data)
    return None if found is None else int(found.group(1))


def _numbered(data: bytes, number: int) -> bytes:
    found = _NUMBER.match(data)
    if found is None:
        return with_member(data, "sequence_number", b"%d" % number)
    start, end = found.span(1)
    return b"%b%d%b" % (data[:start], number, data[end:])


def _is_truncation(kind: str, told: EventData) -> bool:
    """Whether an event is what this gateway says of a stream that has no terminal event."""
    return kind == "error" and isinstance(told.error, dict) and told.error.get("code") == TRUNCATED


def _kind_of(item: bytes) -> Any:
    try:
        return read_object(item).get("type")
    except ValueError:
        return None
