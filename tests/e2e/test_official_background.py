"""The official client library with answers that are kept: in the background, cut off and resumed, continued."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner

from antiphon.drivers.simulator import Answer
from e2e.callers import _TLS, CALLERS
from e2e.samples import chat_frames, responses_frames
from e2e.scenes import Scene, play, scene
from waiting import eventually

ASKED: dict[str, Any] = {"model": "p/m", "input": "Hi"}
FRAMES = {"openai": responses_frames(), "openai-chat": chat_frames()}
TERMINAL = {"response.completed", "response.failed", "response.incomplete"}


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["openai", "openai-chat"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def numbered(kind: str, count: int) -> list[Answer]:
    """Return so many answers, whose items have ids of their own."""
    return [
        Answer(frames=[frame.replace(b"msg_1", b"msg_%d" % number) for frame in FRAMES[kind]])
        for number in range(count)
    ]


def held(kind: str) -> tuple[Answer, asyncio.Event]:
    """Return an answer that stops after its first piece of text, until the event is set."""
    gate = asyncio.Event()
    at = next(place for place, frame in enumerate(FRAMES[kind]) if b'"Hello"' in frame) + 1
    return Answer(frames=FRAMES[kind], gate=gate, gate_at=at), gate


def official(at: Scene) -> openai.AsyncOpenAI:
    http_client = openai.DefaultAsyncHttpxClient(verify=_TLS)
    return openai.AsyncOpenAI(base_url=at.base_url, api_key="any", max_retries=0, http_client=http_client)


async def polled(ask: Any, response_id: str) -> Any:
    """Poll until the answer has ended."""

    async def poll() -> Any:
        got = await ask.result(lambda c: c.responses.retrieve(response_id))
        return None if got.status in {"queued", "in_progress"} else got

    return await eventually(poll)


def test_an_answer_is_made_in_the_background_and_polled(tmp_path: Path, caller: Any, kind: str):
    async def run() -> None:
        async with scene(tmp_path, Answer(frames=FRAMES[kind]), p=kind) as at:
            ask = caller(at.base_url)
            queued = await ask.result(lambda c: c.responses.create(**ASKED, background=True))
            assert (queued.status, queued.background, queued.output) == ("queued", True, [])
            got = await polled(ask, queued.id)
            assert (got.id, got.status, got.output_text) == (queued.id, "completed", "Hello there")
            assert got.usage.total_tokens > 0

    play(run())


def test_a_stream_that_is_cut_off_is_resumed(tmp_path: Path, kind: str):
    """`retrieve(stream=True, starting_after=N)` and `stream(response_id=…)` go on where the connection broke."""

    async def run() -> None:
        answer, gate = held(kind)
        async with scene(tmp_path, answer, p=kind) as at, official(at) as client:
            seen: list[Any] = []
            async with await client.responses.create(**ASKED, background=True, stream=True) as stream:
                async for event in stream:
                    seen.append(event)
                    if event.type == "response.output_text.delta":
                        break
            response_id, last = seen[0].response.id, seen[-1].sequence_number
            growing = await client.responses.retrieve(response_id)
            assert (growing.status, growing.output_text) == ("in_progress", "Hello")

            async def rest() -> list[Any]:
                back = await client.responses.retrieve(response_id, stream=True, starting_after=last)
                return [event async for event in back]

            async def helped() -> tuple[list[Any], Any]:
                async with client.responses.stream(response_id=response_id, starting_after=last) as back:
                    return [event async for event in back], await back.get_final_response()

            live = asyncio.gather(rest(), helped())
            await asyncio.sleep(0)
            gate.set()
            resumed, (events, final) = await live
            whole = [*seen, *resumed]
            assert [event.sequence_number for event in whole] == list(range(len(whole)))
            assert whole[-1].type == "response.completed"
            assert final.output_text == "Hello there"
            assert [event.sequence_number for event in events] == list(range(last + 1, len(whole)))
            assert await rest() == resumed
            assert (await helped())[1].id == response_id

    play(run())


def test_a_cancelled_answer_says_so(tmp_path: Path, caller: Any, kind: str):
    async def run() -> None:
        answer, _ = held(kind)
        async with scene(tmp_path, answer, p=kind) as at:
            ask = caller(at.base_url)
            queued = await ask.result(lambda c: c.responses.create(**ASKED, background=True))
            await at.simulator.wait_for_calls(1)
            for _ in range(2):
                got = await ask.result(lambda c: c.responses.cancel(queued.id))
                assert got.status == "cancelled"
            await eventually(lambda: at.simulator.calls[0].aborted)
            assert (await ask.result(lambda c: c.responses.retrieve(queued.id))).status == "cancelled"

    play(run())


def test_what_was_made_at_once_cannot_be_cancelled(tmp_path: Path, caller: Any, kind: str):
    async def run() -> None:
        async with scene(tmp_path, Answer(frames=FRAMES[kind]), p=kind) as at:
            ask = caller(at.base_url)
            [*_, done] = await ask.listed(lambda c: c.responses.create(**ASKED, stream=True))
            with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
                await ask.result(lambda c: c.responses.cancel(done.response.id))

    play(run())


def test_a_deleted_answer_is_gone(tmp_path: Path, caller: Any, kind: str):
    """While it is made, and afterwards."""

    async def run() -> None:
        answer, gate = held(kind)
        async with scene(tmp_path, answer, p=kind) as at:
            ask = caller(at.base_url)
            for is_made in (False, True):
                queued = await ask.result(lambda c: c.responses.create(**ASKED, background=True))
                if is_made:
                    gate.set()
                    await polled(ask, queued.id)
                await ask.result(lambda c, gone=queued.id: c.responses.delete(gone))
                for use in (
                    lambda c, gone=queued.id: c.responses.retrieve(gone),
                    lambda c, gone=queued.id: c.responses.delete(gone),
                    lambda c, gone=queued.id: c.responses.cancel(gone),
                    lambda c, gone=queued.id: c.responses.input_items.list(gone),
                ):
                    with pytest.raises(openai.NotFoundError):
                        await ask.result(use)

    play(run())


def test_chains_go_on_from_any_turn_and_tell_what_was_asked(tmp_path: Path, caller: Any, kind: str):
    """Turns at once, streamed and in the background, and a branch; all items of a chain are listed in pages."""

    async def run() -> None:
        async with scene(tmp_path, *numbered(kind, 4), p=kind, cache=None) as at:
            ask = caller(at.base_url)

            async def turn(text: str, after: str | None, **how: Any) -> Any:
                asked = {"model": "p/m", "input": text, "previous_response_id": after}
                return await ask.result(lambda c: c.responses.create(**asked, **how))

            one = await turn("One", None)
            asked = {"model": "p/m", "input": "Two", "previous_response_id": one.id}
            [*_, done] = await ask.listed(lambda c: c.responses.create(**asked, stream=True))
            two = done.response
            three = await turn("Three", two.id, background=True)
            three = await polled(ask, three.id)
            branch = await turn("Other", one.id)
            assert (two.previous_response_id, three.previous_response_id) == (one.id, two.id)

            async def told(response_id: str) -> list[str]:
                items = await ask.listed(
                    lambda c: c.responses.input_items.list(response_id, order="asc", limit=2)
                )
                return [item.content[0].text for item in items]

            assert await told(three.id) == ["One", "Hello there", "Two", "Hello there", "Three"]
            assert await told(branch.id) == ["One", "Hello there", "Other"]
            with pytest.raises(openai.BadRequestError) as refused:
                await turn("Nothing", "resp_unknown")
            assert refused.value.code == "previous_response_not_found"

    play(run())


def test_an_agent_goes_on_from_its_last_answer(tmp_path: Path, kind: str):
    """openai-agents sends only what is new, and names what came before."""

    async def run() -> None:
        async with (
            scene(tmp_path, Answer(frames=FRAMES[kind]), p=kind, cache=None) as at,
            official(at) as client,
        ):
            agent = Agent(name="A", model=OpenAIResponsesModel(model="p/m", openai_client=client))
            untraced = RunConfig(tracing_disabled=True)
            first = await Runner.run(agent, "One", run_config=untraced)
            streamed = Runner.run_streamed(
                agent, "Two", previous_response_id=first.last_response_id, run_config=untraced
            )
            async for _ in streamed.stream_events():
                pass
            assert (first.final_output, streamed.final_output) == ("Hello there", "Hello there")
            assert streamed.last_response_id
            items = await client.responses.input_items.list(streamed.last_response_id, order="asc")
            assert [item.content[0].text for item in items.data] == ["One", "Hello there", "Two"]

    play(run())
