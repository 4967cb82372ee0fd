"""Background answers: accepted at once, polled, followed, resumed, cancelled."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.wire.sse import parse_frame
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, scene
from e2e.test_seeds_e import chat_stream
from waiting import eventually

PATH = "/v1/responses"
ASKED = {"model": "p/m", "input": "Hi", "background": True}


def events_of(body):
    frames = [frame + b"\n\n" for frame in body.split(b"\n\n") if frame]
    return [json.loads(parse_frame(frame).data) for frame in frames if b"data: {" in frame]


async def ended(at, response_id):
    async def poll():
        got = (await at.client.get(f"{PATH}/{response_id}")).json()
        return got if got["status"] not in {"queued", "in_progress"} else None

    return await eventually(poll)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("openai", answer_of("responses", stream=True)),
        ("openai-chat", chat_stream({"content": "Hello there"})),
    ],
)
def test_a_background_answer_is_queued_at_once_and_completes(tmp_path, kind, answer):
    async def run():
        async with scene(tmp_path, answer, p=kind) as at:
            queued = (await at.client.post(PATH, ASKED | {"metadata": {"a": "b"}})).json()
            assert (queued["status"], queued["output"], queued["usage"]) == ("queued", [], None)
            got = await ended(at, queued["id"])
            assert got["status"] == "completed", got["error"]
            assert got["output"][-1]["content"][0]["text"] == "Hello there"
            assert (got["id"], got["background"], got["store"]) == (queued["id"], True, True)
            assert (got["metadata"], got["created_at"]) == ({"a": "b"}, queued["created_at"])
            assert got["usage"]["total_tokens"] > 0

    play(run())


def test_a_streamed_background_answer_is_resumed_after_any_event(tmp_path):
    async def run():
        async with scene(tmp_path, answer_of("responses", stream=True), p="openai") as at:
            whole = await at.client.post(PATH, ASKED | {"stream": True})
            events = events_of(whole.body)
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert [event["type"] for event in events][:3] == [
                "response.created",
                "response.queued",
                "response.in_progress",
            ]
            assert events[-1]["type"] == "response.completed"
            response_id = events[0]["response"]["id"]
            for after in range(-1, len(events) + 1):
                asked = "" if after < 0 else f"&starting_after={after}"
                again = await at.client.get(f"{PATH}/{response_id}?stream=true{asked}")
                assert events_of(again.body) == events[after + 1 :]

    play(run())


def test_a_cancelled_answer_keeps_what_there_was_and_closes_the_upstream(tmp_path):
    frames = responses_frames()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)
        async with scene(tmp_path, held, p="openai") as at:
            queued = (await at.client.post(PATH, ASKED)).json()

            async def has_output():
                return (await at.client.get(f"{PATH}/{queued['id']}")).json()["output"]

            await eventually(has_output)
            for _ in range(2):
                got = (await at.client.post(f"{PATH}/{queued['id']}/cancel", {})).json()
                assert got["status"] == "cancelled"
                assert got["output"]
            await eventually(lambda: at.simulator.calls[0].aborted)
            assert await ended(at, queued["id"]) == got

    play(run())


def test_a_chain_brings_back_the_earlier_turns(tmp_path):
    async def run():
        answers = [answer_of("responses", stream=False) for _ in range(3)]
        async with scene(tmp_path, *answers, p="openai") as at:
            first = (await at.client.post(PATH, {"model": "p/m", "input": "One"})).json()
            asked = {"model": "p/m", "input": "Two", "previous_response_id": first["id"]}
            second = (await at.client.post(PATH, asked)).json()
            assert second["previous_response_id"] == first["id"]
            sent = json.loads(at.simulator.calls[1].body)
            assert "previous_response_id" not in sent
            told = [item.get("content") for item in sent["input"]]
            assert (told[0], told[-1]) == ("One", "Two")
            assert told[1][0]["text"] == "Hello there"
            items = (await at.client.get(f"{PATH}/{second['id']}/input_items?order=asc")).json()
            assert [item["content"][0]["text"] for item in items["data"]] == ["One", "Hello there", "Two"]

    play(run())
