"""Who may open a WebSocket, and on what: the door to the sessions, whatever server they come through."""

import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from antiphon.engine.incoming import Incoming
from antiphon.engine.refusals import internal_error, refuse
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner
from antiphon.engine.turns import Turns
from antiphon.gateway.gateway import RESPONSES_ROUTE, request_ids
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.gateway.websocket_session import Conditions, Resolve, Session
from antiphon.gateway.websocket_turn import Socket
from antiphon.settings import Server
from antiphon.settings.checks import is_loopback
from antiphon.wire.errors import ClientFault, GatewayError

_log = logging.getLogger(__name__)


class Sessions:
    """Opens sessions in WebSocket mode."""

    def __init__(
        self,
        turns: Turns,
        keyring: Keyring,
        limits: Server,
        *,
        tasks: Tasks,
        wall_clock: Callable[[], float],
        resolve: Resolve,
    ) -> None:
        """Let `turns` answer; `resolve` finds what a warm-up continues."""
        self._turns = turns
        self._keyring = keyring
        self._is_api = limits.is_api
        self._request_ids = request_ids()
        self._conditions = Conditions(
            answer=self._answer,
            route=RESPONSES_ROUTE,
            request_ids=self._request_ids,
            tasks=tasks,
            max_bytes=limits.max_body_bytes,
            lifetime=limits.websocket_lifetime,
            resolve=resolve,
            wall_clock=wall_clock,
        )

    def serves(self, path: bytes) -> bool:
        """Whether WebSockets are opened on `path`."""
        return self._is_api and path == RESPONSES_ROUTE.path.encode()

    def request_id(self) -> bytes:
        """Return an id under which a handshake is refused."""
        return next(self._request_ids)

    def admit(self, request: Request) -> Owner:
        """Return who wants to come in. Raises ClientFault 401, 403."""
        owner = self._keyring.owner(request.headers)
        origin = request.headers.get(b"origin")
        # Browsers let every page open a WebSocket to every host. Where there are keys the page lacks one.
        if origin is not None and not self._keyring.has_keys and not _is_from_here(origin):
            raise ClientFault(
                "Without keys, pages of other hosts may not connect.", code="origin_not_allowed", status=403
            )
        return owner

    def open(self, request: Request, owner: Owner, socket: Socket, now: float) -> Session:
        """Begin a session of `owner` on `socket`, at `now` by the clock that will tell it when it expires."""
        return Session(socket, self._conditions, owner, _standing_headers(request.headers), now)

    def _answer(self, incoming: Incoming) -> None:
        try:
            self._turns.answer(incoming)
        except GatewayError as fault:
            refuse(incoming.reply, incoming.request_id, fault)
        except Exception:
            # As for requests over HTTP: a defect of ours must not take the connection's other turns with it.
            _log.exception("request %s failed", incoming.request_id.decode())
            refuse(incoming.reply, incoming.request_id, internal_error())


def _is_from_here(origin: bytes) -> bool:
    try:
        host = urlsplit(origin.decode("latin-1")).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _standing_headers(headers: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Return what the handshake says for all requests; a browser's `Cache-Control` is not what anybody asked for."""
    if b"origin" not in headers:
        return headers
    return {name: value for name, value in headers.items() if name != b"cache-control"}
