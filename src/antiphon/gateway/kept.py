"""The routes of one kept response: retrieve, delete, cancel; those that a provider keeps are passed on to it."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs, quote, unquote

import msgspec

from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.drivers.memory import MemoryCache
from antiphon.engine.passing import Passing
from antiphon.engine.rendition import render
from antiphon.engine.source import Source
from antiphon.engine.tasks import Tasks
from antiphon.engine.turn import Asked
from antiphon.gateway.gateway import Handler, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.ports.reply import Headers, Reply
from antiphon.ports.stores import CacheLevel, KeptResponse, ResponseStore
from antiphon.ports.upstream import UpstreamRequest
from antiphon.recording import Mode
from antiphon.wire.errors import ClientFault

_PREFIX = "/v1/responses/"


class KeptResponses:
    """Handlers over the response store; each owner sees only what is theirs."""

    def __init__(
        self,
        store: ResponseStore,
        memory: MemoryCache,
        level: CacheLevel | None,
        sources: Mapping[str, Source],
        keyring: Keyring,
        tasks: Tasks,
    ) -> None:
        """Serve from `store`, or from those of `sources` that keep state; deleting reaches both levels of the cache."""
        self._store = store
        self._memory = memory
        self._level = level
        self._sources = sources
        self._keyring = keyring
        self._tasks = tasks

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the routes."""
        return {
            ("GET", _PREFIX + "{}"): self._later(self._retrieve),
            ("DELETE", _PREFIX + "{}"): self._later(self._delete),
            ("POST", _PREFIX + "{}/cancel"): self._later(self._cancel),
        }

    def _later(self, body_for: Callable[[Request, str], Awaitable[bytes]]) -> Handler:
        def handler(request: Request, request_id: bytes, reply: Reply) -> None:
            owner = self._keyring.owner(request.headers).name

            async def answer() -> tuple[int, Headers, bytes] | None:
                try:
                    body = await body_for(request, owner)
                except _UnknownResponse:
                    source = await self._keeper(request, owner)
                    if source is None:
                        raise
                    Passing(source, _passed_on(request), request_id, reply)
                    return None
                return 200, ((b"content-type", b"application/json"),), body

            answer_later(self._tasks, request_id, reply, answer)

        return handler

    async def _keeper(self, request: Request, owner: str) -> Source | None:
        provider = await self._store.upstream_of(_response_id(request), owner)
        return None if provider is None else self._sources.get(provider)

    async def _retrieve(self, request: Request, owner: str) -> bytes:
        response_id = _response_id(request)
        kept = await self._store.get(response_id, owner)
        if kept is None:
            raise _UnknownResponse(response_id)
        query = parse_qs(request.query.decode("latin-1"))
        if query.get("stream", ["false"])[-1] in {"true", "1"}:
            raise ClientFault(
                "Only responses created with background and stream can be streamed again.", param="stream"
            )
        return _body(kept)

    async def _delete(self, request: Request, owner: str) -> bytes:
        response_id = _response_id(request)
        recording_id = await self._store.delete(response_id, owner)
        if recording_id is None:
            raise _UnknownResponse(response_id)
        self._memory.remove_recording(recording_id)
        if self._level is not None:
            self._level.remove_recording(recording_id)
        return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})

    async def _cancel(self, request: Request, owner: str) -> bytes:
        response_id = _response_id(request)
        if await self._store.get(response_id, owner) is None:
            raise _UnknownResponse(response_id)
        raise ClientFault("Cannot cancel a synchronous response.")


class _UnknownResponse(ClientFault):
    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id[:128]}' not found.", status=404)


def _response_id(request: Request) -> str:
    return unquote(request.path.decode("latin-1").removeprefix(_PREFIX).removesuffix("/cancel"))


def _passed_on(request: Request) -> UpstreamRequest:
    end = "/cancel" if request.method == b"POST" else ""
    query = "?" + quote(request.query, safe="%!$&'()*+,;=:@/?[]~") if request.query else ""
    return UpstreamRequest(
        "responses",
        f"/responses/{quote(_response_id(request), safe='')}{end}{query}",
        body=request.body,
        method="GET" if request.method == b"HEAD" else request.method.decode(),
    )


def _body(kept: KeptResponse) -> bytes:
    rendition = render(kept.recording, RESPONSES, Asked(Mode.JSON))
    return rendition.fill(kept.id.encode(), kept.created_at, kept.echoed)
