"""The routes: each request finds its handler here, and every fault its answer."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.embeddings import EMBEDDINGS
from antiphon.dialects.forms import read_transcription
from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.rerank import RERANK, read_rerank
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.transcriptions import TRANSCRIPTIONS
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.refusals import internal_error, refuse
from antiphon.engine.tasks import Tasks
from antiphon.engine.turns import Turns
from antiphon.gateway.error_forms import error_form
from antiphon.gateway.idempotent import Idempotent
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.wire.error_forms import OPENAI_ERRORS, ErrorForm
from antiphon.wire.errors import ClientFault, GatewayError
from antiphon.wire.idempotency_key import IDEMPOTENCY_KEY

_log = logging.getLogger(__name__)

Handler = Callable[[Request, bytes, Reply], None]
"""(request, request id, reply); may raise GatewayError before it has written."""

_SHOWN = 200

RESPONSES_ROUTE = Route("/v1/responses", "/responses", RESPONSES)
EMBEDDINGS_ROUTE = Route("/v1/embeddings", "/embeddings", EMBEDDINGS)
ROUTES = (
    RESPONSES_ROUTE,
    Route("/v1/chat/completions", "/chat/completions", CHAT),
    Route("/v1/completions", "/completions", COMPLETIONS),
    EMBEDDINGS_ROUTE,
    Route("/v1/rerank", "/rerank", RERANK, read_rerank),
    Route("/v2/rerank", "/rerank", RERANK, read_rerank),  # where Cohere's own client asks
    Route(
        "/v1/audio/transcriptions",
        "/audio/transcriptions",
        TRANSCRIPTIONS,
        read_transcription,
        takes_files=True,
    ),
    Route("/v1/messages", "/messages", MESSAGES, has_variants=True),
)


CACHE_DEBUG = b"x-antiphon-cache-debug"
"""Asks to be told what the cache does with a request."""


ID_DIGITS = 8
"""Of a request's id: what stands before them is the same for all of a worker."""


class Gateway:
    """Handles requests, whatever server they came through."""

    def __init__(
        self,
        turns: Turns,
        keyring: Keyring,
        handlers: Mapping[tuple[str, str], Handler],
        routes: Sequence[Route] = ROUTES,
        idempotent: Idempotent | None = None,
        explain: Callable[[Incoming], None] | None = None,
    ) -> None:
        """Serve the model routes `routes`, and `handlers` by (method, path).

        Each `{}` in a path stands for an identifier; `handlers` see the whole request. `idempotent` takes those with
        an idempotency key, and brings them back, unless they were answered before. `explain` answers those that want
        to know what the cache does with them.
        """
        self._idempotent = idempotent
        self._explain = explain
        self._turns = turns
        self._keyring = keyring
        self._exact: dict[bytes, dict[bytes, Handler]] = {}
        self._patterns: dict[re.Pattern[bytes], dict[bytes, Handler]] = {}
        self._models = {route.path.encode(): route for route in routes}
        for (method, path), handler in handlers.items():
            self._add(method.encode(), path.encode(), handler)
        self._request_ids = request_ids()

    def _add(self, method: bytes, path: bytes, handler: Handler) -> None:
        if b"{}" not in path:
            self._exact.setdefault(path, {})[method] = handler
            return
        pattern = re.compile(b"([^/]+)".join(map(re.escape, path.split(b"{}"))))
        self._patterns.setdefault(pattern, {})[method] = handler

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        request_id = next(self._request_ids)
        try:
            route = self._models.get(request.path)
            has_key = IDEMPOTENCY_KEY in request.headers
            if has_key and self._is_for_once(request):
                assert self._idempotent is not None
                self._idempotent.answer(request, request_id, reply, self.handle)
            elif route is not None and request.method == b"POST":
                owner = self._keyring.owner(request.headers)
                incoming = Incoming(
                    route,
                    owner,
                    request_id,
                    request.headers,
                    request.body,
                    reply,
                    time.monotonic(),
                    request.query,
                )
                if has_key and request.claim is not None:
                    incoming.reserved_id = request.claim.answer_id.encode()
                if CACHE_DEBUG in request.headers and self._explain is not None:
                    self._explain(incoming)
                else:
                    self._turns.answer(incoming)
            else:
                self._handler(request)(request, request_id, reply)
        except GatewayError as fault:
            refuse(reply, request_id, fault, error_form(request.path))
        except Exception:
            # The one place where anything may be caught: a defect of ours must not take the connection's
            # other requests with it, and the client needs the id under which the log tells what happened.
            _log.exception("request %s failed", request_id.decode())
            refuse(reply, request_id, internal_error(), error_form(request.path))

    def _is_for_once(self, request: Request) -> bool:
        """Whether a request with an idempotency key has yet to be looked for. Raises ClientFault: there is no such route."""
        if self._idempotent is None or request.claim is not None or request.method != b"POST":
            return False
        if request.path not in self._models:
            self._handler(request)
        return True

    def _handler(self, request: Request) -> Handler:
        methods = self._methods(request.path)
        allowed = set(methods)
        if request.path in self._models:
            allowed.add(b"POST")
        method = b"GET" if request.method == b"HEAD" and b"HEAD" not in methods else request.method
        handler = methods.get(method)
        if handler is not None:
            return handler
        if b"GET" in allowed:
            allowed.add(b"HEAD")
        named = request.path[:_SHOWN].decode("utf-8", "replace")
        if not allowed:
            raise ClientFault(f"There is no route {named}.", code="not_found", status=404)
        raise ClientFault(
            f"{request.method.decode('latin-1')} is not allowed on {named}.",
            code="method_not_allowed",
            status=405,
            headers=((b"allow", b", ".join(sorted(allowed))),),
        )

    def _methods(self, path: bytes) -> Mapping[bytes, Handler]:
        methods = self._exact.get(path)
        if methods is not None:
            return methods
        for pattern, pattern_methods in self._patterns.items():
            if pattern.fullmatch(path) is not None:
                return pattern_methods
        return {}


def answer_later(
    tasks: Tasks,
    request_id: bytes,
    reply: Reply,
    answer: Callable[[], Awaitable[tuple[int, Headers, bytes] | None]],
    form: ErrorForm = OPENAI_ERRORS,
) -> None:
    """Answer with the status, headers and body that `answer` gives after waiting, or with its fault.

    None: somebody else has taken the reply. Faults are told in `form`.
    """

    async def run() -> None:
        try:
            answered = await answer()
        except GatewayError as fault:
            refuse(reply, request_id, fault, form)
            return
        if answered is not None:
            status, headers, body = answered
            reply.send(status, (*headers, (b"x-request-id", request_id)), body)

    tasks.start(
        run(),
        f"answer {request_id.decode()}",
        on_death=lambda: refuse(reply, request_id, internal_error(), form),
    )


def request_ids() -> Iterator[bytes]:
    """Ids that no other worker makes, at the price of a counter."""
    prefix = b"req_" + secrets.token_hex(8).encode()
    return (b"%b%08x" % (prefix, number) for number in itertools.count())
