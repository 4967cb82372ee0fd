"""One client's session in WebSocket mode, whatever carries it: its turns, their order, and what they continue.

    open --stop, end of its lifetime--> closing --the turns under way are over--> closed
      |                                    |
      +--------- the client leaves --------+----> gone

A turn is the same as over HTTP: the engine answers a request for a stream, and a `TurnReply` makes frames of it.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.dialects.native import NativeRequest, read_request
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.prepared import prepared_events
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.refusals import internal_error
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner, mint_response_id
from antiphon.gateway.lanes import Lanes
from antiphon.gateway.recent import RecentResponses
from antiphon.gateway.websocket_turn import Socket, TurnReply
from antiphon.ports.reply import Reply
from antiphon.turn.chain import Items, Parent, input_items
from antiphon.turn.history import Context
from antiphon.wire.errors import ClientFault, GatewayError, error_body
from antiphon.wire.json import Members, write_members
from antiphon.wire.websocket import (
    ClientFrame,
    error_frame,
    inject_failed_frame,
    read_client_frame,
    steer_failed_frame,
)

GOING_AWAY: Final = 1001
"""The close code that client libraries take as an invitation to come again."""
_NOT_FOR_UPSTREAMS: Final = frozenset(
    {"type", "stream_id", "generate", "stream", "stream_options", "background"}
)

Resolve = Callable[[NativeRequest, str, Parent | None], Awaitable[tuple[NativeRequest, Context]]]
"""(request, owner, the response that it continues if that is at hand): what the model would be shown."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the sessions of one server have in common."""

    answer: Callable[[Incoming], None]
    """Answers a request, and refuses it on its reply if it must."""
    route: Route
    request_ids: Iterator[bytes]
    tasks: Tasks
    resolve: Resolve
    max_bytes: int
    """Bound of a request, of what waits, and of what is remembered."""
    lifetime: float
    """Seconds."""
    wall_clock: Callable[[], float] = time.time


_REFERRING: Final = frozenset({"previous_response_id", "conversation"})
"""Members that stand for items which are kept somewhere."""


