"""Reading kept responses again: as streams from any event on, with noise or without, and what the model was shown."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Cache
from antiphon.turn.grammar import violations
from conformance.upstreams import Said, upstream
from e2e.samples import frame, message_item, responses_body, responses_frames
from e2e.samples import response as response_object
from e2e.scenes import play, scene
from e2e.test_background import ended, events_of
from e2e.test_chains import PATH, create
from waiting import eventually

DELTA = "response.output_text.delta"


def noisy(frames):
    """The frames of an upstream that adds noise to its deltas."""
    told = [json.loads(each.partition(b"data: ")[2]) for each in frames]
    noise = [{"obfuscation": "aB3"} if event["type"].endswith(".delta") else {} for event in told]
    return [frame(event | more, event["type"]) for event, more in zip(told, noise, strict=True)]


def without_noise(events):
    return [{name: value for name, value in event.items() if name != "obfuscation"} for event in events]


async def streamed(at, response_id, query="", **headers):
    got = await at.client.get(f"{PATH}/{response_id}?stream=true{query}", **headers)
    assert (got.status, got.headers["content-type"]) == (200, "text/event-stream; charset=utf-8"), got.body
    assert got.body.endswith(b"data: [DONE]\n\n")
    return events_of(got.body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_a_kept_answer_is_streamed_from_any_event_on(tmp_path, kind, stream):
    """However it was recorded; by the query, or by the header that browsers send."""

    async def run():
        async with scene(tmp_path, p=kind, cache=None) as at:
            dialect = "responses" if kind == "openai" else "chat"
            at.simulator._choose = upstream(dialect, lambda _: Said(text=["Hello", " there"]))
            made = await create(at, input="Hi", stream=stream)
            events = await streamed(at, made["id"])
            assert violations(events) == []
            assert events[-1]["response"] == made
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            for after in range(len(events) + 2):
                assert await streamed(at, made["id"], f"&starting_after={after}") == events[after + 1 :]
            assert await streamed(at, made["id"], Last_Event_ID="2") == events[3:]

    play(run())


def test_noise_is_taken_away_or_added_and_changes_nothing_else(tmp_path):
    """`include_obfuscation`: without it events are as they were told."""

    async def run():
        quiet, loud = Answer(frames=responses_frames()), Answer(frames=noisy(responses_frames()))
        async with scene(tmp_path, quiet, loud, p="openai", cache=None) as at:
            for was_loud in (False, True):
                made = await create(at, input="Hi", stream=True)
                told = await streamed(at, made["id"])
                assert ("obfuscation" in json.dumps(told)) is was_loud
                assert await streamed(at, made["id"], "&include_obfuscation=false") == without_noise(told)
                noise = await streamed(at, made["id"], "&include_obfuscation=true&starting_after=3")
                assert without_noise(noise) == without_noise(told)[4:]
                for event in noise:
                    assert ("obfuscation" in event) is (event["type"] == DELTA)
                    if event["type"] == DELTA and not was_loud:
                        assert len(event["obfuscation"] + event["delta"]) % 16 == 0

    play(run())


def test_noise_is_for_runs_under_way_too(tmp_path):
    async def run():
        gate = asyncio.Event()
        held = Answer(frames=responses_frames(), gate=gate, gate_at=len(responses_frames()) - 1)
        async with scene(tmp_path, held, p="openai", cache=None) as at:
            queued = await create(at, input="Hi", background=True)
            at.client.send("GET", f"{PATH}/{queued['id']}?stream=true&include_obfuscation=true", b"")
            await at.simulator.wait_for_calls(1)
            gate.set()
            events = events_of((await at.client.answer()).body)
            deltas = [event for event in events if event["type"] == DELTA]
            assert deltas
            assert all(event["obfuscation"] for event in deltas)
            await ended(at, queued["id"])
            assert await streamed(at, queued["id"]) == without_noise(events)

    play(run())


def test_events_that_have_no_number_are_counted(tmp_path):
    """Old upstreams number nothing."""
    frames = [each.replace(b'"sequence_number": ', b'"unnumbered": ') for each in responses_frames()]

    async def run():
        async with scene(tmp_path, Answer(frames=[b": hello\n\n", *frames]), p="openai") as at:
            made = await create(at, input="Hi", stream=True)
            events = await streamed(at, made["id"])
            assert len(events) == len(frames)
            assert await streamed(at, made["id"], "&starting_after=3") == events[4:]

    play(run())


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=perhaps", "stream"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&include_obfuscation=2", "include_obfuscation"),
        ("include=nonsense", "include"),
        ("include[]=nonsense", "include"),
    ],
)
def test_what_cannot_be_asked_is_a_400(tmp_path, query, param):
    """Of a response that is there; of another one, 404."""

    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input="Hi")
            got = await at.client.get(f"{PATH}/{made['id']}?{query}")
            error = got.json()["error"]
            assert (got.status, error["code"], error["param"]) == (400, "invalid_value", param)
            assert (await at.client.get(f"{PATH}/resp_x?{query}")).status == 404

    play(run())


@pytest.mark.parametrize(
    "query", ["include[]=reasoning.encrypted_content", "include=message.output_text.logprobs"]
)
def test_what_may_be_included_is_there_in_any_case(tmp_path, query):
    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input="Hi")
            assert (await at.client.get(f"{PATH}/{made['id']}?{query}")).json() == made
            assert (await at.client.get(f"{PATH}/{made['id']}/input_items?{query}")).status == 200

    play(run())


def test_a_head_has_the_headers_alone(tmp_path):
    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input="Hi")
            whole = await at.client.get(f"{PATH}/{made['id']}")
            for path, status in ((made["id"], 200), ("resp_x", 404)):
                at.client.send("HEAD", f"{PATH}/{path}", b"")
                got, headers = await at.client.head()
                assert got == status
            assert headers["content-type"] == whole.headers["content-type"]
            assert (await at.client.get(f"{PATH}/{made['id']}")).body == whole.body

    play(run())


def test_ten_thousand_events_leave_room_for_others(tmp_path):
    """They are written a slice at a time: a request that comes meanwhile does not wait for the last of them."""
    frames = responses_frames(["word "] * 10_000)

    async def run():
        async with scene(tmp_path, Answer(frames=frames), p="openai") as at:
            made = await create(at, input="Hi", stream=True)
            slices = 0
            done = False

            async def others():
                nonlocal slices
                while not done:
                    slices += 1
                    await asyncio.sleep(0)

            beside = asyncio.ensure_future(others())
            events = await streamed(at, made["id"], "&starting_after=2")
            done = True
            await beside
            assert len(events) == len(frames) - 3
            assert slices > 20

    play(run())


# ------------------------------------------------------------------------------------------ input items


async def items_of(at, response_id, query=""):
    got = await at.client.get(f"{PATH}/{response_id}/input_items?{query}")
    assert got.status == 200, got.body
    return got.json()


def test_input_items_are_listed_a_page_at_a_time(tmp_path):
    """Newest first unless asked otherwise; each has an id of its own, which is the same every time."""
    same = {"role": "user", "content": "Same"}
    given = [same, same, {"id": "msg_x", **same}, {"id": "msg_x", **same}, {"type": "message", **same}]

    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input=given)
            whole = await items_of(at, made["id"], "order=asc")
            ids = [item["id"] for item in whole["data"]]
            assert (len(set(ids)), ids[2]) == (5, "msg_x")
            assert (whole["first_id"], whole["last_id"], whole["has_more"]) == (ids[0], ids[-1], False)
            assert [item["id"] for item in (await items_of(at, made["id"]))["data"]] == ids[::-1]
            seen, after = [], ""
            while True:
                page = await items_of(at, made["id"], f"limit=2{after}")
                seen += [item["id"] for item in page["data"]]
                if not page["has_more"]:
                    break
                after = f"&after={page['last_id']}"
            assert seen == ids[::-1]
            before = await items_of(at, made["id"], f"order=asc&before={ids[2]}")
            assert [item["id"] for item in before["data"]] == ids[:2]
            assert all(item["content"][0] == {"type": "input_text", "text": "Same"} for item in whole["data"])

    play(run())


def test_a_string_is_one_message(tmp_path):
    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input="Hi")
            (item,) = (await items_of(at, made["id"]))["data"]
            told = {"type": "message", "role": "user", "status": "completed", "id": item["id"]}
            assert item == told | {"content": [{"type": "input_text", "text": "Hi"}]}
            nothing = await create(at, input=[])
            empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
            assert await items_of(at, nothing["id"]) == empty

    play(run())


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
    ],
)
def test_bad_pages_are_refused(tmp_path, query, param):
    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            made = await create(at, input="Hi")
            got = await at.client.get(f"{PATH}/{made['id']}/input_items?{query}")
            assert (got.status, got.json()["error"]["param"]) == (400, param)

    play(run())


def test_the_input_of_a_run_can_be_listed_while_it_runs(tmp_path):
    """And is the same when it has ended."""

    async def run():
        gate = asyncio.Event()
        held = Answer(frames=responses_frames(), gate=gate, gate_at=2)
        async with scene(tmp_path, Answer(body=responses_body()), held, p="openai", cache=None) as at:
            root = await create(at, input="One")
            queued = await create(at, input="Two", background=True, previous_response_id=root["id"])
            listed = await items_of(at, queued["id"], "order=asc")
            assert [item["content"][0]["text"] for item in listed["data"]] == ["One", "Hello there", "Two"]
            gate.set()
            await ended(at, queued["id"])
            assert await items_of(at, queued["id"], "order=asc") == listed

    play(run())


# ------------------------------------------------------------------------------- reasoning across chains

REASONED = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
ENCRYPTED = "reasoning.encrypted_content"


def asked_for(at, call=-1):
    return json.loads(at.simulator.calls[call].body).get("include")


def test_native_reasoning_comes_back_encrypted(tmp_path):
    """It is asked for where the answer is kept; reasoning that nobody could read is not sent back."""
    output = [{"id": "rs_0", "type": "reasoning", "summary": []}, REASONED, message_item("Hi")]

    async def run():
        answer = Answer(body=json.dumps(response_object(output)).encode())
        async with scene(tmp_path, answer, p="openai", cache=None) as at:
            root = await create(at, input="One")
            assert asked_for(at) == [ENCRYPTED]
            assert root["output"] == output
            await create(at, input="Two", previous_response_id=root["id"])
            kinds = [item.get("id") for item in json.loads(at.simulator.calls[-1].body)["input"]]
            assert kinds == [None, "rs_1", "msg_1", None]
            await create(at, input="One", store=False)
            assert asked_for(at) is None
            await create(at, input="One", include=["message.output_text.logprobs"])
            assert asked_for(at) == ["message.output_text.logprobs", ENCRYPTED]
            await create(at, input="One", include=[ENCRYPTED])
            assert asked_for(at) == [ENCRYPTED]

    play(run())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_model_that_does_not_take_the_question_is_asked_without_it(tmp_path, stream, background):
    """Once it has refused it is not asked again, and the client does not hear of it."""

    def answer(received):
        asked = json.loads(received.body)
        if ENCRYPTED in asked.get("include", ()):
            message = "Encrypted content is not supported with this model."
            error = {"message": message, "type": "invalid_request_error", "param": "include", "code": None}
            return Answer(status=400, body=json.dumps({"error": error}).encode())
        return Answer(frames=responses_frames()) if asked.get("stream") else Answer(body=responses_body())

    async def run():
        async with scene(tmp_path, p="openai", cache=Cache()) as at:
            at.simulator._choose = answer
            for turn, calls in enumerate((2, 3)):
                made = await create(at, input=f"Turn {turn}", stream=stream, background=background)
                assert (await ended(at, made["id"]))["status"] == "completed"
                assert at.calls == calls
                assert asked_for(at) is None
            got = await at.client.post(PATH, {"model": "p/m", "input": "x", "include": [ENCRYPTED]})
            assert (got.status, got.json()["error"]["param"]) == (400, "include")
            await create(at, model="p/other", input="x")
            assert [row["status"] for row in await at.rows()].count(400) == 1

    play(run())


def test_another_refusal_is_the_clients(tmp_path):
    """It is not taken for one of the question, even if it comes in the same words."""
    error = {
        "message": "Please include a name.",
        "type": "invalid_request_error",
        "param": "tools",
        "code": "x",
    }

    async def run():
        refused = Answer(status=400, body=json.dumps({"error": error}).encode())
        async with scene(tmp_path, refused, p="openai", cache=None) as at:
            got = await at.client.post(PATH, {"model": "p/m", "input": "x"})
            assert (got.status, got.json()) == (400, {"error": error})
            at.simulator.answer(Answer(body=responses_body()))
            await create(at, input="x")
            assert asked_for(at) == [ENCRYPTED]

    play(run())


def test_who_leaves_meanwhile_is_not_asked_about_again(tmp_path):
    """The second request is for somebody who listens."""
    error = {
        "error": {"message": "include", "type": "invalid_request_error", "param": "include", "code": None}
    }

    async def run():
        gate = asyncio.Event()
        refusal = Answer(
            status=400, frames=[json.dumps(error).encode()], content_type="application/json", gate=gate
        )
        async with scene(tmp_path, refusal, p="openai", cache=None) as at:
            at.client.send("POST", PATH, {"model": "p/m", "input": "x"})
            await at.simulator.wait_for_calls(1)
            at.client.leave()
            await eventually(lambda: at.simulator.calls[0].aborted)
            gate.set()
            assert at.calls == 1

    play(run())


@pytest.mark.parametrize(("kind", "dialect"), [("anthropic", "messages"), ("openai-chat", "chat")])
def test_reasoning_of_translated_upstreams_goes_back_to_its_own_model_alone(tmp_path, kind, dialect):
    """As the upstream knows it; another model is not shown it."""

    async def run():
        async with scene(tmp_path, p=kind, cache=None) as at:
            at.simulator._choose = upstream(dialect, lambda _: Said(reasoning=["Pondering"], text=["Hello"]))
            root = await create(at, input="One", reasoning={"effort": "high"})
            assert "Pondering" in json.dumps(root["output"])
            asked = {"previous_response_id": root["id"], "reasoning": {"effort": "high"}}
            await create(at, input="Two", **asked)
            same = at.simulator.calls[-1].body
            if kind == "anthropic":
                assert b"c2lnbmVk" in same
            await create(at, input="Two", model="p/other", **asked)
            assert b"c2lnbmVk" not in at.simulator.calls[-1].body
            assert b"Hello" in at.simulator.calls[-1].body

    play(run())


def test_a_chain_goes_on_at_another_provider(tmp_path):
    """Its reasoning stays behind; what was said does not."""

    async def run():
        async with scene(tmp_path, cache=None) as at:
            chat = upstream("chat", lambda _: Said(reasoning=["Pondering"], text=["Hello"]))
            native = upstream("responses", lambda _: Said(reasoning=["Weighing"], text=["Bye"]))
            at.simulator._choose = lambda got: (chat if "chat" in got.path else native)(got)
            parent = None
            for turn, model in enumerate(("chat/m", "up/gpt-test", "chat/m", "up/gpt-test")):
                made = await create(at, model=model, input=f"Turn {turn}", previous_response_id=parent)
                parent = made["id"]
            told = at.simulator.calls[-1].body
            assert b"Pondering" not in told
            assert [told.find(word) > 0 for word in (b"Turn 0", b"Hello", b"Turn 1", b"Bye", b"Turn 3")] == [
                True
            ] * 5
            assert b"antiphon" not in told.lower()

    play(run())
