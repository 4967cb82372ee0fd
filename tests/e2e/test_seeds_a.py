"""The rows A of the behaviour that the project was created from: the cache, whatever is asked and by whom."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from antiphon.drivers.simulator import Answer
from antiphon.recording import codec
from antiphon.settings import Cache, Model
from antiphon.turn.grammar import violations
from e2e.callers import CALLERS
from e2e.plain_client import plain_client
from e2e.samples import (
    ANSWER_IDS,
    ANSWERED_BY,
    CREATED_AT,
    MODEL,
    PATHS,
    REQUESTS,
    TOKENS,
    chat_body,
    chat_frames,
    reasoning_item,
    responses_body,
    responses_frames,
)
from e2e.scenes import play, read_rows, scene
from embedder import Embedder, tokens, vector
from official_library import events_of, frames_of
from serving import Clock
from waiting import eventually

STREAMED = [(dialect, stream) for dialect in REQUESTS for stream in (False, True)][:-1]
"""Every route in every mode that it has; embeddings come last and have no streams."""
BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
EVERY_ROUTE = pytest.mark.parametrize("dialect", REQUESTS)
EVERY_FORM = pytest.mark.parametrize(
    ("dialect", "stream"), STREAMED, ids=[f"{dialect}-{'stream' if s else 'json'}" for dialect, s in STREAMED]
)


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


def creating(dialect: str, **members: Any) -> Callable[[Any], Any]:
    """Make the call of the official library that sends the sample request."""
    body = REQUESTS[dialect] | members
    if dialect == "chat":
        return lambda client: client.chat.completions.create(**body)
    if dialect == "embeddings":
        body["encoding_format"] = "float"
    return lambda client: getattr(client, dialect).create(**body)


# ------------------------------------------------------------------------------------------------ A1, A2, A3


@pytest.mark.parametrize("dialect", ["chat", "completions"])
def test_a1_a_stored_completion_comes_back_as_it_was(tmp_path: Path, caller: Any, dialect: str):
    """The second answer has the id and the content of the first, and no upstream was asked for it."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare(dialect, stream=False)
            official = caller(there.base_url)
            first = await official.result(creating(dialect))
            second = await official.result(creating(dialect))
            assert there.calls == 1
        assert first == second
        assert first.id == ANSWER_IDS[dialect]

    play(run())


@EVERY_FORM
def test_a2_a_hit_is_accounted_once(tmp_path: Path, caller: Any, dialect: str, stream: bool):
    """One row for each hit: that it was one, what it would have used, and when it began and ended."""

    async def run() -> None:
        clock = Clock()
        async with scene(tmp_path, clock=clock) as there:
            there.prepare(dialect, stream=stream)
            official = caller(there.base_url)
            ask = creating(dialect, **({"stream": True} if stream else {}))
            for _ in range(3):
                await (official.listed(ask) if stream else official.result(ask))
            rows = await there.rows()
            assert there.calls == 1
        assert [row["cache"] for row in rows] == ["miss", "hit", "hit"]
        for row in rows:
            tokens = (row["input_tokens"], row["output_tokens"], row["total_tokens"])
            assert tokens == TOKENS[dialect]
            assert (row["status"], row["error"], row["stream"]) == (200, None, stream)
            assert (row["dialect"], row["alias"]) == (dialect, "up/gpt-test")
            assert abs(row["time"] - clock.now) < 60
            assert 0 <= row["first_byte_us"] <= row["last_byte_us"]
        assert len({row["id"] for row in rows}) == 3

    play(run())


