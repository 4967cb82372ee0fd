"""A WebSocket on our own server: framing by `websockets`, transport and time as for any other connection.

open --close frame of ours, protocol error--> closing --the client's close frame, end, deadline--> lost
  |                                                                                                 |
  +----- the client's close frame, end of its side, or silence although it was asked ---------------+
"""

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from antiphon.gateway.request import Request
from antiphon.gateway.sessions import Sessions
from antiphon.gateway.websocket_session import Session
from antiphon.settings import Server
from antiphon.wire.errors import ClientFault

# The library logs what is in the frames: never, and what becomes of connections: not wanted.
_frames_log = logging.getLogger(f"{__name__}.frames")
_frames_log.setLevel(logging.WARNING)

_LINGER: Final = 2.0
_NEVER: Final = float("inf")
_HANDSHAKE: Final = (
    b"connection",
    b"upgrade",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-extensions",
)
_DEFLATE: Final = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)
"""Small windows: events are short, and each connection has two of them."""


class Home(Protocol):
    """Where connections live: see `http1.Listening`."""

    settings: Server
    loop: asyncio.AbstractEventLoop
    lingering: int

    def left(self, connection: "WebSocketConnection") -> None:
        """The connection is lost."""


def offers_websocket(request: Request) -> bool:
    """Whether a request wants to become a WebSocket."""
    headers = request.headers
    return (
        request.method == b"GET"
        and headers.get(b"upgrade", b"").strip().lower() == b"websocket"
        and b"upgrade" in headers.get(b"connection", b"").lower()
    )


def shake_hands(request: Request, limits: Server) -> ServerProtocol:
    """Accept a handshake; what is to be sent waits in the protocol. Raises ClientFault."""
    protocol = ServerProtocol(extensions=[_DEFLATE], max_size=limits.max_body_bytes, logger=_frames_log)
    lines = [b"GET / HTTP/1.1"]
    lines += [b"%b: %b" % (name, request.headers[name]) for name in _HANDSHAKE if name in request.headers]
    protocol.receive_data(b"\r\n".join([*lines, b"", b""]))
    shake = next(iter(protocol.events_received()), None)
    response = protocol.accept(shake) if isinstance(shake, HandshakeRequest) else None
    if response is None or response.status_code != 101:
        is_version = request.headers.get(b"sec-websocket-version") != b"13"
        raise ClientFault(
            "Only version 13 of the WebSocket protocol is spoken here."
            if is_version
            else f"The WebSocket handshake is wrong: {protocol.handshake_exc or 'it cannot be read'}.",
            code="bad_request",
            status=426 if is_version else 400,
            headers=((b"sec-websocket-version", b"13"),) if is_version else (),
        )
    protocol.send_response(response)
    return protocol


class WebSocketConnection(asyncio.Protocol):
    """One client's WebSocket; implements `Socket` for its session."""

    __slots__ = (
        "_closing",
        "_heard_at",
        "_home",
        "_is_asked",
        "_message",
        "_protocol",
        "_session",
        "_text",
        "_transport",
        "_unsent",
        "congested",
        "deadline",
    )

    def __init__(
        self, home: Home, transport: asyncio.Transport, request: Request, sessions: Sessions
    ) -> None:
        """Take over `transport` from HTTP. Raises ClientFault while it is still HTTP's."""
        owner = sessions.admit(request)
        self._protocol = shake_hands(request, home.settings)
        self._home = home
        self._transport = transport
        self._message = bytearray()
        self._text = True
        self._closing = False
        self._is_asked = False
        self._heard_at = home.loop.time()
        self._unsent = _NEVER
        self.congested = False
        self.deadline = _NEVER
        self._session: Session = sessions.open(request, owner, self, self._heard_at)
        self._schedule()

    def begin(self) -> None:
        """Say yes to the client."""
        self._flush()

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._home.loop.time()
        self._is_asked = False
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()

    def eof_received(self) -> None:
        self._session.gone()
        self._linger()
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._closing:
            self._home.lingering -= 1
        self._closing = True
        self.deadline = _NEVER
        self._home.left(self)
        self._session.gone()

    def pause_writing(self) -> None:
        self.congested = True
        self._unsent = _NEVER
        self.deadline = min(self.deadline, self._home.loop.time() + self._home.settings.keep_alive_timeout)
        # Whoever does not read could else make us answer without end.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.congested = False
        self._heard_at = self._home.loop.time()
        self._schedule()
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._session.writable()

    # What the session calls.

    def send(self, text: bytes) -> None:
        """Send one text frame."""
        if self._protocol.state is OPEN:
            self._protocol.send_text(text)
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Close, and wait a moment for the client to agree."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
            self._linger()

    # What the server calls.

    def on_deadline(self) -> None:
        """Time is up for something: for the whole connection, or to hear from the client."""
        now = self._home.loop.time()
        unsent = self._transport.get_write_buffer_size()
        if self._session.expires_at <= now and not self._closing:
            self._session.expires_at = _NEVER
            self._session.expire()
        elif self._closing or self.congested:
            if not 0 < unsent < self._unsent:
                self._transport.abort()
                return
            self._unsent = unsent
        elif now - self._heard_at >= self._home.settings.keep_alive_timeout:
            self._ask()
        self._schedule()

    def stop(self) -> None:
        """Finish the turns that were asked for, and close."""
        self._session.stop()

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    # Frames.

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY:
                self._text = frame.opcode is Opcode.TEXT
                if frame.fin:
                    self._deliver(bytes(frame.data))
                else:
                    self._message += frame.data
            case Opcode.CONT:
                self._message += frame.data
                if frame.fin:
                    whole, self._message = bytes(self._message), bytearray()
                    self._deliver(whole)
            case Opcode.CLOSE:
                self._session.gone()
            case _:  # the library answers a ping, and a pong says enough by having come
                pass

    def _deliver(self, message: bytes) -> None:
        if self._text:
            self._session.receive(message)
        else:
            self._session.refuse(
                ClientFault("Send text frames: binary ones say nothing here.", code="invalid_frame")
            )

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
                continue
            self._session.gone()
            self._linger()
            if self._protocol.close_rcvd is not None:
                self._transport.close()
                continue
            # The client broke the protocol. Closing at once would reset the connection under the frame that
            # says so.
            with contextlib.suppress(OSError, RuntimeError):  # it may be gone already
                self._transport.write_eof()

    # Time.

    def _linger(self) -> None:
        if not self._closing:
            self._closing = True
            self._home.lingering += 1
            self.deadline = self._home.loop.time() + _LINGER

    def _ask(self) -> None:
        """Ask a silent client whether it is there."""
        if self._is_asked:
            self._transport.abort()
            return
        self._is_asked = True
        self._heard_at = self._home.loop.time()
        self._protocol.send_ping(b"")
        self._flush()

    def _schedule(self) -> None:
        timeout = self._home.settings.keep_alive_timeout
        if self._closing:
            self.deadline = self._home.loop.time() + _LINGER
        elif self.congested:
            self.deadline = self._home.loop.time() + timeout
        else:
            self.deadline = min(self._session.expires_at, self._heard_at + timeout)
