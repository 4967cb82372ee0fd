"""The official client library, asynchronous and not, over a socket: every route, and every kind of error."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Key, Secret
from e2e.callers import CALLERS
from e2e.samples import (
    ANSWERED_BY,
    CREATED_AT,
    REQUESTS,
    chat_body,
    chat_frames,
    completion_frames,
    responses_body,
    responses_frames,
)
from e2e.scenes import play, scene

CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = (
    REQUESTS[name] for name in ("chat", "completions", "responses", "embeddings")
)


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


# --------------------------------------------------------------------------------------------- answers


def test_a_chat_completion_is_created(tmp_path: Path, caller: Any):
    """The library reads the answer and its usage."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("chat", stream=False)
            answer = await caller(there.base_url).result(lambda c: c.chat.completions.create(**CHAT))
        assert (answer.id, answer.model) == ("chatcmpl-1", ANSWERED_BY)
        assert answer.choices[0].message.content == "Hello there"
        assert answer.usage.total_tokens == 13

    play(run())


def test_a_chat_completion_is_streamed(tmp_path: Path, caller: Any):
    """Chunks come as the upstream sent them; usage is shown only to who asks for it."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("chat", stream=True)
            official = caller(there.base_url)
            plain = await official.listed(lambda c: c.chat.completions.create(**CHAT, stream=True))
            counted = await official.listed(
                lambda c: c.chat.completions.create(
                    **CHAT, stream=True, stream_options={"include_usage": True}
                )
            )
            assert there.calls == 1
        texts = [choice.delta.content for chunk in plain for choice in chunk.choices]
        assert texts == ["", "Hello", " there", None]
        assert {chunk.usage for chunk in plain} == {None}
        assert plain == counted[:-1]
        assert counted[-1].usage.total_tokens == 13

    play(run())


def test_the_chat_streaming_helper_assembles_the_answer(tmp_path: Path, caller: Any):
    """`chat.completions.stream` ends with the completion, from the upstream and from the cache."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("chat", stream=True)
            official = caller(there.base_url)
            told = [
                await official.helped(lambda c: c.chat.completions.stream(**CHAT), "get_final_completion")
                for _ in range(2)
            ]
            assert there.calls == 1
        for events, final in told:
            assert "content.done" in {event.type for event in events}
            assert final.choices[0].message.content == "Hello there"
            assert final.choices[0].finish_reason == "stop"

    play(run())


def test_text_completions_are_created_and_streamed(tmp_path: Path, caller: Any):
    """The streamed hit of a JSON answer has the same text."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("completions", stream=False)
            official = caller(there.base_url)
            answer = await official.result(lambda c: c.completions.create(**COMPLETIONS))
            chunks = await official.listed(lambda c: c.completions.create(**COMPLETIONS, stream=True))
            assert there.calls == 1
        assert answer.choices[0].text == "Hello there"
        assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello there"
        assert chunks[-1].choices[0].finish_reason == "stop"

    play(run())


def test_embeddings_are_created(tmp_path: Path, caller: Any):
    """The library asks for base64 unless told otherwise: that is the upstream's to answer."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("embeddings", stream=False)
            answer = await caller(there.base_url).result(
                lambda c: c.embeddings.create(**EMBEDDINGS, encoding_format="float")
            )
        assert answer.data[0].embedding == [0.25, -0.5, 0.125]
        assert answer.model == ANSWERED_BY

    play(run())


def test_a_response_is_created_retrieved_and_deleted(tmp_path: Path, caller: Any):
    """The id that the client is given is the one by which it finds the response again, until it deletes it."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("responses", stream=False)
            official = caller(there.base_url)
            created = await official.result(lambda c: c.responses.create(**RESPONSES))
            found = await official.result(lambda c: c.responses.retrieve(created.id))
            deleted = await official.result(lambda c: c.responses.with_raw_response.delete(created.id))
            with pytest.raises(openai.NotFoundError):
                await official.result(lambda c: c.responses.retrieve(created.id))
        assert created.output_text == "Hello there"
        assert created.id.startswith("resp_")
        assert created.id != "resp_up1"
        assert created == found
        assert json.loads(deleted.content) == {"id": created.id, "object": "response", "deleted": True}

    play(run())


def test_a_response_is_streamed(tmp_path: Path, caller: Any):
    """Every event comes, in order, under one id."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("responses", stream=True)
            events = await caller(there.base_url).listed(
                lambda c: c.responses.create(**RESPONSES, stream=True)
            )
        assert [event.sequence_number for event in events] == list(range(len(responses_frames())))
        assert events[-1].type == "response.completed"
        assert events[-1].response.id == events[0].response.id
        assert events[-1].response.created_at == CREATED_AT

    play(run())


