"""Every native recording, played by an upstream over a socket and asked for through the gateway."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from antiphon.dialects.chat.dialect import CHAT
from antiphon.settings import Cache
from antiphon.turn.grammar import violations
from antiphon.wire.sse import DONE
from e2e.plain_client import Answer
from e2e.stage import Stage, played, stage
from official_library import (
    CHAT_ANSWERS_IT_MISREADS,
    CHAT_STREAMS_IT_FAILS,
    chat_snapshot,
    comparable_chat,
    events_of,
    final_response,
    first_answer,
    frames_of,
    without_redundant_members,
)
from recorded import Exchange, exchanges, needs_recordings

pytestmark = needs_recordings

PATHS = {
    "openai.responses": "/v1/responses",
    "openai.chat": "/v1/chat/completions",
    "openai.completions": "/v1/completions",
    "openai.embeddings": "/v1/embeddings",
}
KEPT_BY_OTHERS = {"previous_response_id", "conversation", "background"}
"""Members that the gateway refuses where it keeps state itself."""

NOT_CACHED = {
    # Responses
    "openai-openai-responses-s-671ebec8c2": "ends with response.failed",
    "azure-openai-responses-p-4216c4fbc1": "is a chat completion",
    "openai-openai-responses-p-22599d08f1": "has a status that does not exist: complete",
    "openai-openai-responses-p-6906129cf7": "is queued, not finished",
    "openai-openai-responses-p-fb111cb31c": "is queued, not finished",
    # Chat
    "gpustack-openai-chat-s-4c5e56a2b2": "ends with llama.cpp's own error field",
    "groq-openai-chat-s-f28f9347c9": "ends with an error event",
    "snowflake-openai-chat-s-57bf150f06": "tells no finish reason",
    "snowflake-openai-chat-s-831979e012": "tells no finish reason",
    "openai-openai-chat-p-c247aae737": "reached a limit that the request had not set",
    # Completions, which have a limit of 16 tokens where the request sets none
    "openai-openai-completions-s-0c09119920": "reached a limit that the request had not set",
    "openai-openai-completions-s-2127ed29f6": "reached a limit that the request had not set",
    "openai-openai-completions-s-40f308fdf4": "reached a limit that the request had not set",
    "openai-openai-completions-p-bdfa211cdb": "reached a limit that the request had not set",
    "vllm-openai-completions-p-3a5968012b": "reached a limit that the request had not set",
}
"""Answers with status 200 that are passed on and not kept. Answers with any other status never are."""

ERROR_ADDED = {
    "gpustack-openai-chat-s-4c5e56a2b2": "clients skip the field in which llama.cpp tells its error"
}
"""Streams to which the gateway adds an ending, since theirs is none that a client would notice."""

ERRORS_PUT_INTO_FORM = {
    "mistral-openai-chat-p-c552beb6f6": "tells its error as `detail`",
    "voyage-openai-embeddings-p-ead7290a6f": "tells its error as `detail`",
}
"""Errors that no client of OpenAI's would understand as they are."""

RESPONSES_THE_LIBRARY_REFUSES = {
    "bedrock-mantle-openai-responses-s-c55c0d7a4c": "begins a content part that it never added",
    "openai-openai-responses-s-49e94fd55d": "gives an item another id at its end",
    "openai-openai-responses-s-adddca67bd": "gives an item another id with each event",
    "xai-openai-responses-p-67b10d9ac7": "gives several reasoning items one id",
}


@dataclass(frozen=True)
class Play:
    """A recording, and what is asked to have it played."""

    exchange: Exchange

    @property
    def body(self) -> bytes:
        first, whole = first_answer(self.exchange.body), frames_of(self.exchange.body)
        several = any(b"response.created" in frame for frame in whole[len(first) :])
        return b"".join(first) if self.is_responses and several else self.exchange.body

    @property
    def path(self) -> str:
        return PATHS[self.exchange.api]

    @property
    def is_responses(self) -> bool:
        return self.exchange.api == "openai.responses"

    @property
    def is_stream(self) -> bool:
        return self.exchange.mode == "stream"

    @property
    def is_cached(self) -> bool:
        return self.exchange.status == 200 and self.exchange.id not in NOT_CACHED

    @property
    def content_type(self) -> str:
        recorded = (value for name, value in self.exchange.headers if name.lower() == "content-type")
        return next(recorded, "application/json")

    def request(self) -> dict[str, Any]:
        """Return the recorded request; a namespace keeps equal requests of two recordings apart."""
        body = dict(self.exchange.request or {"input": "Hi"})
        model = body.get("model") or "model"
        body = {name: value for name, value in body.items() if name not in KEPT_BY_OTHERS}
        body |= {"model": f"up/{model}", "cache": {"namespace": self.exchange.id}}
        return body | {"stream": True} if self.is_stream else body

    def request_in_other_mode(self) -> dict[str, Any]:
        options = {} if self.is_stream or self.is_responses else {"stream_options": {"include_usage": True}}
        return self.request() | {"stream": not self.is_stream} | options


