"""The rows D of the behaviour that the project was created from: one entry and its forms, and how it is counted."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Cache
from e2e.samples import (
    ANSWER_IDS,
    ANSWERED_BY,
    DONE,
    TOKENS,
    chat_body,
    chat_frames,
    completion_frames,
    frame,
    responses_body,
    responses_frames,
)
from e2e.scenes import play, read_rows, scene

STREAMING = pytest.mark.parametrize("dialect", ["chat", "completions", "responses"])
STREAM_TYPE = "text/event-stream; charset=utf-8"

# ------------------------------------------------------------------------------------------------ D1, D2, D3


@STREAMING
@pytest.mark.parametrize("first", [False, True], ids=["json first", "stream first"])
def test_d1_separate_entries_for_streams_and_json(tmp_path: Path, dialect: str, first: bool):
    """Each mode is asked for once, and its hit has its own content type and its own bytes."""

    async def run() -> None:
        cache = Cache(stream="separate", ids="original")
        async with scene(tmp_path, cache=cache) as there:
            told = {}
            for number, stream in enumerate((first, not first), start=1):
                told[stream] = await there.ask(dialect, stream=stream)
                assert (told[stream].is_hit, there.calls) == (False, number)
            for stream, content_type in ((True, STREAM_TYPE), (False, "application/json")):
                hit = await there.again(dialect, stream=stream)
                assert (hit.is_hit, hit.headers["content-type"]) == (True, content_type)
                assert hit.body == told[stream].body
            assert there.calls == 2
        if dialect != "responses":
            assert told[True].body.endswith(DONE)

    play(run())


@STREAMING
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_d2_only_a_hit_says_x_cache(tmp_path: Path, dialect: str, stream: bool):
    """A hit says `HIT (exact)` and its age; a miss, a by-pass and an error say nothing of the kind."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            miss = await there.ask(dialect, stream=stream)
            hit = await there.again(dialect, stream=stream)
            bypassed = await there.again(dialect, stream=stream, headers={"Cache-Control": "no-store"})
            there.simulator.answer(Answer(fault=Fault.SERVER_ERROR))
            failed = await there.again(dialect, stream=stream, seed=1)
        assert (hit.headers["x-cache"], hit.headers["age"]) == ("HIT (exact)", "0")
        for answer in (miss, bypassed, failed):
            assert not {"x-cache", "age"} & set(answer.headers)
        assert [answer.status for answer in (miss, hit, bypassed, failed)] == [200, 200, 200, 503]

    play(run())


