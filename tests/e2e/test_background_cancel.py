"""Cancelling: by any worker, at any moment, as often as one likes; and what fails on its own."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Background, Provider, Responses, Secret, Server
from drivers.sqlite.opening import held
from e2e.plain_client import plain_client
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, scene
from e2e.test_background import ASKED, PATH, ended, events_of
from e2e.test_seeds_e import chat_answer
from serving import serving, settings_for
from waiting import eventually

FRAMES = responses_frames()


def held_at(place, gate):
    return Answer(frames=FRAMES, gate_at=place % len(FRAMES), gate=gate)


async def begun(at, **changes):
    """Start an answer, and wait until there is some of it."""
    queued = (await at.client.post(PATH, ASKED | changes)).json()

    async def has_output():
        return (await at.client.get(f"{PATH}/{queued['id']}")).json()["output"]

    await eventually(has_output)
    return queued["id"]


def test_any_worker_closes_a_silent_upstream_within_a_second(tmp_path):
    """The one that runs it hears of it though its upstream says nothing."""
    gate = asyncio.Event()

    async def run():
        async with scene(tmp_path, held_at(5, gate), p="openai") as at:
            settings = settings_for(
                tmp_path, at.simulator.base_url, providers=at.gateway.application.settings.providers
            )
            async with serving(settings) as other, plain_client(other.port) as client:
                run_id = await begun(at)
                got = (await client.post(f"{PATH}/{run_id}/cancel", {})).json()
                assert (got["status"], got["usage"], got["completed_at"]) == ("cancelled", None, None)
                assert got["output"]
                await eventually(lambda: at.simulator.calls[0].aborted, within=1)
                assert (await at.client.get(f"{PATH}/{run_id}")).json() == got

    play(run())


@pytest.mark.parametrize("first", ["cancel", "completion"])
def test_the_first_wins_when_cancel_and_completion_race(tmp_path, first):
    """Both wait for storage in a known order; there is one end, and every reader is told it."""
    gate = asyncio.Event()

    async def run():
        async with (
            scene(tmp_path, held_at(-1, gate), p="openai") as at,
            plain_client(at.gateway.port) as other,
            asyncio.TaskGroup() as tasks,
        ):
            run_id = await begun(at)
            database = at.gateway.application.storage.database
            with held(database):
                before = database.queued
                if first == "completion":
                    gate.set()
                    await eventually(lambda: database.queued > before)
                cancel = tasks.create_task(other.post(f"{PATH}/{run_id}/cancel", {}))
                await eventually(lambda: database.queued > before + (first == "completion"))
                gate.set()
                await eventually(at.simulator.calls[0].over.is_set)
            wins = "cancelled" if first == "cancel" else "completed"
            assert (await cancel).json()["status"] == wins
            assert (await ended(at, run_id))["status"] == wins
            again = (await at.client.post(f"{PATH}/{run_id}/cancel", {})).json()
            assert again == (await ended(at, run_id))
            streamed = events_of((await at.client.get(f"{PATH}/{run_id}?stream=true")).body)
            ends = [event for event in streamed if event["type"] in {"response.completed", "response.failed"}]
            assert len(ends) == (first == "completion")

    play(run())


def test_attached_streams_end_without_a_terminal_event(tmp_path):
    """With `[DONE]`: there is no event for it."""
    gate = asyncio.Event()

    async def run():
        async with (
            scene(tmp_path, held_at(5, gate), p="openai") as at,
            plain_client(at.gateway.port) as other,
            asyncio.TaskGroup() as tasks,
        ):
            run_id = await begun(at)
            stream = tasks.create_task(other.get(f"{PATH}/{run_id}?stream=true"))
            log = at.gateway.application.runs.logs
            await eventually(lambda: log.open(run_id, "", "in_progress").listeners)
            await at.client.post(f"{PATH}/{run_id}/cancel", {})
            body = (await stream).body
            assert body.endswith(b"data: [DONE]\n\n")
            assert not any(b"response.%b" % end in body for end in (b"completed", b"failed", b"cancelled"))

    play(run())


def test_a_stream_of_a_deleted_answer_ends(tmp_path):
    gate = asyncio.Event()

    async def run():
        async with (
            scene(tmp_path, held_at(5, gate), p="openai") as at,
            plain_client(at.gateway.port) as other,
            asyncio.TaskGroup() as tasks,
        ):
            run_id = await begun(at)
            stream = tasks.create_task(other.get(f"{PATH}/{run_id}?stream=true"))
            log = at.gateway.application.runs.logs
            await eventually(lambda: log.open(run_id, "", "in_progress").listeners)
            assert (await at.client.delete(f"{PATH}/{run_id}")).status == 200
            assert (await stream).body.endswith(b"data: [DONE]\n\n")
            await eventually(lambda: at.simulator.calls[0].aborted)

    play(run())


def test_what_waits_is_cancelled_before_anybody_begins_it(tmp_path):
    gate = asyncio.Event()

    async def run():
        settings = {"responses": Responses(background=Background(concurrency=1))}
        async with scene(tmp_path, held_at(5, gate), p="openai", **settings) as at:
            first = await begun(at)
            second = (await at.client.post(PATH, ASKED | {"input": "2"})).json()
            got = (await at.client.post(f"{PATH}/{second['id']}/cancel", {})).json()
            assert (got["status"], got["output"]) == ("cancelled", [])
            gate.set()
            assert (await ended(at, first))["status"] == "completed"
            assert at.calls == 1

    play(run())


def test_a_synchronous_answer_cannot_be_cancelled(tmp_path):
    async def run():
        async with scene(tmp_path, answer_of("responses", stream=False), p="openai") as at:
            got = (await at.client.post(PATH, {"model": "p/m", "input": "Hi"})).json()
            refused = await at.client.post(f"{PATH}/{got['id']}/cancel", {})
            assert refused.status == 400
            assert refused.json()["error"]["message"] == "Cannot cancel a synchronous response."

    play(run())


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (Answer(fault=Fault.RATE_LIMITED), "rate_limit_exceeded", "Rate limit reached"),
        (Answer(fault=Fault.SERVER_ERROR), "server_error", "overloaded"),
        (Answer(fault=Fault.RESET_BEFORE_HEAD), None, ""),
        (Answer(frames=FRAMES, fault=Fault.RESET_BETWEEN_FRAMES, at=6), None, ""),
        (
            Answer(
                status=401,
                body=b'{"error":{"message":"Incorrect key sk-upstream-secret","type":"invalid_request_error",'
                b'"param":null,"code":"invalid_api_key"}}',
            ),
            None,
            "",
        ),
    ],
)
def test_an_upstreams_fault_is_the_runs(tmp_path, answer, code, message):
    """As `failed` with what it said, and never with our key."""

    async def run():
        def providers(url):
            return {
                "p": Provider(type="openai", base_url=url, api_key=Secret("sk-upstream-secret"), models=())
            }

        async with scene(tmp_path, answer, providers_at=providers) as at:
            queued = (await at.client.post(PATH, ASKED)).json()
            assert queued["status"] == "queued"
            got = await ended(at, queued["id"])
            assert got["status"] == "failed"
            assert got["error"]["code"]
            assert code in (None, got["error"]["code"])
            assert message in got["error"]["message"]
            assert "sk-upstream-secret" not in json.dumps(got)
            assert got["usage"] is None

    play(run())


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "no_such_tool"}]}, "tools[0].type"),
        ({"max_output_tokens": 1}, "max_output_tokens"),
        ({"input": [{"role": "user", "content": [{"type": "no_such_part"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "1"}]}, "input"),
        ({"store": False}, "background"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_accepted(tmp_path, changes, param):
    """With 400, not as a run that fails later."""

    async def run():
        async with scene(tmp_path, chat_answer({"content": "Hi"}), p="openai-chat") as at:
            got = await at.client.post(PATH, ASKED | changes)
            assert (got.status, got.json()["error"]["param"]) == (400, param)
            assert at.calls == 0

    play(run())


def test_an_unknown_model_is_refused_at_once(tmp_path):
    async def run():
        async with scene(tmp_path, p="openai") as at:
            got = await at.client.post(PATH, ASKED | {"model": "nobody/knows"})
            assert (got.status, got.json()["error"]["code"]) == (404, "model_not_found")

    play(run())


def test_a_silent_stream_is_kept_alive(tmp_path):
    """With comments, which are no events."""
    gate = asyncio.Event()

    async def run():
        server = Server(port=0, stream_keep_alive=0.02)
        async with (
            scene(tmp_path, held_at(5, gate), p="openai", server=server) as at,
            plain_client(at.gateway.port) as other,
        ):
            run_id = await begun(at)
            other.send("GET", f"{PATH}/{run_id}?stream=true", b"")
            await other.head()
            while not (await other.reader.readline()).startswith(b":"):
                pass
            gate.set()
            assert (await ended(at, run_id))["status"] == "completed"

    play(run())
