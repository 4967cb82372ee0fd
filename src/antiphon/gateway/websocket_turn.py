"""A reply over a WebSocket: what the engine writes for HTTP becomes frames, one event in each.

    writing --terminal event--> told --end--> over --all taken by the network--> done
       |                                       ^
       +----- error answer, end without one ---+     an error frame stands for the terminal event

After the terminal event, or the error frame, nothing of the turn is sent any more.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

import msgspec

from antiphon.dialects.responses.frames import RESPONSE_KEY, EventData, read_event
from antiphon.engine.incoming import Incoming
from antiphon.ports.reply import Headers, ReplyWatcher
from antiphon.turn.chain import Items
from antiphon.turn.events import LIFECYCLE, TERMINAL
from antiphon.wire.errors import GatewayError, UpstreamFault, error_body
from antiphon.wire.splice import splice, with_member
from antiphon.wire.sse import Event, FrameReader, FrameTooLargeError, parse_frame
from antiphon.wire.websocket import error_frame_of, tagged

_MOST_FRAME_BYTES: Final = 128 * 1024 * 1024
"""More than any provider's `max_answer_bytes` has good reason to be."""
_ITEM_DONE: Final = "response.output_item.done"
_UNREADABLE: Final = (ValueError, RecursionError)
_CONTINUABLE: Final = frozenset({"response.completed", "response.incomplete"})


