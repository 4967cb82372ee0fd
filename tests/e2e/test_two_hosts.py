"""Two gateways on one PostgreSQL, as on two hosts: what one of them has begun is everybody's."""

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Background, Provider, Responses, Storage
from e2e.plain_client import PlainClient, plain_client
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play
from e2e.test_background import ASKED, PATH, events_of
from serving import Running, serving, settings_for
from waiting import eventually

LEASE = 2.0


@dataclass
class Host:
    """A gateway, and a client that speaks to it."""

    gateway: Running
    client: PlainClient

    async def response(self, response_id):
        return (await self.client.get(f"{PATH}/{response_id}")).json()

    async def ended(self, response_id):
        async def poll():
            got = await self.response(response_id)
            return got if got["status"] not in {"queued", "in_progress"} else None

        return await eventually(poll)

    async def has_output(self, response_id):
        await eventually(lambda: self._output(response_id))

    async def _output(self, response_id):
        return (await self.response(response_id))["output"]


@contextlib.asynccontextmanager
async def two_hosts(folder, url, *answers):
    """Yield both, and the upstream that they share."""
    async with Simulator(answers) as simulator:
        settings = settings_for(
            folder,
            simulator.base_url,
            providers={"p": Provider(type="openai", base_url=simulator.base_url, models=())},
            storage=Storage(url=url),
            responses=Responses(background=Background(lease=LEASE)),
        )
        async with (
            serving(settings) as first,
            serving(settings) as second,
            plain_client(first.port) as to_first,
            plain_client(second.port) as to_second,
        ):
            yield Host(first, to_first), Host(second, to_second), simulator


def held(gate):
    frames = responses_frames()
    return Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)


def test_one_accepts_the_other_is_polled_and_tails_without_a_gap(tmp_path, postgres_url):
    gate = asyncio.Event()

    async def run():
        async with two_hosts(tmp_path, postgres_url, held(gate)) as (first, second, _):
            response_id = (await first.client.post(PATH, ASKED)).json()["id"]
            await second.has_output(response_id)
            assert (await second.response(response_id))["status"] == "in_progress"
            async with plain_client(second.gateway.port) as tail:
                tail.send("GET", f"{PATH}/{response_id}?stream=true&starting_after=1", b"")
                told = await tail.reader.readuntil(b"output_text.delta")
                gate.set()
                got = await second.ended(response_id)
                told += await tail.reader.readuntil(b"[DONE]")
            whole = events_of((await first.client.get(f"{PATH}/{response_id}?stream=true")).body)
            assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
            numbers = [int(number) for number in re.findall(rb'"sequence_number": ?(\d+)', told)]
            assert numbers == list(range(2, len(whole)))
            resumed = await second.client.get(f"{PATH}/{response_id}?stream=true&starting_after=4")
            assert events_of(resumed.body) == whole[5:]
            assert got["status"] == "completed"
            assert await first.ended(response_id) == got

    play(run())


def test_the_other_cancels_and_the_upstream_is_closed_within_a_second(tmp_path, postgres_url):
    gate = asyncio.Event()

    async def run():
        async with two_hosts(tmp_path, postgres_url, held(gate)) as (first, second, simulator):
            response_id = (await first.client.post(PATH, ASKED)).json()["id"]
            await second.has_output(response_id)
            got = (await second.client.post(f"{PATH}/{response_id}/cancel", {})).json()
            assert got["status"] == "cancelled"
            await eventually(lambda: simulator.calls[0].aborted, within=1)
            assert await first.ended(response_id) == got
            assert (await first.client.post(f"{PATH}/{response_id}/cancel", {})).json() == got

    play(run())


def test_a_chain_goes_on_at_either(tmp_path, postgres_url):
    """Also where the other one has not read a word of it yet."""

    async def run():
        answers = [answer_of("responses", stream=False) for _ in range(4)]
        async with two_hosts(tmp_path, postgres_url, *answers) as (first, second, simulator):
            previous = None
            for turn, (here, there) in enumerate([(first, second), (second, first)] * 2):
                asked = {"model": "p/m", "input": f"Turn {turn}", "previous_response_id": previous}
                previous = (await here.client.post(PATH, asked)).json()["id"]

                async def is_there(there=there, previous=previous):
                    return (await there.client.get(f"{PATH}/{previous}")).status == 200

                await eventually(is_there)
            sent = json.loads(simulator.calls[-1].body)["input"]
            said = [item["content"] for item in sent if item["role"] == "user"]
            assert [each if isinstance(each, str) else each[0]["text"] for each in said] == [
                f"Turn {turn}" for turn in range(4)
            ]
            items = (await first.client.get(f"{PATH}/{previous}/input_items?limit=100")).json()
            assert len(items["data"]) == len(sent)

    play(run())


def test_what_one_deletes_is_gone_at_the_other(tmp_path, postgres_url):
    """Also from the cache in its memory."""

    async def run():
        answers = [answer_of("responses", stream=False) for _ in range(2)]
        async with two_hosts(tmp_path, postgres_url, *answers) as (first, second, simulator):
            asked = {"model": "p/m", "input": "Hi"}
            response_id = (await first.client.post(PATH, asked)).json()["id"]

            async def is_there():
                return (await second.client.get(f"{PATH}/{response_id}")).status == 200

            await eventually(is_there)
            assert (await second.client.post(PATH, asked)).is_hit
            calls = len(simulator.calls)
            assert (await second.client.delete(f"{PATH}/{response_id}")).status == 200
            assert (await first.client.get(f"{PATH}/{response_id}")).status == 404

            async def is_asked_again():
                await first.client.post(PATH, asked)
                return len(simulator.calls) > calls

            simulator.answer(answer_of("responses", stream=False))
            await eventually(is_asked_again)

    play(run())


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_other_takes_over_from_one_that_is_cut_off(tmp_path, postgres_url, is_streamed):
    """What was not promised to anybody is begun again; what was ends as failed, with what had been told."""
    gate = asyncio.Event()

    async def run():
        again = answer_of("responses", stream=True)
        async with two_hosts(tmp_path, postgres_url, held(gate), again) as (first, second, simulator):
            if is_streamed:
                first.client.send("POST", PATH, json.dumps(ASKED | {"stream": True}).encode())
                told = await first.client.reader.readuntil(b"output_text.delta")
                response_id = told.partition(b'"id":"')[2].partition(b'"')[0].decode()
            else:
                response_id = (await first.client.post(PATH, ASKED)).json()["id"]
            await second.has_output(response_id)
            cut_off(first)

            async def looked_after():
                await second.gateway.application.runs.look_after()
                return (await second.response(response_id))["status"] in {"completed", "failed"}

            await eventually(looked_after, within=3 * LEASE)
            got = await second.response(response_id)
            whole = events_of((await second.client.get(f"{PATH}/{response_id}?stream=true")).body)
            assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
            gate.set()  # whatever the one that is cut off hears now, nobody learns of it
            if is_streamed:
                assert (got["status"], got["error"]["code"]) == ("failed", "server_error")
                assert got["output"]
                assert len(simulator.calls) == 1
            else:
                assert got["status"] == "completed"
                assert len(simulator.calls) == 2
            assert await second.response(response_id) == got

    play(run())


def cut_off(host):
    """Take the database away from one of them, and leave its leases."""
    host.gateway.application.storage.database._pool.terminate()
