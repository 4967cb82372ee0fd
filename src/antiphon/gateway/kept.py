"""The routes of one kept response: retrieve, delete, cancel; those that a provider keeps are passed on to it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

import msgspec

from antiphon.drivers.memory import MemoryCache
from antiphon.engine.contexts import Contexts
from antiphon.engine.passing import Passing
from antiphon.engine.rendition import JSON_TYPE
from antiphon.engine.runs.replay import KeptReplay
from antiphon.engine.runs.runs import Runs
from antiphon.engine.runs.settling import body_of
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.kept_query import Change, change_of, check_include, flag, read_query, starting_after
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.idempotency import ClaimStore
from antiphon.ports.reply import Headers, Reply
from antiphon.ports.stores import CacheLevel, KeptResponse, ResponseStore
from antiphon.ports.upstream import UpstreamRequest
from antiphon.turn.history import grow
from antiphon.turn.items import list_items
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import read_object

_PREFIX = "/v1/responses/"
_FROM_THE_FIRST = -1


class KeptResponses:
    """Handlers over the response store; each owner sees only what is theirs."""

    def __init__(
        self,
        store: ResponseStore,
        runs: Runs,
        contexts: Contexts,
        memory: MemoryCache,
        level: CacheLevel | None,
        sources: Mapping[str, Source],
        keyring: Keyring,
        tasks: Tasks,
        claims: ClaimStore,
    ) -> None:
        """Serve from `store` and `runs`, or from those of `sources` that keep state.

        Deleting reaches both levels of the cache, and what `claims` have of it.
        """
        self._store = store
        self._runs = runs
        self._contexts = contexts
        self._memory = memory
        self._level = level
        self._sources = sources
        self._keyring = keyring
        self._tasks = tasks
        self._claims = claims

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("GET", _PREFIX + "{}"): self._later(self._retrieve),
            ("DELETE", _PREFIX + "{}"): self._later(self._delete),
            ("POST", _PREFIX + "{}/cancel"): self._later(self._cancel),
            ("GET", _PREFIX + "{}/input_items"): self._later(self._input_items),
        }

    async def tell(
        self, response_id: str, owner: str, reply: Reply, request_id: bytes, *, is_stream: bool
    ) -> bool:
        """Tell the owner's response as it stands, or all its events; False if there is none. Raises StoreFault."""
        kept = await self._store.get(response_id, owner)
        if kept is not None and is_stream:
            KeptReplay(kept, _FROM_THE_FIRST, reply, request_id)
            return True
        if is_stream:
            return await self.follow(response_id, owner, reply, request_id)
        body = await self._runs.body(response_id, owner) if kept is None else body_of(kept)
        if body is not None:
            reply.send(200, (JSON_TYPE, (b"x-request-id", request_id)), body)
        return body is not None

    async def follow(self, response_id: str, owner: str, reply: Reply, request_id: bytes) -> bool:
        """Tell all events of the owner's run, and those to come; False if there is none. Raises StoreFault."""
        return await self._runs.tail(response_id, owner, _FROM_THE_FIRST, reply, request_id)

    def _later(self, body_for: Callable[["_Asked"], Awaitable[bytes | None]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            asked = _Asked(request, self._keyring.owner(request.headers).name, request_id, reply)

            async def answer() -> tuple[int, Headers, bytes] | None:
                try:
                    body = await body_for(asked)
                except ClientFault as fault:
                    # What a provider keeps is asked for in its provider's terms.
                    if not isinstance(fault, _UnknownResponse) and await self._is_here(asked):
                        raise
                    source = await self._keeper(request, asked.owner)
                    if source is None:
                        raise _UnknownResponse(asked.response_id) from fault
                    Passing(source, _passed_on(request), request_id, reply)
                    return None
                return None if body is None else (200, (JSON_TYPE,), body)

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    async def _is_here(self, asked: "_Asked") -> bool:
        return await self._contexts.shown_for(asked.response_id, asked.owner) is not None

    async def _keeper(self, request: Request, owner: str) -> Source | None:
        provider = await self._store.upstream_of(_response_id(request), owner)
        return None if provider is None else self._sources.get(provider)

    async def _retrieve(self, asked: "_Asked") -> bytes | None:
        query = asked.query
        check_include(query)
        if flag(query, "stream"):
            await self._stream(asked, starting_after(query, asked.request.headers), change_of(query))
            return None
        kept = await self._store.get(asked.response_id, asked.owner)
        if kept is None:
            body = await self._runs.body(asked.response_id, asked.owner)
            if body is not None:
                return body
            kept = await self._kept(asked)  # perhaps it has ended just now
        return body_of(kept)

    async def _stream(self, asked: "_Asked", after: int, change: Change | None) -> None:
        response_id, owner, reply, request_id = asked.response_id, asked.owner, asked.reply, asked.request_id
        kept = await self._store.get(response_id, owner)
        if kept is None:
            if await self._runs.tail(response_id, owner, after, reply, request_id, change):
                return
            kept = await self._kept(asked)
        KeptReplay(kept, after, reply, request_id, change)

    async def _delete(self, asked: "_Asked") -> bytes:
        if not await self._runs.delete(asked.response_id, asked.owner):
            recording_id = await self._store.delete(asked.response_id, asked.owner)
            if recording_id is None:
                raise _UnknownResponse(asked.response_id)
            self._memory.remove_recording(recording_id)
            if self._level is not None:
                self._level.remove_recording(recording_id)
        await self._claims.forget(asked.response_id)
        return msgspec.json.encode({"id": asked.response_id, "object": "response", "deleted": True})

    async def _cancel(self, asked: "_Asked") -> bytes:
        if await self._runs.cancel(asked.response_id, asked.owner):
            body = await self._runs.body(asked.response_id, asked.owner)
            if body is not None:
                return body
        body = body_of(await self._kept(asked))
        if not read_object(body).get("background"):
            raise ClientFault("Cannot cancel a synchronous response.")
        return body

    async def _input_items(self, asked: "_Asked") -> bytes:
        check_include(asked.query)
        items = await self._contexts.shown_for(asked.response_id, asked.owner)
        if items is None:
            raise _UnknownResponse(asked.response_id)
        return list_items(grow(asked.owner, None, items), asked.query)

    async def _kept(self, asked: "_Asked") -> KeptResponse:
        kept = await self._store.get(asked.response_id, asked.owner)
        if kept is None:
            raise _UnknownResponse(asked.response_id)
        return kept


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for a response, and who asks."""

    request: Request
    owner: str
    request_id: bytes
    reply: Reply

    @property
    def query(self) -> dict[str, list[str]]:
        return read_query(self.request.query)

    @property
    def response_id(self) -> str:
        return _response_id(self.request)


class _UnknownResponse(ClientFault):
    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id[:128]}' not found.", status=404)


def _response_id(request: Request) -> str:
    return unquote(
        request.path.decode("latin-1")
        .removeprefix(_PREFIX)
        .removesuffix("/cancel")
        .removesuffix("/input_items")
    )


def _passed_on(request: Request) -> UpstreamRequest:
    end = "/cancel" if request.method == b"POST" else ""
    end = "/input_items" if request.path.endswith(b"/input_items") else end
    query = "?" + quote(request.query, safe="%!$&'()*+,;=:@/?[]~") if request.query else ""
    return UpstreamRequest(
        "responses",
        f"/responses/{quote(_response_id(request), safe='')}{end}{query}",
        body=request.body,
        method="GET" if request.method == b"HEAD" else request.method.decode(),
    )