@pytest.mark.parametrize(
    ("dialect", "kind", "name"),
    [
        ("chat", ChatCompletion, "chat.completion"),
        ("completions", Completion, "text_completion"),
        ("embeddings", CreateEmbeddingResponse, "list"),
        ("responses", Response, "response"),
    ],
)
def test_a3_a_hit_is_the_right_kind_of_answer_for_its_route(
    tmp_path: Path, caller: Any, dialect: str, kind: type, name: str
):
    """The library finds in a hit the members that an answer of this route has."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare(dialect, stream=False)
            official = caller(there.base_url)
            answers = [await official.result(creating(dialect)) for _ in range(2)]
            assert there.calls == 1
        for answer in answers:
            assert isinstance(answer, kind)
            assert (answer.object, answer.model) == (name, ANSWERED_BY)
        said = {
            "chat": lambda answer: answer.choices[0].message.content,
            "completions": lambda answer: answer.choices[0].text,
            "embeddings": lambda answer: answer.data[0].embedding,
            "responses": lambda answer: answer.output_text,
        }[dialect]
        assert said(answers[0]) == said(answers[1])

    play(run())


# ------------------------------------------------------------------------------------------------ A4, A5


def each_vector(answer: Any) -> list[tuple[int, list[float]]]:
    return [(entry.index, entry.embedding) for entry in answer.data]


@pytest.mark.parametrize(
    ("known", "asked", "fetched"),
    [
        (["a", "c"], ["a", "b", "c"], ["b"]),
        (["a", "d"], ["a", "b", "c", "d", "e"], ["b", "c", "e"]),
        ([[1, 2]], [[3], [1, 2], [4, 5], [3]], [[3], [4, 5]]),
        (["b"], ["a", "b"], ["a"]),
    ],
    ids=["hit-fetched-hit", "hit-fetched-fetched-hit-fetched", "tokens", "fetched-hit"],
)
@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_a4_a_list_asks_the_upstream_only_for_what_is_missing(
    tmp_path: Path, caller: Any, known: list[Any], asked: list[Any], fetched: list[Any], encoding_format: Any
):
    """In the order of the request, under right indexes; it says how much was a hit, and how long it took."""
    embedder = Embedder()
    options = {} if encoding_format is None else {"encoding_format": encoding_format}

    def embed(inputs: list[Any]) -> Callable[[Any], Any]:
        return lambda client: client.embeddings.with_raw_response.create(
            model="up/small", input=inputs, **options
        )

    async def run() -> None:
        async with scene(tmp_path, answering=embedder) as there:
            official = caller(there.base_url)
            await official.result(embed(known))
            raw = await official.result(embed(asked))
            again = await official.result(embed(asked))
            rows = await there.rows()
        body = {"encoding_format": encoding_format} if encoding_format == "base64" else {}
        expected = [(index, vector(each, body)) for index, each in enumerate(asked)]
        assert each_vector(raw.parse()) == each_vector(again.parse()) == expected
        assert raw.parse().usage.prompt_tokens == sum(map(tokens, asked))
        assert embedder.asked == [known, fetched]

        there_already = sum(each in known for each in asked)
        status, timing = raw.headers["cache-status"], raw.headers["server-timing"]
        assert status == f'antiphon; fwd=partial; stored; detail="{there_already}/{len(asked)}"'
        assert float(timing.removeprefix("total;dur=")) > 0
        assert again.headers["x-cache"] == "HIT (exact)"
        assert "x-cache" not in raw.headers
        assert again.headers["server-timing"].startswith("total;dur=")
        assert [row["cache"] for row in rows] == ["miss", "partial", "hit"]

    play(run())


@pytest.mark.parametrize("model", [MODEL, "up/vendor/small", "fast"])
def test_a5_a_cached_embedding_names_the_model_that_the_provider_named(
    tmp_path: Path, caller: Any, model: str
):
    """Not the alias and not the prefixed name; without a name there is none, and that is no error."""

    async def run() -> None:
        models = {"fast": Model(target="up/vendor/small")}
        embedder = Embedder()
        async with scene(tmp_path, answering=embedder, models=models) as there:
            official = caller(there.base_url)
            for named in (ANSWERED_BY, None):
                embedder.changes, embedder.asked = {"model": named}, []
                for inputs in (["a"], ["b", "a"], ["a", "b"], ["a"]):
                    answer = await official.result(
                        lambda client, inputs=inputs, named=named: client.embeddings.create(
                            model=model,
                            input=inputs,
                            encoding_format="float",
                            extra_body={"cache": {"namespace": str(named)}},
                        )
                    )
                    assert getattr(answer, "model", None) == named
                    assert each_vector(answer) == [
                        (index, vector(each, {})) for index, each in enumerate(inputs)
                    ]
                assert embedder.asked == [["a"], ["b"]]

    play(run())


def test_a5_an_answer_without_entries_gives_none(tmp_path: Path, caller: Any):
    """Neither the first time nor when it is asked for again; the library itself takes no answer without them."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.simulator.answer(Answer(body=b'{"object":"list","data":[],"model":"m"}'))
            for _ in range(2):
                for inputs in ("a", ["a", "b"]):
                    got = await there.client.post("/v1/embeddings", {"model": "up/m", "input": inputs})
                    assert (got.status, got.json()["data"]) == (200, [])

    play(run())


# ------------------------------------------------------------------------------------------------ A6, A7


