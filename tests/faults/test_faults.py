"""Each way in which an upstream breaks: what a client sees of it in each dialect, and that nothing of it is kept.

The table is the specification. An outcome is `whole` (every byte as the upstream sent it), a status with the
code of the error (the answer had not begun), or `broken` with the code (it had).
"""

import asyncio
import json
import re
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anthropic
import msgspec
import openai
import pytest
import uvloop
from anthropic._constants import ANTHROPIC_API_VERSION

from antiphon.drivers.simulator import Answer, Fault, Received, Simulator, faulted, samples
from antiphon.settings import Provider, Secret, Size, Timeout
from antiphon.turn.grammar import violations
from antiphon.wire.sse import DONE, Event, FrameReader, parse_frame, write_frame
from drivers.wire_client import Got, connected
from serving import Running, serving, settings_for
from waiting import PATIENCE

KEY = "sk-upstream-0123456789abcdef"
OWN_ID = re.compile(rb"resp_[0-9a-f]{48}")
CREATED_AT = re.compile(rb'"created_at":\d+')
CACHE_RESULT = re.compile(rb"cache-status: antiphon; (?:fwd=)?(\w+)")


@dataclass(frozen=True, slots=True)
class Form:
    """A dialect in one of its modes, with a good answer."""

    name: str
    path: str
    asked: Mapping[str, object]
    good: Answer
    at: int = 0
    """Before which frame faults happen."""

    @property
    def streams(self) -> bool:
        return self.good.frames is not None

    @property
    def is_anthropic(self) -> bool:
        return self.path == "/messages"

    @property
    def members(self) -> dict[str, object]:
        provider = "claude" if self.is_anthropic else "up"
        return {"model": f"{provider}/gpt-test", **self.asked, **({"stream": True} if self.streams else {})}

    @property
    def bytes(self) -> bytes:
        return b"".join(self.good.parts)

    def is_asked_by(self, received: Received) -> bool:
        members = json.loads(received.body)
        return received.path == f"/v1{self.path}" and self.asked.items() <= members.items()


