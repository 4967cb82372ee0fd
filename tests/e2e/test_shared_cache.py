"""Gateways that share a cache: what one was answered, the others answer. Row B2 with each of the levels."""

import openai
import pytest

from antiphon.drivers.simulator import Answer, Simulator
from e2e.levels import gateways, shared_by, written
from e2e.samples import REQUESTS, responses_body, responses_frames
from e2e.scenes import play

KINDS = ["redis", "cluster", "postgres"]


@pytest.fixture(params=KINDS)
def shared(request):
    """The settings that share a level of each kind."""
    return shared_by(request, request.param)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "streamed"])
def test_b2_a_response_is_answered_from_the_shared_level_by_another_gateway(tmp_path, shared, stream):
    """Asked for with the official client, streamed and not, whichever mode was recorded."""

    async def run():
        answer = Answer(frames=responses_frames()) if stream else Answer(body=responses_body())
        async with (
            Simulator([answer]) as simulator,
            gateways(tmp_path, simulator, 2, **shared) as (first, second),
        ):
            texts = [await text_of(first, stream=stream)]
            await written(first)
            texts += [await text_of(second, stream=each) for each in (stream, not stream)]
            assert (len(set(texts)), len(simulator.calls)) == (1, 1)
            assert texts[0]
            outcomes = second.application.second_level.outcomes
            assert {name: count for name, count in outcomes.items() if count} == {
                "hit": 1
            }  # then from memory

    play(run())


async def text_of(gateway, *, stream):
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        asked = {"model": REQUESTS["responses"]["model"], "input": "Hello"}
        if not stream:
            return (await client.responses.create(**asked)).output_text
        events = [event async for event in await client.responses.create(**asked, stream=True)]
        return events[-1].response.output_text