@BOTH_MODES
def test_a6_a_response_is_found_again_under_its_first_id(tmp_path: Path, caller: Any, stream: bool):
    """With `ids: original` a hit has the id, time, model, status and output of the first, and is marked."""

    async def run() -> None:
        async with scene(tmp_path, cache=Cache(ids="original")) as there:
            there.prepare("responses", stream=stream)
            official = caller(there.base_url)
            if stream:
                told = [
                    await official.listed(creating("responses", stream=True, store=True)) for _ in range(2)
                ]
                first, second = (events[-1].response for events in told)
            else:
                first, second = [await official.result(creating("responses", store=True)) for _ in range(2)]
            again = await there.again("responses", store=True, stream=stream)
            found = await official.result(lambda client: client.responses.retrieve(first.id))
            assert there.calls == 1
        assert first == second
        assert first == found
        assert (first.status, first.created_at, first.output_text) == ("completed", CREATED_AT, "Hello there")
        assert again.is_hit

    play(run())


@EVERY_FORM
@pytest.mark.parametrize("store", ["storage", "none"])
def test_a7_what_is_looked_up_is_what_was_written(tmp_path: Path, dialect: str, stream: bool, store: Any):
    """The key of the hit is that of the one entry, although the upstream was sent another body."""

    async def run() -> None:
        settings = {"cache": Cache(store=store)}
        asked = {
            "stream": stream,
            "cache": {"namespace": "n", "ttl": 100},
            "user": "somebody",
            "metadata": {"a": "b"},
            "stream_options": {"include_obfuscation": False},
            "seed": 7,
        }
        async with scene(tmp_path, **settings) as there:
            first = await there.ask(dialect, **asked)
            sent = there.simulator.calls[0].body
            second = await there.again(dialect, **asked)
            assert there.calls == 1
            if store == "storage":
                await there.written()
        assert b'"namespace"' not in sent
        assert b'"gpt-test"' in sent
        assert (first.is_hit, second.is_hit) == (False, True)
        if store == "storage":
            (entry,) = read_rows(tmp_path, "SELECT hex(digest) AS digest FROM cache_entries")
            assert f'key="{entry["digest"].lower()}"' in second.cache_status

    play(run())


# ------------------------------------------------------------------------------------------------ A8

PIECE = "x" * 60_000
"""So many of them that an answer is longer than the buffers between two sockets; a Responses stream tells its
text five times."""


@pytest.mark.parametrize("leaves", [False, True], ids=["reads on", "leaves"])
@pytest.mark.parametrize(
    ("dialect", "long_frames"),
    [("chat", lambda: chat_frames([PIECE] * 160)), ("responses", lambda: responses_frames([PIECE] * 40))],
    ids=["chat", "responses"],
)
def test_a8_a_streamed_hit_is_accounted_when_it_was_consumed(
    tmp_path: Path, dialect: str, long_frames: Callable[[], list[bytes]], leaves: bool
):
    """While the client does not read there is no row; then one hit, or none if it left before the end."""

    async def run() -> None:
        async with scene(tmp_path, Answer(frames=long_frames())) as there:
            first = await there.again(dialect, stream=True)
            async with plain_client(there.gateway.port, receive_buffer=8192) as slow:
                slow.send("POST", PATHS[dialect], REQUESTS[dialect] | {"stream": True})
                status, headers = await slow.head()
                assert (status, headers["x-cache"]) == (200, "HIT (exact)")
                # Other requests are answered and accounted meanwhile.
                await there.again(dialect, stream=False)
                assert [row["cache"] for row in await there.rows()] == ["miss", "hit"]
                if not leaves:
                    assert len(await slow.rest(headers)) == len(first.body)

            async def later_rows() -> list[dict[str, Any]]:
                return (await there.rows())[2:]

            (row,) = await eventually(later_rows)
            assert there.calls == 1
        expected = ("abandoned", 499, None) if leaves else ("hit", 200, row["cost_saved"])
        assert (row["cache"], row["status"], row["cost_saved"]) == expected

    play(run())


# ------------------------------------------------------------------------------------------------ A9, A10, A11


def test_a9_a_cached_response_is_replayed_as_events(tmp_path: Path):
    """Recorded as JSON, asked for as a stream: every event in its place, ending with the cached response."""

    async def run() -> None:
        async with scene(tmp_path, cache=Cache(ids="original")) as there:
            plain = (await there.ask("responses")).json()
            replay = await there.again("responses", stream=True)
            assert (there.calls, replay.is_hit) == (1, True)
        events = events_of(frames_of(replay.body))
        kinds = [event["type"] for event in events]
        deltas = [event for event in events if event["type"] == "response.output_text.delta"]
        assert list(dict.fromkeys(kinds)) == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert "".join(event["delta"] for event in deltas) == "Hello there"
        assert events[-1]["response"] == plain
        assert violations(events) == []

    play(run())