def test_the_responses_streaming_helper_assembles_the_response(tmp_path: Path, caller: Any):
    """`responses.stream` ends with the response, from the upstream and from the cache."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            there.prepare("responses", stream=True)
            official = caller(there.base_url)
            told = [
                await official.helped(lambda c: c.responses.stream(**RESPONSES), "get_final_response")
                for _ in range(2)
            ]
            assert there.calls == 1
        for events, final in told:
            assert events[-1].type == "response.completed"
            assert final.output_text == "Hello there"
        assert told[0][1].id != told[1][1].id

    play(run())


class Capital(BaseModel):
    city: str


def test_a_response_is_parsed(tmp_path: Path, caller: Any):
    """`responses.parse` reads the schema's object out of the answer, from the upstream and from the cache."""

    async def run() -> None:
        async with scene(tmp_path, Answer(body=responses_body('{"city": "Paris"}'))) as there:
            official = caller(there.base_url)
            parsed = [
                await official.result(lambda c: c.responses.parse(**RESPONSES, text_format=Capital))
                for _ in range(2)
            ]
            assert there.calls == 1
        assert [each.output_parsed for each in parsed] == [Capital(city="Paris")] * 2

    play(run())


def test_models_are_listed(tmp_path: Path, caller: Any):
    """Under the names that requests may use."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            models = await caller(there.base_url).listed(lambda c: c.models.list())
        assert [model.id for model in models] == ["up/gpt-test"]

    play(run())


# --------------------------------------------------------------------------------------------- errors


def test_a_wrong_key_is_an_authentication_error(tmp_path: Path, caller: Any):
    """On every route; the right key is let in."""
    keys = (Key(name="alice", key=Secret("sk-alice")),)

    async def run() -> None:
        async with scene(tmp_path, Answer(body=chat_body()), keys=keys) as there:
            stranger = caller(there.base_url, "sk-mallory")
            for use in (
                lambda c: c.chat.completions.create(**CHAT),
                lambda c: c.completions.create(**COMPLETIONS),
                lambda c: c.embeddings.create(**EMBEDDINGS),
                lambda c: c.responses.create(**RESPONSES),
                lambda c: c.responses.retrieve("resp_1"),
                lambda c: c.responses.delete("resp_1"),
            ):
                with pytest.raises(openai.AuthenticationError) as caught:
                    await stranger.result(use)
                assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
            with pytest.raises(openai.AuthenticationError):
                await stranger.listed(lambda c: c.models.list())
            assert there.calls == 0
            alice = caller(there.base_url, "sk-alice")
            assert (await alice.result(lambda c: c.chat.completions.create(**CHAT))).id == "chatcmpl-1"

    play(run())


def test_an_unknown_model_is_not_found_and_near_ones_are_named(tmp_path: Path, caller: Any):
    """The message says what may have been meant."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            with pytest.raises(openai.NotFoundError) as caught:
                await caller(there.base_url).result(
                    lambda c: c.chat.completions.create(**CHAT | {"model": "gpt-tset"})
                )
            assert there.calls == 0
        error = caught.value
        assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
        assert "Did you mean 'up/gpt-test'?" in error.message

    play(run())


def test_an_unknown_response_is_not_found(tmp_path: Path, caller: Any):
    """Retrieving and deleting say so alike."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            official = caller(there.base_url)
            for use in (
                lambda c: c.responses.retrieve("resp_nobody"),
                lambda c: c.responses.delete("resp_nobody"),
            ):
                with pytest.raises(openai.NotFoundError) as caught:
                    await official.result(use)
                assert "resp_nobody" in caught.value.message

    play(run())


def test_a_rate_limit_of_the_upstream_is_a_rate_limit_error(tmp_path: Path, caller: Any):
    """With the upstream's message, and when to try again."""

    async def run() -> None:
        async with scene(tmp_path, Answer(fault=Fault.RATE_LIMITED)) as there:
            with pytest.raises(openai.RateLimitError) as caught:
                await caller(there.base_url).result(lambda c: c.responses.create(**RESPONSES))
        error = caught.value
        assert (error.code, error.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")
        assert "Rate limit reached" in error.message

    play(run())


@pytest.mark.parametrize(
    ("frames", "use"),
    [
        (chat_frames(), lambda c: c.chat.completions.create(**CHAT, stream=True)),
        (completion_frames(), lambda c: c.completions.create(**COMPLETIONS, stream=True)),
        (responses_frames(), lambda c: c.responses.create(**RESPONSES, stream=True)),
    ],
    ids=["chat", "completions", "responses"],
)
@pytest.mark.parametrize("fault", [Fault.NO_TERMINAL_EVENT, Fault.RESET_INSIDE_FRAME])
def test_a_failure_in_the_middle_of_a_stream_is_raised(
    tmp_path: Path, caller: Any, frames: list[bytes], use: Any, fault: Fault
):
    """Nobody takes half an answer for a whole one."""

    async def run() -> None:
        async with scene(tmp_path, Answer(frames=frames, fault=fault, at=2)) as there:
            with pytest.raises(openai.APIError) as caught:
                await caller(there.base_url).listed(use)
        # A class of its own would mean that the connection was cut without a word.
        assert type(caught.value) is openai.APIError
        assert caught.value.code

    play(run())
