"""The routes around the models' answers: counting the tokens of a request, compacting a conversation.

A provider that has the route itself is asked as for any turn; for all others the gateway does it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from antiphon.dialects.messages.dialect import COUNT_TOKENS
from antiphon.dialects.native import NativeRequest, read_request
from antiphon.dialects.responses.around import COMPACT, INPUT_TOKENS
from antiphon.engine.compacting import Compacting
from antiphon.engine.contexts import Contexts
from antiphon.engine.counting import Counting
from antiphon.engine.incoming import Incoming, Route
from antiphon.engine.inner import InnerReply
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Owner
from antiphon.engine.turns import Turns
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.wire.objects import write_object

COUNTED_BY: Final = b"x-antiphon-token-count"
"""The header that says who counted: `upstream`, `tokenizer`, or `estimate`."""

_JSON: Final = (b"content-type", b"application/json")

Answered = tuple[int, Headers, bytes]


class Around:
    """Handlers of these routes."""

    def __init__(
        self,
        turns: Turns,
        contexts: Contexts,
        keyring: Keyring,
        tasks: Tasks,
        counting: Counting,
        compacting: Compacting,
        clock: Callable[[], float],
    ) -> None:
        """Let `turns` answer what providers have themselves; `contexts` resolve references; `clock` is monotonic."""
        self._turns = turns
        self._contexts = contexts
        self._keyring = keyring
        self._tasks = tasks
        self._counting = counting
        self._compacting = compacting
        self._clock = clock

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("POST", "/v1/responses/input_tokens"): self._handler(
                Route("/v1/responses/input_tokens", "/responses/input_tokens", INPUT_TOKENS),
                self._count_responses,
            ),
            ("POST", "/v1/messages/count_tokens"): self._handler(
                Route("/v1/messages/count_tokens", "/messages/count_tokens", COUNT_TOKENS, has_variants=True),
                self._count_messages,
            ),
            ("POST", "/v1/responses/compact"): self._handler(
                Route("/v1/responses/compact", "/responses/compact", COMPACT), self._compact
            ),
        }

    def _handler(
        self, route: Route, own_way: Callable[[Incoming, dict[str, Any]], Awaitable[Answered]]
    ) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            incoming = Incoming(
                route,
                self._keyring.owner(request.headers),
                request_id,
                request.headers,
                request.body,
                reply,
                self._clock(),
                request.query,
            )

            async def answer() -> Answered | None:
                read = read_request(route.dialect.name, request.body)
                if await self._refers_here(read):
                    resolved, _ = await self._contexts.resolve(read, incoming.owner.name)
                    incoming.body = resolved.body
                if await self._turns.is_spoken(read.model, route.dialect.name):
                    self._turns.answer(incoming)
                    return None
                return await own_way(incoming, msgspec.json.decode(incoming.body))

            answer_later(self._tasks, request_id, reply, answer, route.dialect.errors)

        return handler

    async def _refers_here(self, request: NativeRequest) -> bool:
        """Whether a request refers to what this gateway keeps. Raises ClientFault."""
        return request.continues_or_refers and not await self._turns.is_kept_upstream(request.model)

    async def _count_responses(self, incoming: Incoming, body: dict[str, Any]) -> Answered:
        counted = await self._counting.count("responses", body, incoming.owner.name)
        told = {"object": "response.input_tokens", "input_tokens": counted.tokens}
        return 200, (_JSON, (COUNTED_BY, counted.by.encode())), write_object(told)

    async def _count_messages(self, incoming: Incoming, body: dict[str, Any]) -> Answered:
        # A limit that the route does not have is none that a request would be refused without.
        counted = await self._counting.count("messages", {"max_tokens": 1, **body}, incoming.owner.name)
        return 200, (_JSON, (COUNTED_BY, counted.by.encode())), write_object({"input_tokens": counted.tokens})

    async def _compact(self, incoming: Incoming, body: dict[str, Any]) -> Answered:
        inner = InnerReply()
        incoming.reply.watch(_Leaving(inner))
        owner: Owner = incoming.owner
        told = await self._compacting.compact(body, owner, incoming.request_id, incoming.headers, inner)
        return 200, (_JSON,), told


class _Leaving:
    """Implements `ports.reply.ReplyWatcher`: a client that leaves takes the turn for it along."""

    def __init__(self, inner: InnerReply) -> None:
        self._inner = inner

    def on_writable(self) -> None:
        """Nothing waits for it."""

    def on_sent(self) -> None:
        """The client has it all."""

    def on_gone(self) -> None:
        """The client has left."""
        self._inner.leave()
