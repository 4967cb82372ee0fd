"""The official client, and what it saw of one answer: its text, its pace and its very bytes."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httpx2
import openai
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponseStreamEvent,
    ResponseTextDeltaEvent,
)

TEXT = "response.output_text.delta"
THOUGHT = "response.reasoning_summary_text.delta"

Heard = Callable[[str, str], None]
"""(event type, delta or "")."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as the client saw it; times in seconds since it asked."""

    response: Response
    body: bytes
    cache_status: str
    first_at: float
    whole_at: float
    events: int

    @property
    def cache_words(self) -> frozenset[str]:
        """What `Cache-Status` says, in pieces."""
        return frozenset(word.strip() for word in self.cache_status.split(";"))

    @property
    def unsigned_body(self) -> bytes:
        """The body without the response's id and time."""
        without_id = self.body.replace(self.response.id.encode(), b"")
        return without_id.replace(b'"created_at":%d' % self.response.created_at, b"")

    @property
    def unsigned_response(self) -> dict[str, object]:
        """The response without its id and time."""
        return self.response.model_dump(exclude={"id", "created_at"})


@dataclass(frozen=True, slots=True)
class Resumed:
    """A background answer that was heard on two connections."""

    response: Response
    before: list[int]
    """Numbers of the events on the first connection."""
    after: list[int]
    """Numbers of the events on the second one."""
    text: str
    """What all their deltas make."""


class Asker:
    """Asks one model."""

    def __init__(self, client: openai.AsyncOpenAI, model: str) -> None:
        """Ask through `client`."""
        self._client = client
        self._model = model

    async def stream(self, question: str, heard: Heard = lambda _kind, _delta: None) -> Answer:
        """Ask for a stream; `heard` is told of each event as it comes."""
        asked_at = time.perf_counter()
        raw = await self._client.responses.with_raw_response.create(
            model=self._model, input=question, stream=True
        )
        tee = raw.http_response.stream
        assert isinstance(tee, _Tee)
        first_at = 0.0
        events = 0
        response: Response | None = None
        async for event in raw.parse():
            events += 1
            first_at = first_at or time.perf_counter() - asked_at
            if isinstance(event, ResponseCompletedEvent):
                response = event.response
            heard(event.type, str(getattr(event, "delta", "")))
        whole_at = time.perf_counter() - asked_at
        if response is None:
            raise openai.OpenAIError(f"the stream of {question!r} ended without response.completed")
        return Answer(response, tee.body, raw.headers.get("cache-status", ""), first_at, whole_at, events)

    async def whole(self, question: str) -> Answer:
        """Ask for JSON."""
        asked_at = time.perf_counter()
        raw = await self._client.responses.with_raw_response.create(model=self._model, input=question)
        response = raw.parse()
        whole_at = time.perf_counter() - asked_at
        return Answer(response, raw.content, raw.headers.get("cache-status", ""), whole_at, whole_at, 1)

    async def cut_and_resume(self, question: str, most: int) -> Resumed:
        """Ask in the background, leave after `most` events, and come back for the rest."""
        before: list[int] = []
        parts: list[str] = []
        response: Response | None = None
        leaving = await self._client.responses.create(
            model=self._model, input=question, background=True, stream=True
        )
        async for event in leaving:
            before.append(_number(event))
            parts.append(_text(event))
            if isinstance(event, ResponseCreatedEvent):
                response = event.response
            if len(before) == most:
                break
        await leaving.close()
        if response is None:
            raise openai.OpenAIError(f"the stream of {question!r} did not begin with response.created")
        after: list[int] = []
        rest = await self._client.responses.retrieve(response.id, stream=True, starting_after=before[-1])
        async for event in rest:
            after.append(_number(event))
            parts.append(_text(event))
        ended = await self._client.responses.retrieve(response.id)
        return Resumed(ended, before, after, "".join(parts))


def _number(event: ResponseStreamEvent) -> int:
    return int(getattr(event, "sequence_number", -1))


def _text(event: ResponseStreamEvent) -> str:
    return event.delta if isinstance(event, ResponseTextDeltaEvent) else ""


@contextlib.asynccontextmanager
async def asking(url: str, model: str) -> AsyncIterator[Asker]:
    """Connect the official client to the gateway at `url`, whatever the environment says of proxies and keys."""
    http_client = openai.DefaultAsyncHttpxClient(
        trust_env=False, event_hooks={"response": [_listen_in]}, limits=httpx2.Limits(max_connections=20)
    )
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http_client
    ) as client:
        _ = client.responses.with_raw_response  # loaded now, it does not count as the first answer's time
        yield Asker(client, model)


class _Tee(httpx2.AsyncByteStream):
    """Passes bytes on, and keeps them."""

    def __init__(self, source: httpx2.AsyncByteStream) -> None:
        self._source = source
        self._parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._source:
            self._parts.append(part)
            yield part

    async def aclose(self) -> None:
        await self._source.aclose()


async def _listen_in(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Tee(response.stream)