def test_a10_a_reasoning_item_is_replayed_with_its_summary(tmp_path: Path):
    """Its events come in order, with the index of the part and the whole text."""

    async def run() -> None:
        answer = Answer(body=responses_body("42", summary="First think."))
        async with scene(tmp_path, answer) as there:
            await there.again("responses")
            replay = await there.again("responses", stream=True)
            assert (there.calls, replay.is_hit) == (1, True)
        events = events_of(frames_of(replay.body))
        of_item = [event for event in events if event.get("output_index") == 0]
        summary = [event for event in of_item if "summary_text" in event["type"]]
        assert list(dict.fromkeys(event["type"] for event in of_item)) == [
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
        ]
        assert {event["summary_index"] for event in summary} == {0}
        assert "".join(event.get("delta", "") for event in summary) == "First think."
        assert summary[-1]["text"] == "First think."
        assert of_item[-1]["item"] == reasoning_item("First think.")
        assert events[-1]["type"] == "response.completed"

    play(run())


@BOTH_MODES
def test_a11_an_answer_is_never_replayed_on_a_route_of_another_kind(tmp_path: Path, stream: bool):
    """One body that every route understands has an entry of its own on each of them."""

    async def run() -> None:
        body = {
            "model": "up/gpt-test",
            "messages": [{"role": "user", "content": "Hi"}],
            "prompt": "Hi",
            "input": "Hi",
        }
        async with scene(tmp_path) as there:
            for dialect in ("chat", "completions", "responses"):
                there.prepare(dialect, stream=stream)
                first = await there.client.post(PATHS[dialect], body | {"stream": stream})
                assert not first.is_hit
            for streamed in (False, True):
                for dialect in ("chat", "completions", "responses"):
                    hit = await there.client.post(PATHS[dialect], body | {"stream": streamed})
                    assert hit.is_hit
                    assert kinds_of(hit.body, stream=streamed) == {KINDS[dialect][streamed]}
            assert there.calls == 3

    play(run())


KINDS = {
    "chat": ("chat.completion", "chat.completion.chunk"),
    "completions": ("text_completion", "text_completion"),
    "responses": ("response", "response"),
}


def kinds_of(body: bytes, *, stream: bool) -> set[str]:
    """Return the `object` of an answer, or of whatever in its stream has one."""
    documents = events_of(frames_of(body)) if stream else events_of([b"data: %b\n\n" % body])
    return {
        document.get("response", document)["object"]
        for document in documents
        if "object" in document.get("response", document)
    }


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("responses", chat_body()),
        ("chat", responses_body()),
        ("completions", responses_body()),
        ("embeddings", chat_body()),
    ],
)
def test_a11_an_answer_of_another_kind_is_passed_on_and_not_kept(tmp_path: Path, dialect: str, body: bytes):
    """An upstream that answers with something else is not trusted with a second request."""

    async def run() -> None:
        async with scene(tmp_path, Answer(body=body)) as there:
            answers = [await there.again(dialect) for _ in range(2)]
            assert there.calls == 2
        assert [answer.body for answer in answers] == [body] * 2
        assert not any(answer.is_hit for answer in answers)

    play(run())


def test_a11_a_chat_stream_on_the_responses_route_is_no_answer(tmp_path: Path):
    """Its chunks are not mistaken for events, and its `[DONE]` not for an end."""

    async def run() -> None:
        async with scene(tmp_path, Answer(frames=chat_frames())) as there:
            answers = [await there.again("responses", stream=True) for _ in range(2)]
            assert there.calls == 2
        for answer in answers:
            assert b'"type":"response.failed"' in answer.body
            assert b'"response.completed"' not in answer.body

    play(run())


# ------------------------------------------------------------------------------------------------ A12, A13

