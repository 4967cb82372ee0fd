"""PostgreSQL crashes while a run is under way: the run goes on, and whoever follows it hears every event once."""

import asyncio
import re

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.engine.runs import writing
from antiphon.settings import Provider, Storage
from e2e.plain_client import plain_client
from e2e.samples import responses_frames
from e2e.scenes import play
from e2e.test_background import ASKED, PATH, events_of
from serving import serving, settings_for
from waiting import eventually


@pytest.mark.parametrize("when", ["while the upstream is silent", "while it tells"])
def test_a_run_outlives_a_crash_of_the_database(tmp_path, postgres_server, postgres_url, when, monkeypatch):
    """If it is back before the run is given up, for which a busy machine needs more than two seconds."""
    monkeypatch.setattr(writing, "_PATIENCE_SECONDS", 12.0)
    frames = responses_frames()
    gate = asyncio.Event()
    told = Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)

    async def run():
        async with Simulator((told,)) as simulator:
            settings = settings_for(
                tmp_path,
                simulator.base_url,
                providers={"p": Provider(type="openai", base_url=simulator.base_url, models=())},
                storage=Storage(url=postgres_url),
            )
            async with serving(settings) as gateway, plain_client(gateway.port) as client:
                response_id = (await client.post(PATH, ASKED)).json()["id"]

                async def response():
                    return (await client.get(f"{PATH}/{response_id}")).json()

                async def has_output():
                    return (await response())["output"]

                await eventually(has_output)
                async with plain_client(gateway.port) as tail:
                    tail.send("GET", f"{PATH}/{response_id}?stream=true", b"")
                    heard = await tail.reader.readuntil(b"output_text.delta")
                    crash = asyncio.ensure_future(asyncio.to_thread(postgres_server.restart))
                    if when == "while it tells":
                        gate.set()
                    await crash
                    gate.set()
                    heard += await tail.reader.readuntil(b"[DONE]")

                async def completed():
                    got = await client.get(f"{PATH}/{response_id}")
                    return got.status == 200 and got.json()["status"] == "completed"

                await eventually(completed)
                whole = events_of((await client.get(f"{PATH}/{response_id}?stream=true")).body)
                numbers = [int(number) for number in re.findall(rb'"sequence_number": ?(\d+)', heard)]
                assert numbers == [event["sequence_number"] for event in whole] == list(range(len(whole)))
                assert len(simulator.calls) == 1

    play(run())