class Session:
    """Implements `TurnEvents`."""

    def __init__(
        self,
        socket: Socket,
        conditions: Conditions,
        owner: Owner,
        headers: Mapping[bytes, bytes],
        now: float,
    ) -> None:
        """Answer `owner`; `headers` are those of the handshake, and stand for those of each request."""
        self.expires_at = now + conditions.lifetime
        """When `expire` is to be called, by the clock that `now` is from."""
        self._socket = socket
        self._conditions = conditions
        self._owner = owner
        self._headers = headers
        self._lanes: Lanes[ClientFrame] = Lanes(conditions.max_bytes)
        self._recent = RecentResponses(conditions.max_bytes)
        self._turns: dict[TurnReply, None] = {}
        """Those under way; who could write last stands at the end."""
        self._farewell: GatewayError | None = None
        """Why no further turn is begun."""
        self._is_over = False
        self._beginning = False

    # What the connection calls.

    def receive(self, data: bytes) -> None:
        """Take one frame of the client."""
        if self._is_over:
            return
        try:
            frame = read_client_frame(data)
        except ClientFault as fault:
            self._socket.send(error_frame(fault))
            return
        try:
            self._take(frame)
        except GatewayError as fault:
            self._socket.send(error_frame(fault, frame.stream_id))
        self._go_on()

    def refuse(self, fault: GatewayError) -> None:
        """Tell the client that a frame was not understood."""
        self._socket.send(error_frame(fault))

    def writable(self) -> None:
        """The client has read."""
        for turn in tuple(self._turns):
            if self._socket.congested:
                break
            if turn in self._turns:
                del self._turns[turn]
                self._turns[turn] = None
                turn.writable()
        self._go_on()

    def stop(self) -> None:
        """Take no further requests, and close when those that were taken are answered."""
        self._part(_shutting_down())

    def expire(self) -> None:
        """As `stop`, because the connection has lived long enough; what waits is refused."""
        fault = _lived_long_enough(self._conditions.lifetime)
        for frame in self._lanes.clear():
            self._socket.send(error_frame(fault, frame.stream_id))
        self._part(fault)

    def gone(self) -> None:
        """The client has left: nobody waits for answers any more."""
        self._is_over = True
        self._lanes.clear()
        self._recent.clear()
        turns, self._turns = self._turns, {}
        for turn in turns:
            turn.lost()

    # What turns tell.

    def on_response(self, turn: TurnReply, response_id: str, output: Items) -> None:
        """Remember what can be continued."""
        shown = turn.shown
        if shown is not None:
            self._recent.put(response_id, Parent(shown, output), turn.stream_id)

    def on_failed(self, turn: TurnReply) -> None:
        """Forget the response that was to be continued; a fork on another lane does it no harm."""
        recent = None if turn.parent_id is None else self._recent.get(turn.parent_id)
        if recent is not None and turn.parent_id is not None and recent.stream_id == turn.stream_id:
            self._recent.drop(turn.parent_id)

    def on_over(self, turn: TurnReply) -> None:
        """Go on with the next turn of the lane."""
        self._turns.pop(turn, None)
        self._lanes.over(turn.stream_id)
        self._go_on()

    # Frames.

    def _take(self, frame: ClientFrame) -> None:
        match frame.type:
            case "response.create":
                if self._farewell is not None:
                    self._socket.send(error_frame(self._farewell, frame.stream_id))
                else:
                    self._lanes.add(frame.stream_id, frame, frame.size)
            case "response.steer":
                self._socket.send(steer_failed_frame(frame.members))
            case "response.inject":
                self._socket.send(inject_failed_frame(frame.members))
            case _:
                named = f"'{frame.type[:64]}'" if frame.type else "missing"
                raise ClientFault(
                    f"The frame's type is {named}: send 'response.create'.",
                    code="invalid_value",
                    param="type",
                )

    def _go_on(self) -> None:
        """Begin what may begin, unless the client is behind; then leave, if it is time."""
        if self._beginning or self._is_over:
            return
        self._beginning = True
        try:
            while not self._socket.congested and (frame := self._lanes.next()) is not None:
                self._begin(frame)
        finally:
            self._beginning = False
        if self._farewell is not None and self._lanes.is_idle:
            self._leave(self._farewell)

    def _begin(self, frame: ClientFrame) -> None:
        turn = TurnReply(self._socket, self, frame.stream_id)
        self._turns[turn] = None
        try:
            turn.parent_id = parent_id = _string(frame.members, "previous_response_id")
            recent = None if parent_id is None else self._recent.get(parent_id)
            self._ask(turn, frame, None if recent is None else recent.parent)
        except GatewayError as fault:
            _refuse(turn, fault)

    def _ask(self, turn: TurnReply, frame: ClientFrame, parent: Parent | None) -> None:
        """Let the engine answer."""
        conditions = self._conditions
        members: dict[str, bytes | msgspec.Raw] = {
            name: value for name, value in frame.members.items() if name not in _NOT_FOR_UPSTREAMS
        }
        members["stream"] = b"true"
        given = members.get("input")
        items = input_items(None if given is None else bytes(given))
        body = write_members(members)
        if _is_warm_up(frame.members):
            self._warm_up(turn, frame, read_request(RESPONSES.name, body), parent)
            return
        incoming = Incoming(
            route=conditions.route,
            owner=self._owner,
            request_id=next(conditions.request_ids),
            headers=self._headers,
            body=body,
            reply=turn,
            received_at=time.monotonic(),
            parent=parent,
        )
        if not any(_is_given(frame.members, name) for name in _REFERRING):
            incoming.shown = items
        turn.incoming = incoming
        conditions.answer(incoming)

    def _warm_up(
        self, turn: TurnReply, frame: ClientFrame, request: NativeRequest, parent: Parent | None
    ) -> None:
        """Answer without an upstream, with a response that can be continued."""
        conditions = self._conditions
        made = prepared_events(frame.members, mint_response_id().decode(), int(conditions.wall_clock()))

        async def prepare() -> None:
            try:
                _, context = await conditions.resolve(request, self._owner.name, parent)
            except GatewayError as fault:
                _refuse(turn, fault)
            else:
                turn.prepared = context.shown
                if not self._is_over:
                    turn.tell(made)

        conditions.tasks.start(
            prepare(), "prepare a response", on_death=lambda: _refuse(turn, internal_error())
        )

    # Leaving.

    def _part(self, fault: GatewayError) -> None:
        if self._farewell is None and not self._is_over:
            self._farewell = fault
            self._go_on()

    def _leave(self, fault: GatewayError) -> None:
        self._is_over = True
        if fault.code == _LIMIT_REACHED:
            self._socket.send(error_frame(fault))
        self._socket.close(GOING_AWAY, fault.code or "")


_LIMIT_REACHED: Final = "websocket_connection_limit_reached"


def _lived_long_enough(lifetime: float) -> ClientFault:
    return ClientFault(
        f"A connection lives for {lifetime / 60:g} minutes: open a new one to continue.", code=_LIMIT_REACHED
    )


def _shutting_down() -> GatewayError:
    return GatewayError("The gateway is shutting down.", code="shutting_down", status=503)


def _refuse(reply: Reply, fault: GatewayError) -> None:
    reply.send(fault.status, fault.headers, error_body(fault))


def _is_given(members: Members, name: str) -> bool:
    return name in members and bytes(members[name]) != b"null"


def _string(members: Members, name: str) -> str | None:
    if not _is_given(members, name):
        return None
    try:
        return msgspec.json.decode(members[name], type=str)
    except msgspec.DecodeError as error:
        raise ClientFault(f"'{name}' must be a string.", code="invalid_type", param=name) from error


def _is_warm_up(members: Members) -> bool:
    """Whether only the context is to be prepared. Raises ClientFault."""
    if not _is_given(members, "generate"):
        return False
    generate = bytes(members["generate"])
    if generate not in {b"true", b"false"}:
        raise ClientFault("'generate' must be a boolean.", code="invalid_type", param="generate")
    return generate == b"false"