class Socket(Protocol):
    """One WebSocket, for who writes to it."""

    @property
    def congested(self) -> bool:
        """Whether the client is behind, so that more writing would only fill memory."""

    def send(self, text: bytes) -> None:
        """Send one text frame; nothing once the connection is closing."""

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent."""


class TurnEvents(Protocol):
    """Who wants to know what becomes of a turn."""

    def on_response(self, turn: "TurnReply", response_id: str, output: Items) -> None:
        """The turn has brought a response that can be continued."""

    def on_failed(self, turn: "TurnReply") -> None:
        """The turn has ended in an error."""

    def on_over(self, turn: "TurnReply") -> None:
        """The client was sent all of it: the next one may begin."""


class _Told(msgspec.Struct):
    id: str = ""
    output: list[msgspec.Raw] = msgspec.field(default_factory=list)


class TurnReply:
    """Implements `ports.reply.Reply`."""

    __slots__ = (
        "_begun",
        "_error",
        "_events",
        "_gone",
        "_held_number",
        "_items",
        "_over",
        "_pending",
        "_reader",
        "_socket",
        "_told",
        "_watcher",
        "incoming",
        "parent_id",
        "prepared",
        "stream_id",
    )

    def __init__(self, socket: Socket, events: TurnEvents, stream_id: str | None) -> None:
        """Write to `socket`, and tell `events`."""
        self.stream_id = stream_id
        self.parent_id: str | None = None
        """The response that is continued."""
        self.incoming: Incoming | None = None
        """What the engine was asked."""
        self.prepared: Items | None = None
        """What the model would have been shown, had it been asked."""
        self._socket = socket
        self._events = events
        self._watcher: ReplyWatcher | None = None
        self._reader = FrameReader(_MOST_FRAME_BYTES)
        self._pending: deque[bytes] = deque()
        self._items: dict[int, bytes] = {}
        self._error: bytes = b""
        self._held_number: int | None = None
        """The sequence number of the error event that is held back: the next event gets it."""
        self._begun = False
        self._told = False
        self._over = False
        self._gone = False

    # What the engine calls.

    @property
    def congested(self) -> bool:
        """Whether the client is behind."""
        return bool(self._pending) or self._socket.congested

    def watch(self, watcher: ReplyWatcher) -> None:
        """Tell `watcher`."""
        self._watcher = watcher
        if self._gone:
            # The client left before anybody watched. Told at once, the watcher would hear of it half made.
            asyncio.get_running_loop().call_soon(self.lost)

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer: a stream as its frames, anything else as an error."""
        if self._over:
            return
        if self._begun:
            self.abort()
            return
        self._begun = True
        named = dict(headers)
        if status == 200 and named.get(b"content-type", b"").startswith(b"text/event-stream"):
            self.write(body)
            self.end()
            return
        if status < 400:
            status, body = 502, error_body(UpstreamFault("The answer is no stream of events."))
        self._fail(status, body, named.get(b"retry-after"))
        self._finish()

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:  # noqa: ARG002 - as HTTP
        """Begin an answer."""
        self._begun = True

    def write(self, data: bytes) -> None:
        """Send the events in `data`, which may be cut anywhere."""
        if self._over or self._told:
            return
        try:
            frames = self._reader.feed(data)
        except FrameTooLargeError:
            self._fail(502, error_body(UpstreamFault("The upstream sent an event that is too large.")))
            return
        for frame in frames:
            self._pass(frame)

    def end(self) -> None:
        """End the turn; without a terminal event it was none."""
        if self._over:
            return
        rest = self._reader.close()
        if rest:
            self._pass(rest)
        if not self._told:
            broke_off = UpstreamFault("The answer ended without its last event.", code="upstream_closed")
            self._fail(502, self._error or error_body(broke_off))
        self._finish()

    def abort(self) -> None:
        """End the turn as broken."""
        if not self._over:
            if not self._told:
                self._fail(500, error_body(GatewayError("The answer broke off.", code="internal_error")))
            self._finish()

    # What the session calls.

    @property
    def shown(self) -> Items | None:
        """The resolved input; None where it is not known."""
        return self.prepared if self.incoming is None else self.incoming.shown

    def tell(self, events: list[bytes]) -> None:
        """Answer with events that the gateway has made itself, the last of them terminal."""
        for data in events:
            self._pass_event(Event("", data))
        self._finish()

    def writable(self) -> None:
        """The client has read."""
        while self._pending and not self._socket.congested:
            self._socket.send(self._pending.popleft())
        if self._pending:
            return
        if self._over:
            self._settle()
        elif self._watcher is not None:
            self._watcher.on_writable()

    def lost(self) -> None:
        """Tell the watcher, once, that the client has left."""
        self._gone = self._over = True
        self._pending.clear()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_gone()

    # Events.

    def _pass(self, frame: bytes) -> None:
        event = parse_frame(frame)
        if event is not None and event.data.lstrip()[:1] == b"{":
            self._pass_event(event)

    def _pass_event(self, event: Event) -> None:
        if self._told:
            return
        data = event.data
        if event.type and b'"type"' not in data:
            data = with_member(data, "type", msgspec.json.encode(event.type))
        if RESPONSE_KEY in data or b'"error"' in data or _ITEM_DONE.encode() in data:
            told = _read(event)
            if told is not None and told.type == "error":
                # Where `response.failed` follows, that is the end of the turn; where nothing does, this is.
                self._error = data
                if isinstance(told.sequence_number, int):
                    self._held_number = told.sequence_number
                return
            if told is not None and told.type == _ITEM_DONE and isinstance(told.output_index, int):
                self._items[told.output_index] = bytes(told.item)
            elif told is not None and told.type in LIFECYCLE:
                self._pass_response(told, data)
                return
        self._put(data)

    def _pass_response(self, told: EventData, data: bytes) -> None:
        if self._held_number is not None:
            data = splice(data, {("sequence_number",): b"%d" % self._held_number})
        if told.type in TERMINAL:
            self._told = True
            if told.type in _CONTINUABLE:
                self._remember(bytes(told.response))
            else:
                self._events.on_failed(self)
        self._put(data)

    def _remember(self, response: bytes) -> None:
        try:
            told = msgspec.json.decode(response, type=_Told)
        except _UNREADABLE:
            return
        # Some upstreams leave the output of the last event empty although items were streamed.
        output = tuple(map(bytes, told.output)) or tuple(self._items[place] for place in sorted(self._items))
        if told.id:
            self._events.on_response(self, told.id, output)

    def _fail(self, status: int, body: bytes, retry_after: bytes | None = None) -> None:
        self._told = True
        self._events.on_failed(self)
        self._send(error_frame_of(status, body, retry_after, self.stream_id))

    def _put(self, data: bytes) -> None:
        if not data.isascii():
            # A text frame with anything but UTF-8 in it would end the whole connection.
            data = data.decode("utf-8", "replace").encode()
        self._send(tagged(data, self.stream_id))

    def _send(self, text: bytes) -> None:
        if self._pending or self._socket.congested:
            self._pending.append(text)
        else:
            self._socket.send(text)

    # The end.

    def _finish(self) -> None:
        self._over = True
        if not self.congested:
            self._settle()

    def _settle(self) -> None:
        if self._gone:
            return
        self._gone = True
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.on_sent()
        self._events.on_over(self)


def _read(event: Event) -> EventData | None:
    try:
        return read_event(event)
    except _UNREADABLE:
        return None