def completion(text: str, finish_reason: str | None) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
    return msgspec.json.encode(
        {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-test", "choices": [choice]}
    )


COMPLETION_FRAMES = [
    *(write_frame(completion(text, None)) for text in ("A ", "call, ")),
    write_frame(completion("", "stop")),
    DONE,
]


def says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


LIMIT = {"max_tokens": 1000}

# Each asks something else, so that no two share an answer.
FORMS = (
    Form("responses stream", "/responses", {"input": "A"}, Answer(frames=samples.responses_frames(12)), 6),
    Form("responses json", "/responses", {"input": "B"}, Answer(body=samples.responses_body(1000))),
    Form("chat stream", "/chat/completions", says("A"), Answer(frames=samples.chat_frames(6)), 2),
    Form("chat json", "/chat/completions", says("B"), Answer(body=samples.chat_body(1000))),
    Form("completions stream", "/completions", {"prompt": "A"}, Answer(frames=COMPLETION_FRAMES), 1),
    Form("completions json", "/completions", {"prompt": "B"}, Answer(body=completion("A call", "stop"))),
    Form(
        "embeddings json",
        "/embeddings",
        {"input": "A", "encoding_format": "float"},
        Answer(body=samples.embeddings_body()),
    ),
    Form("messages stream", "/messages", says("A") | LIMIT, Answer(frames=samples.messages_frames(9)), 4),
    Form("messages json", "/messages", says("B") | LIMIT, Answer(body=samples.messages_body(1000))),
)

Breaking = Callable[[Form], Answer | None]
"""What is answered instead of a good answer; None for no connection at all."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to break."""

    upstream: str
    breaks: Breaking
    stream: str | None
    """What the client of a stream sees; None where that cannot happen to a stream."""
    json: str | None
    provider: Mapping[str, object] = field(default_factory=dict)
    messages: str | None = None
    """What the client of a stream of messages sees, where that is something else."""

    @property
    def expected(self) -> dict[str, str]:
        """What the client sees, by form."""
        both = {form.name: self.stream if form.streams else self.json for form in FORMS}
        if self.messages is not None:
            both["messages stream"] = self.messages
        return {name: outcome for name, outcome in both.items() if outcome is not None}

    @property
    def forms(self) -> list[Form]:
        return [form for form in FORMS if form.name in self.expected]

    @property
    def refuses(self) -> bool:
        return self.breaks(FORMS[0]) is None


def refused(_form: Form) -> None:
    return None


def fault(kind: Fault, at: int | None = None) -> Breaking:
    return lambda form: replace(form.good, fault=kind, at=form.at if at is None else at)


def status(code: int, body: object, **headers: str) -> Breaking:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    kind = "application/json" if raw.startswith(b"{") else "text/html"
    return lambda _form: Answer(status=code, body=raw, content_type=kind, headers=tuple(headers.items()))


def cut_error(_form: Form) -> Answer:
    return Answer(
        status=429, body=msgspec.json.encode(error("slow_down")), fault=Fault.RESET_INSIDE_FRAME, at=0
    )


def error(code: str, message: str = "It broke") -> dict[str, object]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": code}}


def nothing(form: Form) -> Answer:
    return replace(form.good, frames=form.good.frames and [], body=b"")


def compressed(form: Form) -> Answer:
    return replace(form.good, headers=(("content-encoding", "gzip"),))


def ending(frame: bytes) -> Breaking:
    """A stream whose last frame is this one."""
    return lambda form: replace(form.good, frames=[*form.good.parts[: form.at], frame])


def error_event(form: Form) -> Answer:
    told = error("overloaded", KEY)
    if form.path == "/responses":
        told |= {
            "type": "error",
            "sequence_number": form.at,
            "code": "overloaded",
            "message": KEY,
            "param": None,
        }
    if form.is_anthropic:
        details = {"error_code": "overloaded"}
        told = {"type": "error", "error": {"type": "overloaded_error", "message": KEY, "details": details}}
    return ending(write_frame(msgspec.json.encode(told), "error"))(form)


def cut_without_last_chunk(form: Form) -> Answer:
    return replace(form.good, frames=form.good.parts[: form.at], fault=Fault.NO_LAST_CHUNK)


def huge(form: Form) -> Answer:
    """10 MB in one frame, or in one body."""
    if form.streams:
        return replace(form.good, fault=Fault.HUGE_FRAME, at=form.at)
    space = b" " * (10 * 1024 * 1024)
    return replace(form.good, body=form.good.body[:-1] + space + b"}")


IMPATIENT = {"idle_timeout": Timeout(0.3), "first_byte_timeout": Timeout(0.3)}
SMALL = {"max_frame_bytes": Size(64 * 1024), "max_answer_bytes": Size(64 * 1024)}
ERROR_DATA = write_frame(msgspec.json.encode(error("overloaded", KEY)))
ERROR_LINE = ERROR_DATA.replace(b"data", b"error", 1)
PAGE = b"<html>Bad Gateway</html>"

# fmt: off
TABLE = (
    # The upstream…                       so                                           a stream                            JSON
    Row("refuses the connection",         refused,                                     "502 upstream_connect_failed",      "502 upstream_connect_failed"),
    Row("resets before the head",         fault(Fault.RESET_BEFORE_HEAD),              "502 upstream_reset",               "502 upstream_reset"),
    Row("resets in the head",             fault(Fault.RESET_IN_HEAD),                  "502 upstream_reset",               "502 upstream_reset"),
    Row("resets before the body",         fault(Fault.RESET_BETWEEN_FRAMES, 0),        "502 upstream_truncated",           "502 upstream_truncated"),
    Row("resets between frames",          fault(Fault.RESET_BETWEEN_FRAMES),           "broken upstream_truncated",        None),
    Row("resets inside a frame",          fault(Fault.RESET_INSIDE_FRAME),             "broken upstream_truncated",        "502 upstream_truncated"),
    Row("stalls before the head",         fault(Fault.STALL, -1),                      "504 upstream_first_byte_timeout",  "504 upstream_first_byte_timeout", IMPATIENT),
    Row("stalls before the body",         fault(Fault.STALL, 0),                       "504 upstream_idle_timeout",        "504 upstream_idle_timeout",       IMPATIENT),
    Row("stalls between frames",          fault(Fault.STALL),                          "broken upstream_idle_timeout",     None,                              IMPATIENT),
    Row("drips",                          fault(Fault.DRIP),                           "whole",                            "whole"),
    Row("sends no terminal event",        fault(Fault.NO_TERMINAL_EVENT),              "broken upstream_truncated",        None),
    Row("sends no last chunk",            fault(Fault.NO_LAST_CHUNK),                  "whole",                            "502 upstream_truncated"),
    Row("sends neither of them",          cut_without_last_chunk,                      "broken upstream_truncated",        None),
    Row("limits the rate",                fault(Fault.RATE_LIMITED),                   "429 rate_limit_exceeded",          "429 rate_limit_exceeded"),
    Row("limits the rate, then resets",   cut_error,                                   "429 upstream_error",               "429 upstream_error"),
    Row("is overloaded",                  fault(Fault.SERVER_ERROR),                   "503 server_error",                 "503 server_error"),
    Row("is overloaded as nobody else",   status(529, error("overloaded")),            "529 overloaded",                   "529 overloaded"),
    Row("shows the page of a proxy",      status(502, PAGE),                           "502 upstream_error",               "502 upstream_error"),
    Row("fails without a word",           status(500, b""),                            "500 upstream_error",               "500 upstream_error"),
    Row("rejects our key and echoes it",  status(401, error("invalid_api_key", KEY)),  "401 invalid_api_key",              "401 invalid_api_key"),
    Row("redirects",                      status(307, {}, location="/elsewhere"),      "502 upstream_status",              "502 upstream_status"),
    Row("shows a login page",             fault(Fault.WRONG_CONTENT_TYPE),             "502 upstream_content_type",        "502 upstream_content_type"),
    Row("answers with nothing",           nothing,                                     "502 upstream_truncated",           "502 upstream_invalid_json"),
    Row("says 200 and means an error",    status(200, error("overloaded", KEY)),       "502 overloaded",                   "502 overloaded"),
    Row("says 200 and means 429",         status(200, {"error": {"code": 429}}),       "429 429",                          "429 429"),
    Row("sends invalid JSON",             fault(Fault.INVALID_JSON),                   "broken upstream_invalid_json",     "502 upstream_invalid_json"),
    Row("sends an error as data",         ending(ERROR_DATA),                          "broken overloaded",                None, messages="broken upstream_error"),
    Row("sends an error as an event",     error_event,                                 "broken overloaded",                None),
    Row("sends an error as llama.cpp",    ending(ERROR_LINE),                          "broken upstream_error",            None),
    Row("sends a frame of 10 MB",         huge,                                        "whole",                            "whole"),
    Row("sends a frame over the limit",   huge,                                        "broken upstream_frame_too_large",  "502 upstream_answer_too_large",   SMALL),
    Row("compresses unasked",             compressed,                                  "502 upstream_protocol_error",      "502 upstream_protocol_error"),
)
# fmt: on

ROWS = [pytest.param(row, id=row.upstream) for row in TABLE]


class Upstream:
    """The simulator, which answers each form as the row says, twice, and then well."""

    def __init__(self, row: Row) -> None:
        self.simulator = Simulator(self._choose)
        self._next: dict[str, deque[Answer]] = {}
        for form in row.forms:
            answer = row.breaks(form)
            self._next[form.name] = deque([*([answer] * 2 if answer else []), form.good])

    def calls(self, form: Form) -> int:
        return sum(map(form.is_asked_by, self.simulator.calls))

    def _choose(self, received: Received) -> Answer:
        form = next(form for form in FORMS if form.is_asked_by(received))
        return self._next[form.name].popleft()


@asynccontextmanager
async def before(row: Row, folder: Path) -> AsyncIterator[tuple[Upstream, Running]]:
    """A gateway before an upstream that breaks."""
    upstream = Upstream(row)
    async with upstream.simulator as simulator, asyncio.timeout(PATIENCE):
        providers = {
            name: Provider(
                type=kind, base_url=simulator.base_url, api_key=Secret(KEY), models=(), **row.provider
            )
            for name, kind in (("up", "openai"), ("claude", "anthropic"))
        }
        settings = settings_for(folder, simulator.base_url, providers=providers)
        async with serving(settings) as running:
            if row.refuses:
                await simulator.stop()
            yield upstream, running


@dataclass(slots=True)
class Seen:
    """What became of one form of a request: broken twice, then answered well, then asked once more."""

    outcome: str
    """The first answer."""
    raised: str
    """What the official client made of the second."""
    is_good: bool
    """Whether the third and the fourth answer were what the upstream has."""
    results: list[str]
    """What the cache did for the first, third and fourth."""
    calls: int
    """How often the upstream was called."""
    retry_after: bool
    leaked: bool
    """Whether our key to the upstream was shown."""
    kept: list[str]
    """The ids of whole Responses answers."""


@dataclass(slots=True)
class Course:
    """What a row of the table led to, by form."""

    seen: dict[str, Seen] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    """The ids of the responses that were stored."""
    ledger: dict[str, list[tuple[str, int, str | None]]] = field(default_factory=dict)
    """Cache result, status and error of each turn."""

    def each(self, name: str) -> dict[str, object]:
        return {form: getattr(seen, name) for form, seen in self.seen.items()}


def course_of(upstream: str) -> Course:
    """Run a row of the table."""
    row = next(row for row in TABLE if row.upstream == upstream)
    course = Course()
    with TemporaryDirectory() as folder:
        uvloop.run(follow(row, Path(folder), course))
        with closing(sqlite3.connect(Path(folder) / "antiphon.db")) as database:
            course.kept = [found for (found,) in database.execute("SELECT id FROM responses ORDER BY id")]
            turns = database.execute("SELECT dialect, stream, cache, status, error FROM usage ORDER BY rowid")
            for dialect, stream, *turn in turns:
                course.ledger.setdefault(f"{dialect} {'stream' if stream else 'json'}", []).append(
                    tuple(turn)
                )
    return course


async def follow(row: Row, folder: Path, course: Course) -> None:
    async with before(row, folder) as (upstream, running), clients_of(running) as clients:
        forms = row.forms
        first = await asyncio.gather(*(ask(running, form) for form in forms))
        raised = await asyncio.gather(*(raised_by(*clients, form) for form in forms))
        if row.refuses:
            await upstream.simulator.__aenter__()
        third = await asyncio.gather(*(ask(running, form) for form in forms))
        fourth = await asyncio.gather(*(ask(running, form) for form in forms))
        for form, name, *got in zip(forms, raised, first, third, fourth, strict=True):
            sent = sent_by(row.breaks(form))
            outcome = outcome_of(form, got[0], sent)
            good = sent if outcome == "whole" else form.bytes
            course.seen[form.name] = Seen(
                outcome=outcome,
                raised=name,
                is_good=as_sent(got[1]) == as_sent(got[2]) == good,
                results=[CACHE_RESULT.search(each.head)[1].decode() for each in got],
                calls=upstream.calls(form),
                retry_after=b"retry-after: 7" in got[0].head,
                leaked=any(KEY.encode() in each.raw for each in got),
                kept=[own_id(each) for each in (got if outcome == "whole" else got[1:])],
            )


def sent_by(answer: Answer | None) -> bytes:
    return b"".join(faulted(answer).parts) if answer else b""


async def ask(running: Running, form: Form) -> Got:
    body = msgspec.json.encode(form.members)
    async with connected(running.url) as client:
        head = (
            f"POST /v1{form.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
        )
        # As the official client says: it changes the answer.
        head += f"anthropic-version: {ANTHROPIC_API_VERSION}\r\n\r\n"
        client.writer.write(head.encode() + body)
        return Got(await client.reader.read())


@asynccontextmanager
async def clients_of(running: Running) -> AsyncIterator[tuple[openai.AsyncOpenAI, anthropic.AsyncAnthropic]]:
    async with (
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=0) as of_openai,
        anthropic.AsyncAnthropic(base_url=running.url, api_key="any", max_retries=0) as of_anthropic,
    ):
        yield of_openai, of_anthropic


