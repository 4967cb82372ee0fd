"""The rows B of the behaviour that the project was created from: streamed responses and the cache."""

import asyncio
import re
from pathlib import Path
from typing import Any

from antiphon.drivers.simulator import Answer
from e2e.plain_client import plain_client
from e2e.samples import PATHS, REQUESTS, reasoning_item, responses_frames
from e2e.scenes import play, read_rows, scene
from official_library import events_of, frames_of

STREAM_TYPE = "text/event-stream; charset=utf-8"


def entries(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder, "SELECT lower(hex(digest)) AS key FROM cache_entries")


def told(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, less the id and time of the response."""
    events = events_of(frames_of(body))
    for event in events:
        for name in ("id", "created_at"):
            event.get("response", {}).pop(name, None)
    return events


def test_b1_a_streamed_response_is_kept_when_its_stream_completes(tmp_path: Path):
    """Not before; then the same request is answered without an upstream, streamed, with the key in its headers."""

    async def run() -> None:
        gate = asyncio.Event()
        frames = responses_frames()
        async with scene(tmp_path, Answer(frames=frames, gate=gate, gate_at=len(frames) - 1)) as there:
            there.client.send("POST", PATHS["responses"], REQUESTS["responses"] | {"stream": True})
            status, headers = await there.client.head()
            await there.client.reader.readuntil(b"Hello")
            assert (status, "x-cache" in headers) == (200, False)
            assert (len(there.gateway.application.memory), entries(tmp_path)) == (0, [])
            gate.set()
            await there.client.reader.readuntil(b"0\r\n\r\n")
            await there.written()
            (entry,) = entries(tmp_path)

            await there.simulator.stop()
            second = await there.again("responses", stream=True)
        assert (second.status, second.is_hit) == (200, True)
        assert second.headers["content-type"] == STREAM_TYPE
        assert re.fullmatch(rf'antiphon; hit; ttl=\d+; key="{entry["key"]}"', second.cache_status)
        assert told(second.body) == told(b"".join(frames))

    play(run())


def test_b1_a_stream_that_nobody_hears_to_its_end_is_not_kept(tmp_path: Path):
    """The client leaves in the middle: the upstream is closed, and the next request asks it again."""

    async def run() -> None:
        gate = asyncio.Event()
        answer = Answer(frames=responses_frames(), gate=gate, gate_at=5)
        async with scene(tmp_path, answer) as there:
            async with plain_client(there.gateway.port) as leaving:
                leaving.send("POST", PATHS["responses"], REQUESTS["responses"] | {"stream": True})
                await leaving.head()
            await there.simulator.calls[0].over.wait()
            assert there.simulator.calls[0].aborted
            gate.set()
            second = await there.again("responses", stream=True)
            assert (second.is_hit, there.calls) == (False, 2)

    play(run())


def test_b3_null_metadata_and_a_namespace_do_not_disturb_each_other(tmp_path: Path):
    """A namespace divides the entries, and metadata, null or not, does not; each answer echoes its own."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            for namespace in ("one", "two"):
                asked = {"stream": True, "cache": {"namespace": namespace}}
                first = await there.ask("responses", **asked, metadata=None)
                assert not first.is_hit
                for metadata in ({"metadata": None}, {}, {"metadata": {}}, {"metadata": {"a": "b"}}):
                    hit = await there.again("responses", **asked, **metadata)
                    assert hit.is_hit
                    echoed = {
                        frozenset(event["response"]["metadata"].items())
                        for event in events_of(frames_of(hit.body))
                        if "response" in event
                    }
                    assert echoed == {frozenset((metadata.get("metadata") or {}).items())}
            without = await there.ask("responses", stream=True, metadata=None)
            assert (without.is_hit, there.calls) == (False, 3)
            assert all(b'"metadata":null' in call.body.replace(b" ", b"") for call in there.simulator.calls)
            assert not any(b"namespace" in call.body for call in there.simulator.calls)

    play(run())


def test_b4_a_replay_keeps_reasoning_summaries_and_is_accounted_once(tmp_path: Path):
    """Every event of the recording comes again, in either mode, and each replay is one hit."""

    async def run() -> None:
        frames = responses_frames(["4", "2"], summary="First think.")
        async with scene(tmp_path, Answer(frames=frames)) as there:
            await there.again("responses", stream=True)
            streamed = await there.again("responses", stream=True)
            plain = await there.again("responses")
            assert there.calls == 1
            rows = await there.rows()
        assert told(streamed.body) == told(b"".join(frames))
        assert plain.json()["output"][0] == reasoning_item("First think.")
        assert [row["cache"] for row in rows] == ["miss", "hit", "hit"]
        assert [row["stream"] for row in rows] == [1, 1, 0]

    play(run())
