"""Requests with an idempotency key: whose key it is, what it was sent with, and how their clients are told."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from antiphon.engine.idempotency.idempotency import Idempotency, Keyed
from antiphon.engine.refusals import refuse
from antiphon.gateway.admin import PREFIX, require_admin
from antiphon.gateway.error_forms import error_form
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import ClaimedRequest, Request
from antiphon.ports.idempotency import Claimed
from antiphon.ports.reply import Reply
from antiphon.wire.errors import ClientFault
from antiphon.wire.idempotency_key import IDEMPOTENCY_KEY, read_key
from antiphon.wire.multipart import is_form, read_form

_ADMIN: Final = PREFIX.encode() + b"/"
_RESPONSES: Final = b"/v1/responses"
_COUNTED: Final = (b"anthropic-version", b"anthropic-beta", b"cache-control", b"x-antiphon-cache")
"""Headers that say what is asked, beside the body. All others may differ from attempt to attempt."""


class Attempts(Protocol):
    """What earlier attempts at a response have left; see `gateway.kept`. Everything raises StoreFault."""

    async def tell(
        self, response_id: str, owner: str, reply: Reply, request_id: bytes, *, is_stream: bool
    ) -> bool:
        """Tell the owner's response as it stands, or all its events; False if there is none."""

    async def follow(self, response_id: str, owner: str, reply: Reply, request_id: bytes) -> bool:
        """Tell all events of an answer that is a run; False if it is none."""


class Idempotent:
    """Hands requests to `Idempotency`, and lets the gateway have back those that are to be answered."""

    def __init__(
        self, idempotency: Idempotency, keyring: Keyring, admin_key: str | None, attempts: Attempts
    ) -> None:
        """Keep what is answered in `idempotency`; `attempts` are those at responses."""
        self._idempotency = idempotency
        self._keyring = keyring
        self._admin_key = admin_key
        self._attempts = attempts

    def answer(
        self, request: Request, request_id: bytes, reply: Reply, handle: Callable[[Request, Reply], None]
    ) -> None:
        """Answer a request that has a key; `handle` makes the answer. Raises GatewayError."""
        key = read_key(request.headers[IDEMPOTENCY_KEY])
        owner = self._owner(request)

        is_stream = request.path == _RESPONSES and _asks_for_stream(request.body)

        async def find(reply: Reply, answer_id: str, *, is_under_way: bool) -> bool:
            if request.path != _RESPONSES or owner is None:
                return False
            if is_under_way:
                return is_stream and await self._attempts.follow(answer_id, owner, reply, request_id)
            return await self._attempts.tell(answer_id, owner, reply, request_id, is_stream=is_stream)

        def handle_claimed(reply: Reply, claim: Claimed) -> None:
            handle(ClaimedRequest.of(request, claim), reply)

        self._idempotency.answer(
            Keyed(
                identity=_digest((b"admin",) if owner is None else (b"owner", owner.encode()), key),
                fingerprint=fingerprint(request),
                handle=handle_claimed,
                find=find,
                refuse=lambda reply, fault: refuse(reply, request_id, fault, error_form(request.path)),
                size=len(request.body),
            ),
            reply,
        )

    def _owner(self, request: Request) -> str | None:
        """Return who asks; None is who runs the gateway. Raises ClientFault 401, 403."""
        if request.path.startswith(_ADMIN):
            require_admin(request.headers, self._admin_key)
            return None
        return self._keyring.owner(request.headers).name


def fingerprint(request: Request) -> bytes:
    """Return a digest of what is asked: the same for each attempt, another for another request."""
    counted = (request.headers.get(name) for name in _COUNTED)
    around = (request.method, request.path, request.query, *(b"" if v is None else b"=" + v for v in counted))
    return _digest(around, *_body_of(request))


def _body_of(request: Request) -> Iterable[bytes | memoryview]:
    """Return what counts of the body: clients send a form between other boundaries each time."""
    content_type = request.headers.get(b"content-type", b"")
    if not is_form(content_type):
        return (request.body,)
    try:
        parts = read_form(content_type, request.body).parts
    except ClientFault:
        return (request.body,)
    return (piece for part in parts for piece in (part.head, part.content))


def _digest(around: Iterable[bytes], *pieces: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=20, person=b"antiphon-once")
    for piece in (*around, *pieces):
        digest.update(len(piece).to_bytes(8))
        digest.update(piece)
    return digest.digest()


class _Asked(msgspec.Struct):
    stream: bool | None = None


def _asks_for_stream(body: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(body, type=_Asked).stream)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