async def raised_by(client: openai.AsyncOpenAI, other: anthropic.AsyncAnthropic, form: Form) -> str:
    create = {
        "/messages": other.messages.create,
        "/responses": client.responses.create,
        "/chat/completions": client.chat.completions.create,
        "/completions": client.completions.create,
        "/embeddings": client.embeddings.create,
    }[form.path]
    try:
        answer = await create(**form.members)
        if form.streams:
            async for _ in answer:
                pass
    except openai.APIError as fault:
        return f"{type(fault).__name__} {fault.code}"
    except anthropic.APIStatusError as fault:
        return f"{type(fault).__name__} {fault.error_code}"
    return "whole"


def own_id(got: Got) -> str:
    found = OWN_ID.search(got.body)
    return found[0].decode() if found else ""


def as_sent(got: Got) -> bytes:
    """The body without what the gateway changes in every answer of the Responses API."""
    return CREATED_AT.sub(b'"created_at":1700000000', OWN_ID.sub(b"resp_simulated", got.body))


def outcome_of(form: Form, got: Got, sent: bytes) -> str:
    """Say how a client fared, in the words of the table."""
    body = as_sent(got)
    if not got.is_whole:
        return "cut"
    if got.status != 200:
        return f"{got.status} {code_of(form, json.loads(body))}"
    if form.good.frames is None:
        return "whole" if body == sent else "garbled"
    frames = FrameReader(1 << 30).feed(body)
    if frames[: form.at] != form.good.parts[: form.at]:
        return "garbled"
    events = [event for frame in frames if (event := parse_frame(frame))]
    ends = {"/responses": end_of_responses, "/messages": end_of_messages}
    code = ends.get(form.path, end_of_chunks)(events)
    if code:
        return f"broken {code}"
    return "whole" if body == sent else "garbled"