EVERY_API = pytest.mark.parametrize("api", PATHS)


def all_plays(api: str) -> list[Play]:
    return [Play(exchange) for mode in ("stream", "plain") for exchange in exchanges(api, mode, None)]


def plays(*apis: str, mode: str = "") -> list[Any]:
    found = [play for api in apis or PATHS for play in all_plays(api) if mode in {"", play.exchange.mode}]
    return [pytest.param(play, id=play.exchange.id) for play in found]


def cached(*apis: str, mode: str = "") -> list[Any]:
    return [param for param in plays(*apis, mode=mode) if param.values[0].is_cached]


@dataclass(frozen=True)
class Performance:
    """What came of a recording: asked for twice, and once in the other mode if it was kept."""

    first: Answer
    second: Answer
    other: Answer | None
    calls: list[int]
    """How often the upstream was asked after each request."""
    received: bytes
    """The first request as the upstream had it."""
    now: float


async def performed(scene: Stage, play: Play) -> Performance:
    simulator, client = scene.simulator, scene.client
    before = len(simulator.calls)
    simulator.answer(played(play.exchange, play.body, play.content_type))
    requests = [play.request(), play.request()]
    if play.is_cached and play.exchange.api != "openai.embeddings":
        requests.append(play.request_in_other_mode())
    answers, calls = [], []
    for request in requests:
        answers.append(await client.post(play.path, request))
        calls.append(len(simulator.calls) - before)
    first, second, *rest = answers
    received = simulator.calls[before].body
    return Performance(first, second, rest[0] if rest else None, calls, received, scene.clock.now)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("recordings"), Cache()) as set_stage:
        yield set_stage


@pytest.fixture(scope="module")
def perform(scene: Stage) -> Callable[[Play], Performance]:
    """Play a recording; each once, however many tests look at what came of it."""
    known: dict[str, Performance] = {}

    def once(play: Play) -> Performance:
        if play.exchange.id not in known:
            known[play.exchange.id] = scene.run(performed(scene, play))
        return known[play.exchange.id]

    return once


# ------------------------------------------------------------------------------------- what a client may see


def response_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Find the response in a body or an event."""
    if document.get("object") == "response":
        return document
    inner = document.get("response")
    return inner if isinstance(inner, dict) else None


def responses_in(body: bytes, *, stream: bool) -> list[dict[str, Any]]:
    documents = events_of(frames_of(body)) if stream else [json.loads(body)]
    return [response for document in documents if (response := response_of(document))]


def ids_in(body: bytes, *, stream: bool) -> set[str]:
    return {response["id"] for response in responses_in(body, stream=stream)}


def with_id(body: bytes, old_ids: set[str], new_id: str) -> bytes:
    """Put another id wherever a JSON string is one of the old ones."""
    for old in old_ids:
        body = body.replace(json.dumps(old).encode(), json.dumps(new_id).encode())
    return body


def is_usage_chunk(frame: bytes) -> bool:
    data = re.search(rb"(?m)^data: ?(\{.*)$", frame)
    chunk = json.loads(data[1]) if data else {}
    return chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


def expected_bytes(play: Play, got: bytes) -> bytes:
    """Return what the client is to be sent, given the id that it was."""
    recorded = play.body
    if play.is_responses and play.exchange.status == 200:
        new_ids = ids_in(got, stream=play.is_stream)
        old_ids = ids_in(recorded, stream=play.is_stream)
        assert len(new_ids) == (1 if old_ids else 0)
        for new_id in new_ids:
            assert re.fullmatch("resp_[0-9a-f]{48}", new_id)
            recorded = with_id(recorded, old_ids, new_id)
        return recorded
    if not play.is_stream or (play.request().get("stream_options") or {}).get("include_usage"):
        return recorded
    return b"".join(frame for frame in frames_of(recorded) if not is_usage_chunk(frame))


# ---------------------------------------------------------------------------------------------- the first answer

Perform = Callable[[Play], Performance]


@pytest.mark.parametrize("play", plays())
def test_what_the_upstream_says_reaches_the_client_byte_for_byte(perform: Perform, play: Play):
    """Only the response's id differs, and a usage chunk that was not asked for is not shown."""
    answer = perform(play).first
    if play.exchange.id in ERRORS_PUT_INTO_FORM:
        assert answer.status == play.exchange.status
        assert answer.json()["error"]["message"] == json.loads(play.body)["detail"]
        return
    expected = expected_bytes(play, answer.body)

    assert (play.exchange.status, expected) == (answer.status, answer.body[: len(expected)])
    added = answer.body[len(expected) :]
    assert bool(added) is (play.exchange.id in ERROR_ADDED)
    if added:
        assert json.loads(added.removeprefix(b"data: "))["error"]["code"] == "upstream_error"


