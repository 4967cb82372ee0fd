"""A gateway before a simulated upstream whose every answer is another, and clients that talk to it."""

import asyncio
import contextlib
import json
from pathlib import Path

from antiphon.cache.entry import Entry
from antiphon.drivers.simulator import Answer, Received, Simulator, samples
from antiphon.ports.ledger import UsageRow
from antiphon.settings import Cache, MemoryLevel, Server, Size
from antiphon.wire.sse import DONE, write_frame
from drivers.sqlite.opening import rows_of
from e2e.plain_client import Answer as Got
from e2e.plain_client import PlainClient, plain_client
from serving import UNHURRIED, Clock, serving, settings_for
from waiting import PATIENCE, eventually

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
ASKED = {
    CHAT: {"model": "chat/m", "messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"model": "up/m", "input": "Hi"},
    COMPLETIONS: {"model": "chat/m", "prompt": "Hi"},
    EMBEDDINGS: {"model": "up/m", "input": "Hi"},
}
SMALL = MemoryLevel(max_bytes=Size(1))
"""No entry has room in it: the second level answers."""
SHARING = Server(port=0, workers=2)
"""Others may have put entries into the second level: it is asked for whatever memory does not have."""


def answering(received: Received, number: int) -> Answer:
    """Answer a request in its form; `number` is in every frame and every body."""
    name = received.path.removeprefix("/v1")
    streams = json.loads(received.body).get("stream", False)
    if name == "/chat/completions":
        answer = _chat(streams=streams)
    elif name == "/responses":
        answer = (
            Answer(frames=samples.responses_frames(10))
            if streams
            else Answer(body=samples.responses_body(900))
        )
    elif name == "/completions":
        answer = _completions(streams=streams)
    else:
        answer = Answer(body=samples.embeddings_body())
    return numbered(answer, number)


def numbered(answer: Answer, number: int) -> Answer:
    """Put a number where the upstream's answers have theirs."""
    mark = b"simulated-%d" % number
    if answer.frames is None:
        return Answer(body=answer.body.replace(b"simulated", mark))
    return Answer(frames=[frame.replace(b"simulated", mark) for frame in answer.frames])


def usage_frame() -> bytes:
    usage = {"prompt_tokens": 12, "completion_tokens": 200, "total_tokens": 212}
    chunk = {
        "id": "chatcmpl-simulated",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "simulated",
    }
    return write_frame(json.dumps({**chunk, "choices": [], "usage": usage}).encode())


def _chat(*, streams: bool) -> Answer:
    if not streams:
        return Answer(body=samples.chat_body(700))
    *frames, done = samples.chat_frames(8)
    return Answer(frames=[*frames, usage_frame(), done])


def _completions(*, streams: bool) -> Answer:
    choice = {"index": 0, "text": "A call", "logprobs": None, "finish_reason": "stop"}
    answer = {
        "id": "cmpl-simulated",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    body = json.dumps(answer).encode()
    return Answer(frames=[write_frame(body), DONE]) if streams else Answer(body=body)


class Scene:
    """One gateway, its upstream, and a client of it."""

    def __init__(self, folder, running, simulator, client):
        self.folder = folder
        self.application = running.application
        self.running = running
        self.simulator = simulator
        self.client = client

    @property
    def calls(self) -> int:
        """How often the upstream was asked for an answer."""
        return len(self.simulator.calls)

    async def ask(self, path: str = CHAT, **changes) -> Got:
        """Send the request of a route; `headers` go with it, and other members are added or replaced."""
        headers = changes.pop("headers", {})
        return await self.client.post(path, {**ASKED[path], **changes}, **headers)

    async def outcome(self, path: str = CHAT, **changes) -> str:
        """Send a request and return what the cache did: `hit`, or why not."""
        return outcome_of(await self.ask(path, **changes))

    def sent(self, index: int = -1):
        """Return what the upstream was sent."""
        return json.loads(self.simulator.calls[index].body)

    async def committed(self) -> None:
        """Return when everything is in the database."""
        await self.application.storage.database.written(lambda connection: None)

    async def rows(self) -> list[UsageRow]:
        """Return the ledger."""
        await self.application.accounts.flush()
        return [UsageRow(*row) for row in rows_of(self.folder, "SELECT * FROM usage ORDER BY rowid")]

    def entries(self) -> list[Entry]:
        return list(self.application.memory._entries.values())

    def waiting(self) -> int:
        """How many clients listen to live recordings."""
        return sum(len(live.listeners) for live in self.application.producing._live)

    async def listening(self, count: int) -> None:
        """Return when so many clients listen."""
        await eventually(lambda: self.waiting() == count)

    @contextlib.asynccontextmanager
    async def clients(self, count: int):
        """Connect some more clients."""
        async with contextlib.AsyncExitStack() as stack:
            yield [await stack.enter_async_context(plain_client(self.running.port)) for _ in range(count)]


def outcome_of(got: Got) -> str:
    """Return what `Cache-Status` says first: `hit`, or the reason why the upstream was asked."""
    first = got.cache_status.split("; ")[1]
    assert got.is_hit == (first == "hit")
    return first.removeprefix("fwd=")


def number_in(got: Got) -> int:
    """Return which of the upstream's answers this is."""
    return int(got.body.partition(b"simulated-")[2].partition(b'"')[0])


def send(client: PlainClient, path: str = CHAT, **changes) -> None:
    """Send a request whose answer is read later."""
    headers = changes.pop("headers", {})
    client.send("POST", path, {**ASKED[path], **changes}, **headers)


@contextlib.asynccontextmanager
async def upstream(answers=None):
    """Simulate an upstream; without `answers` each answer has its number in it."""
    async with Simulator() as simulator:
        if answers is None:
            simulator._choose = lambda received: answering(received, len(simulator.calls))
        else:
            simulator._choose = answers if callable(answers) else None
            if not callable(answers):
                simulator.answer(*answers)
        yield simulator


@contextlib.asynccontextmanager
async def gateway(folder: Path, simulator: Simulator, *, clock: Clock | None = None, cache=(), **changes):
    """Serve before an upstream that is there already; `cache` is what differs from its defaults, None no cache."""
    changes["cache"] = None if cache is None else Cache(**{"lookup_timeout": UNHURRIED, **dict(cache)})
    settings = settings_for(folder, simulator.base_url, **changes)
    async with serving(settings, clock) as running, plain_client(running.port) as client:
        yield Scene(folder, running, simulator, client)


@contextlib.asynccontextmanager
async def scene(folder: Path, answers=None, **options):
    """Serve before an upstream of its own."""
    async with upstream(answers) as simulator, gateway(folder, simulator, **options) as made:
        yield made


def run(test):
    """Run a test's coroutine, but not for ever."""

    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(within_reason())