@STREAMING
@pytest.mark.parametrize("recorded", [False, True], ids=["from json", "from a stream"])
def test_d3_a_streamed_hit_is_one_entry_in_the_ledger(tmp_path: Path, dialect: str, recorded: bool):
    """It says that it was a hit, of what, and with which tokens, whether the client asked for usage or not."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            await there.ask(dialect, stream=recorded)
            assert (await there.again(dialect, stream=True)).is_hit
            rows = await there.rows("hit")
        (row,) = rows
        assert (row["input_tokens"], row["output_tokens"], row["total_tokens"]) == TOKENS[dialect]
        assert (row["answer_id"], row["provider"], row["model"]) == (ANSWER_IDS[dialect], "up", "gpt-test")
        assert (row["status"], row["stream"], row["cost"]) == (200, 1, 0.0)

    play(run())


# ------------------------------------------------------------------------------------------------ D4

UNFINISHED: dict[str, tuple[str, Answer]] = {
    "chat: no finish reason": ("chat", Answer(frames=chat_frames(finish=None))),
    "chat: no finish reason, no marker": ("chat", Answer(frames=chat_frames(finish=None)[:-1])),
    "chat: a marker alone": ("chat", Answer(frames=[DONE])),
    "chat: nothing": ("chat", Answer(frames=[])),
    "chat: no marker, cut off": ("chat", Answer(frames=chat_frames()[:-1], fault=Fault.NO_LAST_CHUNK, at=99)),
    "chat: not JSON": ("chat", Answer(frames=[b"data: {oops\n\n", *chat_frames()])),
    "chat: an error": (
        "chat",
        Answer(frames=[*chat_frames()[:-1], frame({"error": {"message": "no"}}), DONE]),
    ),
    "completions: no finish reason": (
        "completions",
        Answer(frames=[each for each in completion_frames() if b'"stop"' not in each]),
    ),
    "completions: just stops": ("completions", Answer(frames=completion_frames()[:2])),
    "responses: no terminal event": ("responses", Answer(frames=responses_frames()[:-1])),
    "responses: only a marker": ("responses", Answer(frames=[*responses_frames()[:-1], DONE])),
    "responses: nothing": ("responses", Answer(frames=[])),
    "responses: half of its terminal event": (
        "responses",
        Answer(frames=[*responses_frames()[:-1], responses_frames()[-1][:200] + b"\n\n"]),
    ),
}


@pytest.mark.parametrize(("dialect", "answer"), UNFINISHED.values(), ids=UNFINISHED)
def test_d4_a_stream_that_is_not_whole_is_not_kept(tmp_path: Path, dialect: str, answer: Answer):
    """The next request asks the upstream again, in either mode, and is served when that answers well."""

    async def run() -> None:
        async with scene(tmp_path, answer) as there:
            for number in (1, 2):
                broken = await there.again(dialect, stream=True)
                assert (broken.is_hit, there.calls) == (False, number)
            mended = await there.ask(dialect, stream=True)
            hit = await there.again(dialect)
            assert (mended.is_hit, hit.is_hit, there.calls) == (False, True, 3)

    play(run())


# ------------------------------------------------------------------------------------------------ D5, D6


@pytest.mark.parametrize(
    "control",
    [{"headers": {"Cache-Control": "no-cache"}}, {"cache": {"no-cache": True}}],
    ids=["header", "body"],
)
@pytest.mark.parametrize("level", ["memory", "storage"])
def test_d5_no_cache_passes_by_every_level(tmp_path: Path, control: dict[str, Any], level: str):
    """The upstream is asked although there is an entry, and what it says replaces the entry."""

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            there = await stack.enter_async_context(scene(tmp_path, Answer(body=chat_body("old"))))
            await there.again("chat")
            assert (await there.again("chat")).is_hit
            if level == "storage":
                await stack.aclose()
                there = await stack.enter_async_context(scene(tmp_path))
            calls = there.calls
            there.simulator.answer(Answer(body=chat_body("new")))
            fresh = await there.again("chat", **control)
            later = await there.again("chat")
            assert there.calls == calls + 1
        assert (fresh.is_hit, later.is_hit) == (False, True)
        assert fresh.body == later.body == chat_body("new")
        assert fresh.cache_status.startswith("antiphon; fwd=bypass")

    play(run())


def test_d6_reasoning_of_a_streamed_chat_answer_is_kept_in_json(tmp_path: Path):
    """`reasoning_content` is put together from its deltas, beside the content."""

    async def run() -> None:
        frames = chat_frames(["4", "2"], reasoning=["First ", "think."])
        async with scene(tmp_path, Answer(frames=frames)) as there:
            await there.again("chat", stream=True)
            hit = await there.again("chat")
            assert (hit.is_hit, there.calls) == (True, 1)
        answer = hit.json()
        assert answer["choices"] == [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "42", "reasoning_content": "First think."},
                "finish_reason": "stop",
            }
        ]
        assert (answer["object"], answer["model"]) == ("chat.completion", ANSWERED_BY)
        assert answer["usage"]["total_tokens"] == 13

    play(run())


# ------------------------------------------------------------------------------------------------ D7


@contextlib.contextmanager
def locked(folder: Path):
    """Let nobody else write to the database."""
    with contextlib.closing(sqlite3.connect(folder / "antiphon.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_d7_writes_do_not_delay_the_answer(tmp_path: Path, stream: bool):
    """With a database that takes no writes there are answers and hits all the same."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            with locked(tmp_path):
                first = await there.ask("responses", stream=stream)
                second = await there.again("responses", stream=stream)
                assert read_rows(tmp_path, "SELECT * FROM cache_entries") == []
            await there.written()
        assert [first.status, second.status] == [200, 200]
        assert (first.is_hit, second.is_hit) == (False, True)

    play(run())


def test_d7_writes_are_finished_before_a_graceful_stop_ends(tmp_path: Path):
    """The stop waits for a slow database; entries, kept responses and the ledger are then all there."""

    async def run() -> None:
        setting = scene(tmp_path)
        there = await setting.__aenter__()
        with locked(tmp_path) as lock:
            first = await there.ask("responses")
            await there.again("responses", stream=True)
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(setting.__aexit__(None, None, None))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(stopping), 0.05)
                lock.execute("ROLLBACK")
        kept = {row["id"] for row in read_rows(tmp_path, "SELECT id FROM responses")}
        assert len(read_rows(tmp_path, "SELECT * FROM cache_entries")) == 1
        assert first.json()["id"] in kept
        assert len(kept) == 2
        rows = read_rows(tmp_path, "SELECT cache FROM usage ORDER BY rowid")
        assert [row["cache"] for row in rows] == ["miss", "hit"]
        assert json.loads(responses_body())["output"] == first.json()["output"]

    play(run())