def is_passed_on(name: str) -> bool:
    named = name in {"retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id"}
    return named or name.startswith(("x-ratelimit-", "ratelimit", "anthropic-ratelimit-"))


@EVERY_API
def test_of_the_upstreams_headers_only_those_for_clients_are_passed_on(perform: Perform, api: str):
    """Content type, retry, rate-limit and request-id headers come through, and nothing else does."""
    for play in all_plays(api):
        headers = perform(play).first.headers
        recorded = {
            name.lower(): value for name, value in play.exchange.headers if is_passed_on(name.lower())
        }
        own = {"content-type", "x-request-id", "cache-status", "date"}
        own |= {"x-antiphon-request-id"} if "x-request-id" in recorded else set()
        if play.is_stream:
            own |= {"transfer-encoding", "cache-control", "x-accel-buffering"}
        else:
            own |= {"content-length"}
        content_type = "text/event-stream; charset=utf-8" if play.is_stream else play.content_type

        assert (play.exchange.id, content_type) == (play.exchange.id, headers["content-type"])
        assert recorded == {name: headers.get(name) for name in recorded}
        assert {*recorded, *own} == set(headers)
        assert headers["cache-status"].startswith("antiphon; fwd=miss")


@EVERY_API
def test_what_the_client_asks_reaches_the_upstream(perform: Perform, api: str):
    """Only the model's name, state, what chains need, usage in streams and the cache controls are the gateway's."""
    for play in all_plays(api):
        request = play.request()
        expected = {name: value for name, value in request.items() if name != "cache"}
        expected["model"] = request["model"].removeprefix("up/")
        if play.is_responses:
            if request.get("store") is not False:
                asked = request.get("include") or []
                expected["include"] = list(dict.fromkeys([*asked, "reasoning.encrypted_content"]))
            expected["store"] = False
        if expected.get("stream") and api in {"openai.chat", "openai.completions"}:
            expected["stream_options"] = (request.get("stream_options") or {}) | {"include_usage": True}

        assert (play.exchange.id, expected) == (play.exchange.id, json.loads(perform(play).received))


# ---------------------------------------------------------------------------------------------- the second answer

CREATED_AT = re.compile(rb'("created_at"[ \t]*:[ \t]*)[0-9.]+')


@EVERY_API
def test_exactly_the_answers_that_are_not_whole_are_asked_for_again(perform: Perform, api: str):
    """What has an error, no end, or a limit that nobody had set, is not served twice; all else is."""
    missed, called_again, expected = set(), set(), set()
    for play in all_plays(api):
        done, name = perform(play), play.exchange.id
        assert (name, play.exchange.status) == (name, done.second.status)
        missed |= set() if done.second.is_hit else {name}
        called_again |= {name} if done.calls[:2] == [1, 2] else set()
        expected |= set() if play.is_cached else {name}

    assert expected == missed
    assert expected == called_again


@pytest.mark.parametrize("play", cached())
def test_a_hit_has_the_bytes_of_the_first_answer(perform: Perform, play: Play):
    """All of them, but for the id and the time of a response; a list is put together, and is the same JSON."""
    done = perform(play)
    first, second = done.first, done.second
    inputs = play.request().get("input") if play.exchange.api == "openai.embeddings" else None
    if isinstance(inputs, list) and len(inputs) > 1:
        assert first.json() == second.json()
        return
    expected = first.body
    if play.is_responses:
        (first_id,), (second_id,) = (ids_in(each.body, stream=play.is_stream) for each in (first, second))
        created = {each.get("created_at") for each in responses_in(second.body, stream=play.is_stream)}
        assert first_id != second_id
        assert created <= {int(done.now), None}
        expected = CREATED_AT.sub(rb"\g<1>%d" % done.now, with_id(first.body, {first_id}, second_id))

    assert expected == second.body
    assert first.headers["content-type"] == second.headers["content-type"]


# ---------------------------------------------------------------------------------------------- the other mode


def in_other_mode(perform: Perform, play: Play) -> Answer:
    """Return the hit in the mode that was not recorded."""
    done = perform(play)
    assert done.other is not None
    streamed = "text/event-stream" in done.other.headers["content-type"]

    assert (200, True, not play.is_stream, 1) == (
        done.other.status,
        done.other.is_hit,
        streamed,
        done.calls[-1],
    )
    return done.other


