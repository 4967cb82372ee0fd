"""Rows C1 to C11: background answers by polling."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.engine.runs.log import feed
from antiphon.engine.turn import is_minted, mint_response_id
from antiphon.settings import Background, Model, Provider, Responses
from antiphon.turn.snapshot import Snapshot
from e2e.plain_client import plain_client
from e2e.samples import answer_of, chat_frames, frame, responses_frames
from e2e.scenes import play, scene
from e2e.test_background import ASKED, PATH, ended, events_of
from serving import Clock
from waiting import eventually

STREAM = answer_of("responses", stream=True)


def background(**changes):
    return Responses(background=Background(**changes))


def ended_by(terminal, **members):
    """The stream of the sample answer, ended by another event whose response has these members."""
    *frames, last = responses_frames()
    event = json.loads(last.partition(b"data: ")[2])
    event["response"] |= members
    event["type"] = terminal
    return [*frames, frame(event, terminal)]


def two_providers(url):
    return {
        "p": Provider(type="openai", base_url=url, models=("bare",)),
        "q": Provider(type="openai-chat", base_url=url, models=()),
    }


# C1 to C9: what is told.


def test_c1_ids_are_our_own(tmp_path):
    """Unique, and told from those of providers without a look."""

    async def run():
        async with scene(tmp_path, STREAM, p="openai") as at:
            ids = [(await at.client.post(PATH, ASKED)).json()["id"] for _ in range(5)]
            assert len(set(ids)) == 5
            assert all(map(is_minted, ids))
            theirs = json.loads(responses_frames()[0].partition(b"data: ")[2])["response"]["id"]
            for foreign in (theirs, "resp_" + "0" * 48, "msg_1", "67ccd2be-d1ec-8190-b14f-964abc054267"):
                assert not is_minted(foreign)
                assert (await at.client.get(f"{PATH}/{foreign}")).status == 404

    play(run())


def test_c2_a_new_answer_is_queued_and_is_kept_for_its_time(tmp_path):
    """With the request's metadata; its time to live counts from its last update."""
    clock = Clock()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=responses_frames(), gate=gate)
        settings = {"responses": background(ttl=100)}
        async with scene(tmp_path, held, clock=clock, p="openai", **settings) as at:
            queued = (await at.client.post(PATH, ASKED | {"metadata": {"a": "b"}})).json()
            told = {name: queued[name] for name in ("object", "status", "output", "usage", "metadata")}
            assert told == {
                "object": "response",
                "status": "queued",
                "output": [],
                "usage": None,
                "metadata": {"a": "b"},
            }
            assert queued["created_at"] == int(clock.now)
            assert (await at.client.post(PATH, ASKED)).json()["metadata"] == {}
            clock.now += 90
            gate.set()
            assert (await ended(at, queued["id"]))["status"] == "completed"
            await at.written(2, "responses")
            clock.now += 99
            assert (await at.client.get(f"{PATH}/{queued['id']}")).status == 200
            clock.now += 2
            assert (await at.client.get(f"{PATH}/{queued['id']}")).status == 404

    play(run())


def test_c2_without_a_time_of_its_own_it_is_kept_like_other_answers(tmp_path):
    clock = Clock()

    async def run():
        async with scene(tmp_path, STREAM, clock=clock, p="openai", responses=Responses(retention=50)) as at:
            queued = (await at.client.post(PATH, ASKED)).json()
            await at.written(1, "responses")
            clock.now += 49
            assert (await ended(at, queued["id"]))["status"] == "completed"
            clock.now += 2
            assert (await at.client.get(f"{PATH}/{queued['id']}")).status == 404

    play(run())


def test_c3_every_field_of_the_terminal_event_is_kept(tmp_path):
    """What the upstream says in the end is what is read, but for what only the gateway knows."""
    members = {
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
        "tool_choice": "required",
        "model": "answered-by",
        "instructions": "Be brief.",
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 999,
        "previous_response_id": None,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "truncation": "auto",
        "parallel_tool_calls": False,
        "user": "me",
        "incomplete_details": None,
        "x_unknown": {"kept": True},
    }
    answer = Answer(frames=ended_by("response.completed", **members))

    async def run():
        async with scene(tmp_path, answer, p="openai") as at:
            queued = (await at.client.post(PATH, ASKED)).json()
            got = await ended(at, queued["id"])
            assert {name: got[name] for name in members} == members
            assert (got["store"], got["id"], got["status"]) == (True, queued["id"], "completed")
            assert got["output"][0]["content"][0]["text"] == "Hello there"

    play(run())


def test_c3_output_is_replaced_as_a_whole_and_other_fields_stay():
    """An empty list clears it."""
    snapshot = Snapshot()
    first = {"id": "a", "type": "message", "content": []}
    snapshot.feed({"type": "response.created", "response": {"id": "r", "user": "me", "output": [first]}})
    assert snapshot.response == {"id": "r", "user": "me", "status": "in_progress", "output": [first]}
    snapshot.feed({"type": "response.in_progress", "response": {"output": [{"id": "b"}], "model": "m"}})
    assert (snapshot.response["output"], snapshot.response["user"]) == ([{"id": "b"}], "me")
    snapshot.feed({"type": "response.in_progress", "response": {"output": []}})
    assert (snapshot.response["output"], snapshot.response["model"]) == ([], "m")