def code_of(form: Form, body: dict[str, object]) -> object:
    if not form.is_anthropic:
        return body["error"]["code"]
    assert body["type"] == "error"
    return body["error"]["details"]["error_code"]


def end_of_messages(events: Sequence[Event]) -> str | None:
    """Return the code that the end of a broken stream tells, once, in the only event that clients raise at."""
    told = [json.loads(event.data) for event in events if event.type == "error"]
    if not told:
        return None if events[-1].type == "message_stop" else "nothing"
    assert (events[-1].type, len(told)) == ("error", 1)
    assert told[0]["type"] == "error"
    return told[0]["error"]["details"]["error_code"]


def end_of_chunks(events: Sequence[Event]) -> str | None:
    """Return the code that the end of a broken stream tells."""
    last = events[-1].data
    return None if last == b"[DONE]" else json.loads(last).get("error", {}).get("code")


def end_of_responses(events: Sequence[Event]) -> str | None:
    """Return the code that the end of a broken stream tells; it has to keep the grammar."""
    data = [json.loads(event.data) for event in events if event.data != b"[DONE]"]
    if data[-1]["type"] != "response.failed":
        return None
    # What an upstream says outside the API is passed on too, in front of what the API says of it.
    data = [event for event in data if "type" in event]
    error, failed = data[-2], data[-1]["response"]
    if violations(data) or error["type"] != "error" or failed["error"]["code"] != error["code"]:
        return f"against the grammar: {violations(data)}"
    return failed["error"]["code"] if failed["id"] == "resp_simulated" else f"under the id {failed['id']}"


