"""Rows C1 to C11: background answers by polling."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Background, Model, Provider, Responses
from e2e.plain_client import plain_client
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, scene
from e2e.test_background import ASKED, PATH, events_of
from waiting import eventually

STREAM = answer_of("responses", stream=True)


def background(**changes):
    return Responses(background=Background(**changes))


def frames_with(terminal, **members):
    """The stream of the sample answer, ended by another event whose response has these members."""
    *frames, last = responses_frames()
    event = json.loads(last.partition(b"data: ")[2])
    event["response"] |= members
    event["type"] = terminal
    return [*frames, b"event: %b\ndata: %b\n\n" % (terminal.encode(), json.dumps(event).encode())]


def two_providers(url):
    return {
        "p": Provider(type="openai", base_url=url, models=("bare",)),
        "q": Provider(type="openai-chat", base_url=url, models=()),
    }


# C10 and C11: who runs it.


@pytest.mark.parametrize(
    ("providers", "model", "runs"),
    [
        ("off", "p/m", False),
        ("all", "p/m", True),
        (("p",), "p/m", True),
        (("openai",), "alias", True),
        (("openai",), "bare", True),
        (("openai",), "q/m", False),
        (("openai-chat",), "p/m", False),
        (("q",), "q/arn:x:model/p", True),
    ],
)
def test_c10_whose_models_are_run_here_is_configured(tmp_path, providers, model, runs):
    """What is not run here is refused before anything is accepted, and says why."""

    async def run():
        settings = {"responses": background(providers=providers), "models": {"alias": Model(target="p/m")}}
        async with scene(tmp_path, STREAM, providers_at=two_providers, **settings) as at:
            got = await at.client.post(PATH, ASKED | {"model": model})
            if runs:
                assert got.json()["status"] == "queued"
            else:
                assert (got.status, got.json()["error"]["param"]) == (400, "background")
                assert f"'{model}'" in got.json()["error"]["message"]
                assert at.calls == 0

    play(run())


def test_c11_native_models_are_passed_to_the_upstreams_own_background_mode(tmp_path):
    """Created, polled, followed, cancelled and deleted there, under the upstream's id; whatever `providers` says."""
    body = {"id": "resp_theirs", "object": "response", "status": "queued", "background": True, "output": []}

    def theirs(**changes):
        return Answer(body=json.dumps(body | changes).encode())

    async def run():
        settings = {
            "responses": background(providers="off", native_models=("deep", "p/m")),
            "models": {"deep": Model(target="p/o3-deep"), "same": Model(target="p/m")},
        }
        answers = (
            theirs(),
            theirs(status="in_progress"),
            Answer(frames=responses_frames()),
            theirs(status="cancelled"),
        )
        async with scene(tmp_path, *answers, providers_at=two_providers, **settings) as at:
            created = await at.client.post(PATH, ASKED | {"model": "deep"})
            assert (created.status, created.json()) == (200, body)
            sent = json.loads(at.simulator.calls[0].body)
            assert (sent["model"], sent["background"], sent.get("store", True)) == ("o3-deep", True, True)
            got = await at.client.get(f"{PATH}/resp_theirs")
            assert got.json()["status"] == "in_progress"
            streamed = await at.client.get(f"{PATH}/resp_theirs?stream=true&starting_after=2")
            assert events_of(streamed.body)[-1]["type"] == "response.completed"
            cancelled = await at.client.post(f"{PATH}/resp_theirs/cancel", {})
            assert cancelled.json()["status"] == "cancelled"
            asked = [(call.method, call.path.removeprefix("/v1")) for call in at.simulator.calls]
            assert asked == [
                ("POST", "/responses"),
                ("GET", "/responses/resp_theirs"),
                ("GET", "/responses/resp_theirs?stream=true&starting_after=2"),
                ("POST", "/responses/resp_theirs/cancel"),
            ]
            # The alias is not in the list, though its target is.
            assert (await at.client.post(PATH, ASKED | {"model": "same"})).status == 400

    play(run())


def test_c11_the_streamed_id_is_known_as_soon_as_its_client_knows_it(tmp_path):
    """Whoever read the first event can poll, while the stream goes on."""
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate_at=3, gate=gate)
        polled = Answer(body=b'{"id":"resp_up1","object":"response","status":"in_progress"}')
        settings = {"responses": background(native_models=("p/m",))}
        async with (
            scene(tmp_path, held, polled, p="openai", **settings) as at,
            plain_client(at.gateway.port) as other,
            asyncio.TaskGroup() as tasks,
        ):
            stream = tasks.create_task(at.client.post(PATH, ASKED | {"stream": True}))

            async def known():
                got = await other.get(f"{PATH}/resp_up1")
                return got if got.status == 200 else None

            assert (await eventually(known)).json()["status"] == "in_progress"
            gate.set()
            assert events_of((await stream).body)[-1]["response"]["id"] == "resp_up1"

    play(run())


def test_c11_a_chain_may_leave_what_is_kept_here_and_stay_with_the_upstream(tmp_path):
    """A native model is shown what is kept here; what follows its own answer is the provider's to know."""
    theirs = Answer(body=b'{"id":"resp_theirs","object":"response","status":"queued","output":[]}')

    async def run():
        settings = {"responses": background(native_models=("p/deep",))}
        answers = (answer_of("responses", stream=False), theirs, answer_of("responses", stream=False))
        async with scene(tmp_path, *answers, p="openai", **settings) as at:
            first = (await at.client.post(PATH, {"model": "p/m", "input": "One"})).json()
            asked = {"model": "p/deep", "input": "Two", "previous_response_id": first["id"]}
            await at.client.post(PATH, asked | {"background": True})
            sent = json.loads(at.simulator.calls[1].body)
            assert sent["input"][0]["content"] == "One"
            assert (sent["background"], "previous_response_id" in sent) == (True, False)
            asked = {"model": "p/m", "input": "Three", "previous_response_id": "resp_theirs"}
            assert (await at.client.post(PATH, asked)).status == 200
            sent = json.loads(at.simulator.calls[2].body)
            assert (sent["previous_response_id"], sent["input"]) == ("resp_theirs", "Three")

    play(run())