def named_as(response: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Give a response the id and time of another, which are fresh for each answer."""
    return response | {name: other[name] for name in ("id", "created_at") if name in response}


@pytest.mark.parametrize("play", cached("openai.chat", mode="stream"))
def test_a_chat_stream_is_a_json_hit_that_the_library_would_assemble(perform: Perform, play: Play):
    """The JSON hit is what openai-python makes of the chunks; where that is wrong, what our own fold does."""
    hit = in_other_mode(perform, play)
    frames = frames_of(play.body)

    if play.exchange.id in CHAT_STREAMS_IT_FAILS:
        assert json.loads(CHAT.fold(frames)) == hit.json()
    else:
        assert comparable_chat(chat_snapshot(frames)) == comparable_chat(hit.json())


@pytest.mark.parametrize("play", cached("openai.chat", mode="plain"))
def test_a_chat_answer_is_a_streamed_hit_that_the_library_assembles(perform: Perform, play: Play):
    """openai-python assembles the JSON answer from the streamed hit; where it is wrong, our own fold does."""
    hit = in_other_mode(perform, play)
    answer = without_redundant_members(json.loads(play.body))
    frames = frames_of(hit.body)

    assert frames[-1] == DONE
    if play.exchange.id in CHAT_ANSWERS_IT_MISREADS:
        assert answer == json.loads(CHAT.fold(frames))
    else:
        assert comparable_chat(answer) == comparable_chat(chat_snapshot(frames))


def assembled_text(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Assemble a text completion; the official library has no code for that."""
    texts: dict[int, str] = {}
    reasons: dict[int, str | None] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            texts[index] = texts.get(index, "") + (choice.get("text") or "")
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
    return {"texts": texts, "reasons": reasons, "usage": usage, "id": chunks[-1]["id"]}


def text_chunks(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for data in re.findall(rb"(?m)^data: ?(\{.*)$", body)]


@pytest.mark.parametrize("play", cached("openai.completions", mode="stream"))
def test_a_text_stream_is_a_json_hit_with_the_joined_text(perform: Perform, play: Play):
    """Texts, finish reasons and usage of the chunks stand in the JSON hit."""
    hit = in_other_mode(perform, play)

    assert assembled_text(text_chunks(play.body)) == assembled_text([hit.json()])


@pytest.mark.parametrize("play", cached("openai.completions", mode="plain"))
def test_a_text_answer_is_a_streamed_hit_with_the_same_text(perform: Perform, play: Play):
    """The chunks of the streamed hit add up to the JSON answer."""
    hit = in_other_mode(perform, play)

    assert assembled_text([json.loads(play.body)]) == assembled_text(text_chunks(hit.body))


@pytest.mark.parametrize("play", cached("openai.responses", mode="stream"))
def test_a_responses_stream_is_a_json_hit_that_the_library_would_end_with(perform: Perform, play: Play):
    """The JSON hit is what openai-python ends with; where it refuses the stream, the terminal event's response."""
    hit = in_other_mode(perform, play).json()
    events = events_of(first_answer(perform(play).first.body))
    refused = play.exchange.id in RESPONSES_THE_LIBRARY_REFUSES
    final = events[-1]["response"] if refused else final_response(events)

    assert named_as(final, hit) == hit


@pytest.mark.parametrize("play", cached("openai.responses", mode="plain"))
def test_a_responses_answer_is_a_streamed_hit_that_the_library_accepts(perform: Perform, play: Play):
    """The streamed hit keeps the grammar, and openai-python ends with the JSON answer; as does the terminal event."""
    hit = in_other_mode(perform, play)
    events = events_of(frames_of(hit.body))
    refused = play.exchange.id in RESPONSES_THE_LIBRARY_REFUSES
    final = events[-1]["response"] if refused else final_response(events)

    assert violations(events) == []
    assert named_as(perform(play).first.json(), final) == final


@pytest.mark.parametrize("api", ["openai.chat", "openai.completions"])
def test_usage_is_shown_to_those_who_ask_for_it(scene: Stage, perform: Perform, api: str):
    """Of two streamed hits on one entry only the one that asks has a chunk of usage alone."""
    for play in all_plays(api):
        if not (play.is_stream and play.is_cached):
            continue
        perform(play)
        silent = {name: value for name, value in play.request().items() if name != "stream_options"}
        asking = silent | {"stream_options": {"include_usage": True}}
        shown = scene.run(scene.client.post(play.path, asking))
        hidden = scene.run(scene.client.post(play.path, silent))

        assert (play.exchange.id, True, True) == (play.exchange.id, shown.is_hit, hidden.is_hit)
        assert play.body == shown.body
        assert not any(is_usage_chunk(frame) for frame in frames_of(hidden.body))