CLIENT_RAISES = {
    "broken": openai.APIError,
    "401": openai.AuthenticationError,
    "429": openai.RateLimitError,
    **dict.fromkeys(("500", "502", "503", "504", "529"), openai.InternalServerError),
}


ANTHROPICS_RAISES = {
    "broken": anthropic.APIStatusError,
    "401": anthropic.AuthenticationError,
    "429": anthropic.RateLimitError,
    "500": anthropic.InternalServerError,
    "502": anthropic.InternalServerError,
    "503": anthropic.ServiceUnavailableError,
    "504": anthropic.GatewayTimeoutError,
    "529": anthropic.OverloadedError,
}


def raising(form: str, outcome: str) -> str:
    kind, _, code = outcome.partition(" ")
    raises = ANTHROPICS_RAISES if form.startswith("messages") else CLIENT_RAISES
    return f"{raises[kind].__name__} {code}" if code else kind


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_answer_is_told_counted_and_never_served_again(row):
    """A client sees what the table says, the ledger says the same, and the next equal request is a miss."""
    course = course_of(row.upstream)

    # One test for all of it, so that each row is run once.
    assert row.expected == course.each("outcome")
    raised = {name: raising(name, outcome) for name, outcome in row.expected.items()}
    assert raised == course.each("raised")
    assert dict.fromkeys(row.expected, False) == course.each("leaked")
    assert_only_what_is_whole_is_kept(row, course)
    assert_the_ledger_tells(row, course)


def assert_only_what_is_whole_is_kept(row: Row, course: Course) -> None:
    """The next equal request asks the upstream again; only what was whole is cached, and kept."""
    whole = {name for name, outcome in row.expected.items() if outcome == "whole"}
    unreached = 2 if row.refuses else 0
    assert {name: 1 if name in whole else 3 - unreached for name in row.expected} == course.each("calls")
    assert dict.fromkeys(row.expected, True) == course.each("is_good")
    assert {
        name: ["miss", "hit" if name in whole else "miss", "hit"] for name in row.expected
    } == course.each("results")
    # Kept are the answers of the third and fourth request, and of the first two where they were whole.
    responses = [name for name in row.expected if name.startswith("responses")]
    assert sum(4 if name in whole else 2 for name in responses) == len(course.kept)
    assert {kept for name in responses for kept in course.seen[name].kept} <= set(course.kept)


def assert_the_ledger_tells(row: Row, course: Course) -> None:
    """Its rows have the client's status, and the code of the error, or that it was the upstream's own."""
    assert row.expected.keys() == course.ledger.keys()
    for name, turns in course.ledger.items():
        kind, _, code = row.expected[name].partition(" ")
        allowed = {code, "upstream_error"} if code else {None}
        (first, second, *others), good = turns, [(200, None)] * 2
        assert ("miss", int(kind) if kind.isdigit() else 200) == first[:2]
        assert {first[2], second[2]} <= allowed
        assert good == [turn[1:] for turn in others]


def test_when_to_ask_again_is_passed_on():
    """`Retry-After` of an upstream that limits the rate reaches the client in each form."""
    course = course_of("limits the rate")

    assert dict.fromkeys(course.seen, True) == course.each("retry_after")