DIFFERENCES: dict[str, list[dict[str, Any]]] = {
    "chat": [
        {"messages": [{"role": "user", "content": "Hi "}]},
        {"messages": [{"role": "system", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [{"role": "user", "content": "Hi"}] * 2},
        {"model": "up/gpt-tesT"},
        {"model": "chat/gpt-test"},
        {"temperature": 0},
        {"temperature": 0.1},
        {"temperature": None},
        {"seed": 1},
        {"seed": True},
        {"seed": "1"},
        {"tools": []},
        {"unknown": {"a": [1, 2]}},
        {"unknown": {"a": [2, 1]}},
        {"cache": {"namespace": "n"}},
        {"cache": {"namespace": "m"}},
    ],
    "completions": [{"prompt": "hi"}, {"prompt": ["Hi"]}, {"suffix": "Hi"}, {"max_tokens": 16}],
    "responses": [
        {"input": "hi"},
        {"input": [{"role": "user", "content": "Hi"}]},
        {"instructions": ""},
        {"include": ["reasoning.encrypted_content"]},
        {"max_output_tokens": 16},
        {"text": {"format": {"type": "text"}}},
    ],
    "embeddings": [
        {"input": "hi"},
        {"input": ["Ho"]},
        {"input": [72, 105]},
        {"dimensions": 3},
        {"encoding_format": "base64"},
    ],
}


@EVERY_ROUTE
def test_a12_different_inputs_never_share_an_entry(tmp_path: Path, dialect: str):
    """Each is asked for once, and each then has a hit of its own."""

    async def run() -> None:
        changed: list[dict[str, Any]] = [{}, *DIFFERENCES[dialect]]
        async with scene(tmp_path) as there:
            for _ in range(2):
                for changes in changed:
                    await there.ask(dialect, **changes)
                assert there.calls == len(changed)
            assert len(await there.rows("hit")) == len(changed)

    play(run())


def changed_row(change: str, *values: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        with contextlib.closing(sqlite3.connect(folder / "antiphon.db")) as connection, connection:
            connection.create_function("flipped", 1, flipped)
            connection.create_function("later", 1, later)
            connection.execute(change, values)

    return apply


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


def later(data: bytes) -> bytes:
    """Return the stored form as a later version may write it: sound, and not for us."""
    start, payload = data[:2] + bytes((data[2] + 1, data[3])), data[12:]
    return start + codec._checksum(start, payload) + payload


CORRUPTIONS = {
    "a flipped bit": changed_row("UPDATE recordings SET data = flipped(data)"),
    "cut off": changed_row("UPDATE recordings SET data = substr(data, 1, length(data) - 1)"),
    "cut in its head": changed_row("UPDATE recordings SET data = substr(data, 1, 3)"),
    "empty": changed_row("UPDATE recordings SET data = x''"),
    "longer": changed_row("UPDATE recordings SET data = data || x'00'"),
    "of another version": changed_row("UPDATE recordings SET data = later(data)"),
    "of another kind": changed_row("UPDATE recordings SET data = x'80049503'"),
    "text": changed_row("UPDATE recordings SET data = 'AR'"),
    "a number": changed_row("UPDATE recordings SET data = 17"),
    "without its recording": changed_row("DELETE FROM recordings"),
    "with another identity": changed_row("UPDATE cache_entries SET identity = flipped(identity)"),
    "with an unreadable echo": changed_row("UPDATE cache_entries SET echo = x'7b22'"),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
@pytest.mark.parametrize(("dialect", "stream"), [("chat", True), ("responses", False)])
def test_a13_a_corrupt_entry_is_a_miss(
    tmp_path: Path, corrupt: Callable[[Path], None], dialect: str, stream: bool
):
    """The upstream is asked again, the client notices nothing, and the fresh answer is kept."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            first = await there.ask(dialect, stream=stream, store=False)
        corrupt(tmp_path)
        async with scene(tmp_path) as there:
            second = await there.ask(dialect, stream=stream, store=False)
            third = await there.again(dialect, stream=stream, store=False)
            assert there.calls == 1
        async with scene(tmp_path) as there:
            fourth = await there.again(dialect, stream=stream, store=False)
            assert there.calls == 0
        assert [each.status for each in (first, second, third, fourth)] == [200] * 4
        assert [each.is_hit for each in (second, third, fourth)] == [False, True, True]

    play(run())


def test_a13_an_entry_survives_a_restart(tmp_path: Path):
    """What is not corrupt is a hit: else the test above would prove nothing."""

    async def run() -> None:
        for dialect, stream in STREAMED:
            async with scene(tmp_path) as there:
                first = await there.ask(dialect, stream=stream, seed=int(stream))
            async with scene(tmp_path) as there:
                second = await there.again(dialect, stream=stream, seed=int(stream))
                assert there.calls == 0
            assert second.is_hit
            if dialect != "responses":
                assert first.body == second.body

    play(run())


def test_a13_a_file_that_is_damaged_as_a_whole_costs_no_answer(tmp_path: Path):
    """Where the database itself cannot be read any more, the upstream is asked."""

    async def run() -> None:
        async with scene(tmp_path, Answer(body=chat_body())) as there:
            await there.again("chat")
            await there.written()
            # Every page but the first, which is read only when the file is opened.
            path = tmp_path / "antiphon.db"
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * (size - 4096))
            answers = [await there.again("chat", seed=seed) for seed in (1, 2)]
            assert there.calls == 3
        assert [answer.status for answer in answers] == [200, 200]

    play(run())