@pytest.mark.parametrize(
    ("terminal", "members"),
    [
        (
            "response.failed",
            {"status": "failed", "error": {"code": "server_error", "message": "Out of luck"}},
        ),
        (
            "response.incomplete",
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "usage": {"input_tokens": 1, "output_tokens": 16, "total_tokens": 17},
            },
        ),
        (
            "response.incomplete",
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "content_filter"},
                "usage": None,
                "error": {"code": "filtered", "message": "No"},
            },
        ),
    ],
)
def test_c4_errors_and_details_are_kept(tmp_path, terminal, members):
    """With what there is of the output."""

    async def run():
        async with scene(tmp_path, Answer(frames=ended_by(terminal, **members)), p="openai") as at:
            queued = (await at.client.post(PATH, ASKED)).json()
            got = await ended(at, queued["id"])
            assert {name: got[name] for name in members} == members
            assert got["output"][0]["content"][0]["text"] == "Hello there"
            await at.written(1, "responses")
            assert await ended(at, queued["id"]) == got

    play(run())


def test_c5_polls_see_the_text_while_it_arrives(tmp_path):
    """Nothing is held back until more comes: what the upstream has sent is read before it sends the next."""
    texts = ("one ", "two ", "three")
    frames = responses_frames(texts)
    first_delta = next(place for place, frame in enumerate(frames) if b"text.delta" in frame)
    gates = [asyncio.Event() for _ in texts]

    async def run():
        async with scene(tmp_path, p="openai") as at:
            at.simulator.answer(Answer(frames=frames, gate_at=first_delta + 1, gate=gates[0]))
            queued = (await at.client.post(PATH, ASKED)).json()

            async def text():
                got = (await at.client.get(f"{PATH}/{queued['id']}")).json()
                parts = [part for item in got["output"] for part in item["content"]]
                return (got["status"], parts[0]["text"]) if parts and parts[0]["text"] else None

            assert await eventually(text) == ("in_progress", "one ")
            gates[0].set()
            assert (await ended(at, queued["id"]))["output"][0]["content"][0]["text"] == "one two three"

    play(run())


def test_c6_reading_cancelling_and_deleting(tmp_path):
    """The state so far, none, `cancelled`, gone."""
    gate = asyncio.Event()

    async def run():
        async with scene(tmp_path, Answer(frames=responses_frames(), gate=gate), p="openai") as at:
            unknown = f"{PATH}/{mint_response_id().decode()}"
            assert (await at.client.get(unknown)).status == 404
            assert (await at.client.post(f"{unknown}/cancel", {})).status == 404
            assert (await at.client.delete(unknown)).status == 404
            queued = (await at.client.post(PATH, ASKED)).json()
            got = (await at.client.get(f"{PATH}/{queued['id']}")).json()
            assert got["status"] in {"queued", "in_progress"}
            cancelled = (await at.client.post(f"{PATH}/{queued['id']}/cancel", {})).json()
            assert (cancelled["status"], cancelled["usage"]) == ("cancelled", None)
            deleted = (await at.client.delete(f"{PATH}/{queued['id']}")).json()
            assert deleted == {"id": queued["id"], "object": "response", "deleted": True}
            assert (await at.client.get(f"{PATH}/{queued['id']}")).status == 404

    play(run())


@pytest.mark.parametrize("kind", [bytes, str])
def test_c7_events_are_folded_by_item_and_part_whether_bytes_or_text(kind):
    """And `[DONE]` says nothing."""
    frames = [*responses_frames(("He", "llo"), summary="Thinking"), b"data: [DONE]\n\n"]
    snapshot = Snapshot()
    feed(snapshot, frames if kind is bytes else [frame.decode() for frame in frames])
    reasoning, message = snapshot.response["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Thinking"}]
    assert message["content"][0]["text"] == "Hello"
    assert snapshot.response["status"] == "completed"


@pytest.mark.parametrize("kind", ["completed", "failed", "incomplete", "cancelled"])
@pytest.mark.parametrize("says", [True, False])
def test_c8_terminal_events_give_their_status(tmp_path, kind, says):
    """If the response in it has no status, it follows from the event's type."""
    frames = ended_by(f"response.{kind}", **({"status": kind} if says else {"status": None}))

    async def run():
        async with scene(tmp_path, Answer(frames=frames), p="openai") as at:
            queued = (await at.client.post(PATH, ASKED)).json()
            assert (await ended(at, queued["id"]))["status"] == kind
            await at.written(1, "responses")
            assert (await ended(at, queued["id"]))["status"] == kind

    play(run())


@pytest.mark.parametrize(
    ("kind", "frames"),
    [("openai", responses_frames()[:-1]), ("openai-chat", chat_frames(finish=None)[:-2])],
)
@pytest.mark.parametrize("becomes", ["failed", "completed"])
def test_c9_what_a_stream_without_a_terminal_event_becomes_is_configured(tmp_path, kind, frames, becomes):
    """Its text is kept in either case."""

    async def run():
        settings = {"responses": background(on_unterminated=becomes)}
        async with scene(tmp_path, Answer(frames=frames), p=kind, **settings) as at:
            streamed = await at.client.post(PATH, ASKED | {"stream": True})
            events = events_of(streamed.body)
            assert events[-1]["type"] == f"response.{becomes}"
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            got = await ended(at, events[0]["response"]["id"])
            assert got["status"] == becomes
            assert got["output"][0]["content"][0]["text"] == "Hello there"
            if becomes == "failed":
                assert got["error"]["code"] == "upstream_truncated"
            else:
                assert (got["error"], got["output"][0]["status"]) == (None, "completed")

    play(run())


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
