"""Chains: `previous_response_id` over every upstream, in every form, and what is refused (rows E6; specification, 12.1)."""

import asyncio
import json
from itertools import groupby

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Key, Responses, Secret
from conformance.upstreams import Said, upstream
from drivers.sqlite.opening import committed, held
from e2e.samples import (
    completion_body,
    completion_frames,
    frame,
    message_item,
    responses_body,
    responses_frames,
)
from e2e.samples import response as response_object
from e2e.scenes import play, read_rows, scene
from e2e.test_background import ended, events_of
from gateway.talking import talking
from waiting import eventually

PATH = "/v1/responses"
UPSTREAMS = {
    "openai": "responses",
    "openai-chat": "chat",
    "anthropic": "messages",
    "gemini": "gemini",
    "ollama": "ollama",
    "openai-completions": "completions",
}
CALL_OUTPUT = {"type": "function_call_output", "call_id": "call_none", "output": "3"}
KEYS = (Key(name="alice", key=Secret("sk-alice")), Key(name="bob", key=Secret("sk-bob")))
ALICE, BOB = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}


def answers(kind, texts):
    """What a simulator of this kind answers: one text after the other."""
    left = iter(texts)
    if kind == "openai-completions":

        def complete(received):
            text = next(left)
            streamed = json.loads(received.body).get("stream")
            return (
                Answer(frames=completion_frames([text])) if streamed else Answer(body=completion_body(text))
            )

        return complete
    return upstream(UPSTREAMS[kind], lambda _: Said(text=[next(left)]))


async def create(at, **members):
    """Ask for a response, and return it as the client was told it."""
    got = await at.client.post(PATH, {"model": "p/m", **members})
    assert got.status == 200, got.body
    if not members.get("stream"):
        return got.json()
    told = [event["response"] for event in events_of(got.body) if "response" in event]
    for name in ("id", "previous_response_id"):
        assert len({response.get(name) for response in told}) == 1
    return told[-1]


def sent(at, call=-1):
    return json.loads(at.simulator.calls[call].body)


def in_order(told, *words):
    """Whether a request has these words, one after the other."""
    rest = json.dumps(told)
    return all(word in rest and (rest := rest.partition(word)[2]) is not None for word in words)


# ------------------------------------------------------------------------------------ what is shown


@pytest.mark.parametrize("streamed", [(False, False), (True, True), (False, True), (True, False)])
@pytest.mark.parametrize("kind", UPSTREAMS)
def test_e6_the_earlier_turns_come_before_the_new_one(tmp_path, kind, streamed):
    """Input and output of all that is continued, and the instructions of the new request alone."""

    async def run():
        async with scene(tmp_path, p=kind, cache=None) as at:
            at.simulator._choose = answers(kind, ["Zebra", "Yak", "Xerus"])
            first = await create(at, input="One", instructions="Be brief.", stream=streamed[0])
            second = await create(
                at,
                input=[{"role": "user", "content": "Two"}],
                instructions="Be kind.",
                previous_response_id=first["id"],
                stream=streamed[1],
            )
            assert second["previous_response_id"] == first["id"]
            third = await create(at, input="Three", previous_response_id=second["id"], stream=streamed[0])
            assert in_order(sent(at, 1), "One", "Zebra", "Two")
            assert in_order(sent(at, 2), "One", "Zebra", "Two", "Yak", "Three")
            assert "Be kind." in json.dumps(sent(at, 1))
            assert "Be brief." not in json.dumps(sent(at, 1))
            assert "Be kind." not in json.dumps(sent(at, 2))
            assert "previous_response_id" not in sent(at, 2)

            for response in (second, third):
                kept = (await at.client.get(f"{PATH}/{response['id']}")).json()
                assert kept == response
                again = await at.client.get(f"{PATH}/{response['id']}?stream=true")
                assert events_of(again.body)[-1]["response"] == response
            items = (await at.client.get(f"{PATH}/{third['id']}/input_items?order=asc")).json()["data"]
            told = [item["content"][0]["text"] for item in items if item["type"] == "message"]
            assert told == ["One", "Zebra", "Two", "Yak", "Three"]

    play(run())


def test_a_response_has_many_children(tmp_path):
    async def run():
        async with scene(tmp_path, p="openai", cache=None) as at:
            at.simulator._choose = answers("openai", ["A", "B", "C", "D"])
            root = (await create(at, input="Root"))["id"]
            left = (await create(at, input="Left", previous_response_id=root))["id"]
            await create(at, input="Right", previous_response_id=root)
            assert in_order(sent(at), "Root", "A", "Right")
            assert "Left" not in json.dumps(sent(at))
            await create(at, input="Further", previous_response_id=left)
            assert in_order(sent(at), "Root", "A", "Left", "B", "Further")

    play(run())


def test_a_child_outlives_its_parent(tmp_path):
    """Deleted before, after, or while the child is made: the child has it all."""

    async def run():
        gate = asyncio.Event()
        slow = Answer(frames=responses_frames(), gate=gate, gate_at=2)
        hello = Answer(body=responses_body())
        from_storage = {"cache": None, "responses": Responses(history_memory=1)}
        async with scene(tmp_path, hello, hello, slow, hello, p="openai", **from_storage) as at:
            root = (await create(at, input="Root"))["id"]
            child = (await create(at, input="Child", previous_response_id=root))["id"]
            assert (await at.client.delete(f"{PATH}/{root}")).json()["deleted"]
            at.client.send(
                "POST", PATH, {"model": "p/m", "input": "Two", "previous_response_id": child, "stream": True}
            )
            await at.simulator.wait_for_calls(3)
            storage = at.gateway.application.storage
            assert await storage.responses.delete(child, "")
            with held(storage.database):  # nothing of it is in the file yet
                gate.set()
                grandchild = events_of((await at.client.answer()).body)[-1]["response"]["id"]
                await create(at, input="Three", previous_response_id=grandchild)
            await committed(storage.database)
            await create(at, input="Four", previous_response_id=grandchild)
            for call, last in ((3, "Three"), (4, "Four")):
                told = ("Root", "Hello there", "Child", "Hello there", "Two", "Hello there", last)
                assert in_order(sent(at, call), *told)
            listed = (await at.client.get(f"{PATH}/{grandchild}/input_items")).json()["data"]
            assert len(listed) == 5

    play(run())


def test_the_upstream_may_leave_out_what_is_continued(tmp_path):
    """It was not told: the member is added, in answers, streams, hits, kept responses."""
    bare = {
        name: value
        for name, value in response_object([message_item("Hi")]).items()
        if name != "previous_response_id"
    }
    events = [
        {
            "type": "response.created",
            "sequence_number": 0,
            "response": bare | {"output": [], "status": "in_progress"},
        },
        {"type": "response.completed", "sequence_number": 1, "response": bare},
    ]

    async def run():
        for streamed in (False, True):
            answer = (
                Answer(frames=[frame(event, event["type"]) for event in events])
                if streamed
                else Answer(body=json.dumps(bare).encode())
            )
            folder = tmp_path / str(streamed)
            folder.mkdir()
            async with scene(folder, answer, p="openai") as at:
                root = await create(at, input="One", stream=streamed)
                assert root.get("previous_response_id") is None
                calls = at.calls
                for other in (streamed, not streamed, streamed):
                    got = await create(at, input="Two", previous_response_id=root["id"], stream=other)
                    assert got["previous_response_id"] == root["id"]
                    kept = (await at.client.get(f"{PATH}/{got['id']}")).json()
                    assert kept["previous_response_id"] == root["id"]
                    again = events_of((await at.client.get(f"{PATH}/{got['id']}?stream=true")).body)
                    assert again[0]["response"]["previous_response_id"] == root["id"]
                assert at.calls == calls + 1

    play(run())


def test_a_hit_can_be_continued_and_continuing_can_hit(tmp_path):
    """Each answer has an id of its own; equal histories are one, whatever their ids."""

    async def run():
        async with scene(tmp_path, p="openai-chat") as at:
            at.simulator._choose = answers("openai-chat", ["Zebra", "Yak"])
            ids = [(await create(at, input="One"))["id"] for _ in range(3)]
            assert (len(set(ids)), at.calls) == (3, 1)
            children = [await create(at, input="Two", previous_response_id=parent) for parent in ids]
            assert at.calls == 2
            assert [child["previous_response_id"] for child in children] == ids
            assert in_order(sent(at), "One", "Zebra", "Two")

    play(run())


def test_another_history_is_another_key(tmp_path):
    async def run():
        async with scene(tmp_path, p="openai-chat") as at:
            at.simulator._choose = answers("openai-chat", ["Zebra", "Yak", "Xerus", "Wolf"])
            for said in ("One", "Uno"):
                root = await create(at, input=said)
                await create(at, input="Two", previous_response_id=root["id"])
            assert at.calls == 4

    play(run())


# ------------------------------------------------------------------------------- parents that did not complete


def test_what_was_cut_can_be_continued(tmp_path):
    async def run():
        async with scene(tmp_path, p="openai-chat", cache=None) as at:
            at.simulator._choose = upstream("chat", lambda _: Said(text=["Cut of"], is_cut=True))
            first = await create(at, input="One")
            assert first["status"] == "incomplete"
            await create(at, input="Go on", previous_response_id=first["id"])
            assert in_order(sent(at), "One", "Cut of", "Go on")

    play(run())


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_of_what_broke_off_only_finished_items_are_context(tmp_path, end):
    """A background answer with one item done and one open."""
    frames = responses_frames(["Hello"], summary="Thinking")
    done = next(at for at, each in enumerate(frames) if b"output_item.done" in each) + 1
    reasoned = {"id": "msg_0", "type": "message", "role": "assistant", "status": "completed"}
    reasoned["content"] = [{"type": "output_text", "text": "Finished", "annotations": []}]
    frames[done - 1] = frame(
        {"type": "response.output_item.done", "sequence_number": 0, "output_index": 0, "item": reasoned},
        "response.output_item.done",
    )
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=frames[: done + 3] + frames[done + 3 : done + 4], gate=gate, gate_at=done + 3)
        async with scene(tmp_path, held, Answer(body=responses_body()), p="openai", cache=None) as at:
            queued = await create(at, input="One", background=True)

            async def has_two():
                return len((await at.client.get(f"{PATH}/{queued['id']}")).json()["output"]) == 2

            await eventually(has_two)
            refused = await at.client.post(
                PATH, {"model": "p/m", "input": "Too early", "previous_response_id": queued["id"]}
            )
            error = refused.json()["error"]
            assert (refused.status, error["code"], error["param"]) == (400, None, "previous_response_id")
            if end == "cancelled":
                await at.client.post(f"{PATH}/{queued['id']}/cancel", {})
            gate.set()  # without its end it has failed
            assert (await ended(at, queued["id"]))["status"] == end
            await create(at, input="Go on", previous_response_id=queued["id"])
            assert in_order(sent(at), "One", "Finished", "Go on")
            assert "Hello" not in json.dumps(sent(at))

    play(run())


def test_what_has_brought_nothing_cannot_be_continued(tmp_path):
    async def run():
        broken = Answer(fault=Fault.SERVER_ERROR)
        async with scene(tmp_path, broken, p="openai", cache=None) as at:
            queued = await create(at, input="One", background=True)
            assert (await ended(at, queued["id"]))["status"] == "failed"
            got = await at.client.post(
                PATH, {"model": "p/m", "input": "Two", "previous_response_id": queued["id"]}
            )
            assert (got.status, got.json()["error"]["param"]) == (400, "previous_response_id")
            assert "no output" in got.json()["error"]["message"]

    play(run())


# ------------------------------------------------------------------------------------------- refusals


async def refused(at, headers=None, **members):
    got = await at.client.post(PATH, {"model": "p/m", "input": "Hi", **members}, **(headers or {}))
    error = got.json()["error"]
    return got.status, error["code"], error["param"]


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"previous_response_id": "resp_x"}, "previous_response_not_found", "previous_response_id"),
        ({"previous_response_id": "a b"}, "invalid_value", "previous_response_id"),
        ({"previous_response_id": ""}, "invalid_value", "previous_response_id"),
        ({"previous_response_id": "x" * 200}, "invalid_value", "previous_response_id"),
        ({"previous_response_id": 7}, "invalid_type", "previous_response_id"),
        (
            {"previous_response_id": "resp_x", "conversation": "conv_x"},
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_what_cannot_be_continued_is_a_400(tmp_path, kind, members, code, param):
    async def run():
        async with scene(tmp_path, p=kind) as at:
            for more in ({}, {"stream": True}, {"background": True}):
                assert await refused(at, **members, **more) == (400, code, param)
            assert at.calls == 0

    play(run())


def test_unknown_foreign_expired_deleted_and_unstored_are_the_same(tmp_path):
    """Byte for byte, but for the id that was asked for."""

    class Clock:
        now = 1_800_000_000.0

        def __call__(self):
            return self.now

    clock = Clock()

    async def run():
        hello = Answer(body=responses_body())
        async with scene(tmp_path, hello, p="openai", keys=KEYS, clock=clock, cache=None) as at:
            asked = {"model": "p/m", "input": "Hi"}

            async def new(**members):
                return (await at.client.post(PATH, asked | members, **ALICE)).json()["id"]

            unstored, deleted, foreign, expired = await new(store=False), await new(), await new(), None
            await at.client.delete(f"{PATH}/{deleted}", **ALICE)

            async def told(parent, headers):
                got = await at.client.post(PATH, asked | {"previous_response_id": parent}, **headers)
                assert got.status == 400
                return got.body.replace(parent.encode(), b"ID")

            unknown = await told("resp_" + "0" * 48, ALICE)
            assert json.loads(unknown)["error"] == {
                "message": "Previous response with id 'ID' not found.",
                "type": "invalid_request_error",
                "param": "previous_response_id",
                "code": "previous_response_not_found",
            }
            assert await told(unstored, ALICE) == unknown
            assert await told(deleted, ALICE) == unknown
            assert await told(foreign, BOB) == unknown
            expired = foreign
            clock.now += 40 * 86400
            assert await told(expired, ALICE) == unknown

    play(run())


def test_the_same_is_asked_of_storage_for_unknown_and_for_foreign_ids(tmp_path):
    """Who measures the time learns nothing."""

    async def run():
        hello = Answer(body=responses_body())
        async with scene(tmp_path, hello, p="openai", keys=KEYS, cache=None) as at:
            mine = (await at.client.post(PATH, {"model": "p/m", "input": "Hi"}, **ALICE)).json()["id"]
            await at.written(1, "responses")
            statements = []
            database = at.gateway.application.storage.database
            for is_long in (False, True):
                await database.read(lambda c: c.set_trace_callback(statements.append), is_long=is_long)

            async def asked(response_id):
                statements.clear()
                for path in ("", "?stream=true", "/input_items"):
                    assert (await at.client.get(f"{PATH}/{response_id}{path}", **BOB)).status == 404
                assert (await at.client.post(f"{PATH}/{response_id}/cancel", {}, **BOB)).status == 404
                body = {"model": "p/m", "input": "Hi", "previous_response_id": response_id}
                assert (await at.client.post(PATH, body, **BOB)).status == 400
                beside = ("PRAGMA", "BEGIN", "COMMIT")  # who watches for the writes of others
                told = [each.replace(response_id, "ID") for each in statements if not each.startswith(beside)]
                return [each for each, _ in groupby(told)]  # SQLite tells of one that it prepares anew twice

            foreign = await asked(mine)
            assert foreign == await asked("resp_" + "0" * 48)
            assert foreign

    play(run())


def test_an_output_needs_its_call(tmp_path):
    async def run():
        hello = Answer(body=responses_body())
        async with scene(tmp_path, hello, p="openai", cache=None) as at:
            root = (await create(at, input="One"))["id"]
            got = await at.client.post(
                PATH, {"model": "p/m", "input": [CALL_OUTPUT], "previous_response_id": root}
            )
            assert got.json()["error"] == {
                "message": "No tool call found for function call output with call_id call_none.",
                "type": "invalid_request_error",
                "param": "input",
                "code": None,
            }

    play(run())


@pytest.mark.parametrize("kind", ["openai-chat", "anthropic", "gemini", "ollama"])
def test_faults_name_places_in_the_clients_own_input(tmp_path, kind):
    """Although what is sent has more in front of it."""

    async def run():
        async with scene(tmp_path, p=kind, cache=None) as at:
            at.simulator._choose = answers(kind, ["Zebra"])
            root = (await create(at, input="One"))["id"]
            wrong = [{"role": "user", "content": "Two"}, {"role": "user", "content": [{"type": "nonsense"}]}]
            got = await at.client.post(PATH, {"model": "p/m", "input": wrong, "previous_response_id": root})
            error = got.json()["error"]
            assert (got.status, error["param"]) == (400, "input[1].content[0].type")
            assert "input[1].content[0].type" in error["message"]

    play(run())


def test_so_do_those_of_background_answers(tmp_path):
    """And what they continue has the same place in the cache as in the foreground."""

    async def run():
        async with scene(tmp_path, p="openai-chat") as at:
            at.simulator._choose = answers("openai-chat", ["Zebra", "Yak"])
            root = (await create(at, input="One"))["id"]
            wrong = [{"role": "user", "content": [{"type": "nonsense"}]}]
            asked = {"model": "p/m", "input": wrong, "previous_response_id": root, "background": True}
            error = (await at.client.post(PATH, asked)).json()["error"]
            assert error["param"] == "input[0].content[0].type"
            assert "'input[0].content[0].type'" in error["message"]
            for background in (False, True):
                asked = {"previous_response_id": root, "background": background}
                made = await create(at, input="Two", **asked)
                done = await ended(at, made["id"])
                assert done["output"][0]["content"][0]["text"] == "Yak"
            assert at.calls == 2

    play(run())


@pytest.mark.parametrize(
    ("path", "param", "message"),
    [
        ("input[3].content[0]", "input[1].content[0]", "Bad 'input[1].content[0]'."),
        ("input[0].content[0]", "previous_response_id", "Bad 'item 0 of what is continued'."),
    ],
)
def test_so_do_the_faults_of_native_upstreams(tmp_path, path, param, message):
    fault = {
        "error": {"message": f"Bad '{path}'.", "type": "invalid_request_error", "param": path, "code": "x"}
    }

    async def run():
        wrong = Answer(status=400, body=json.dumps(fault).encode())
        async with scene(tmp_path, Answer(body=responses_body()), wrong, p="openai", cache=None) as at:
            root = (await create(at, input="One"))["id"]
            two = [{"role": "user", "content": "Two"}] * 2
            got = await at.client.post(PATH, {"model": "p/m", "input": two, "previous_response_id": root})
            assert got.json()["error"] == fault["error"] | {"param": param, "message": message}

    play(run())


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        ({"max_history_items": 4}, 400, "array_above_max_length"),
        ({"max_history_bytes": 400}, 413, "request_too_large"),
    ],
)
def test_a_chain_may_become_too_long(tmp_path, limits, status, code):
    """The error says so, and what there is stays as it is."""

    async def run():
        hello = Answer(body=responses_body())
        async with scene(tmp_path, hello, p="openai", cache=None, responses=Responses(**limits)) as at:
            root = (await create(at, input="One"))["id"]
            child = (await create(at, input="Two", previous_response_id=root))["id"]
            assert await refused(at, previous_response_id=child) == (status, code, "input")
            assert (await at.client.get(f"{PATH}/{child}")).status == 200

    play(run())


# ------------------------------------------------------------------------------------------ WebSocket


def test_a_websocket_continues_what_is_kept_and_what_it_keeps_is_continued(tmp_path):
    """From HTTP, over the socket, and back; over a new socket too."""

    async def run():
        async with scene(tmp_path, p="openai-chat", cache=None) as at:
            at.simulator._choose = answers("openai-chat", ["Zebra", "Yak", "Xerus", "Wolf", "Vole"])
            root = (await create(at, input="One"))["id"]
            async with talking(at.gateway) as talk:
                one = await talk.turn(model="p/m", store=True, input="Two", previous_response_id=root)
                assert one[0]["response"]["previous_response_id"] == root
                first = one[-1]["response"]
                two = await talk.turn(
                    model="p/m", store=False, input="Three", previous_response_id=first["id"]
                )
                unkept = two[-1]["response"]["id"]
                await talk.turn(model="p/m", store=False, input="Four", previous_response_id=unkept)
                assert in_order(sent(at), "One", "Zebra", "Two", "Yak", "Three", "Xerus", "Four")
            kept = (await at.client.get(f"{PATH}/{first['id']}")).json()
            assert kept == first
            assert kept["previous_response_id"] == root
            async with talking(at.gateway) as talk:
                assert await talk.code(model="p/m", input="x", previous_response_id=unkept) == (
                    "previous_response_not_found"
                )
                last = await talk.turn(
                    model="p/m", store=True, input="Five", previous_response_id=first["id"]
                )
                assert in_order(sent(at), "One", "Zebra", "Two", "Yak", "Five")
                assert "Three" not in json.dumps(sent(at))
            at.simulator._choose = answers("openai-chat", ["End"])
            await create(at, input="Six", previous_response_id=last[-1]["response"]["id"])
            assert in_order(sent(at), "Five", "Vole", "Six")

    play(run())


@pytest.mark.parametrize("generate", [False, True])
def test_a_websocket_refuses_as_http_does(tmp_path, generate):
    """Foreign ids, bad ids, and a warm-up that continues nothing."""

    async def run():
        hello = Answer(frames=responses_frames())
        async with scene(tmp_path, hello, p="openai", keys=KEYS, cache=None) as at:
            mine = (await at.client.post(PATH, {"model": "p/m", "input": "Hi", "stream": True}, **ALICE)).body
            mine = events_of(mine)[-1]["response"]["id"]
            async with talking(at.gateway, additional_headers=BOB) as talk:
                for parent, code in ((mine, "previous_response_not_found"), ("a b", "invalid_value")):
                    asked = {"model": "p/m", "input": "x", "previous_response_id": parent}
                    assert await talk.code(**asked, generate=generate) == code
            async with talking(at.gateway, additional_headers=ALICE) as talk:
                warm = await talk.turn(model="p/m", input="Warm", previous_response_id=mine, generate=False)
                warm = warm[-1]["response"]
                assert warm["previous_response_id"] == mine
                await talk.turn(model="p/m", input="Go", previous_response_id=warm["id"])
                assert in_order(sent(at), "Hi", "Hello there", "Warm", "Go")

    play(run())


def test_a_websocket_hears_of_storage_that_is_gone(tmp_path):
    """What needs it fails, and the connection goes on."""

    async def run():
        hello = Answer(frames=responses_frames())
        async with scene(tmp_path, hello, p="openai", cache=None) as at, talking(at.gateway) as talk:
            await at.gateway.application.storage.database.read(lambda connection: connection.close())
            asked = {"model": "p/m", "input": "x"}
            assert await talk.code(**asked, previous_response_id="resp_x") == "storage_unavailable"
            assert (await talk.turn(**asked))[-1]["type"] == "response.completed"

    play(run())


# ------------------------------------------------------------------------------------- kept nowhere


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_what_is_not_to_be_stored_is_in_no_file(tmp_path, kind, streamed):
    """Alone, as a child of what is stored, over a WebSocket; the cache is what would keep more, and it is off."""

    async def run():
        async with scene(tmp_path, p=kind, cache=None) as at:
            at.simulator._choose = answers(kind, ["Visible", "Secret-1", "Secret-2", "Secret-3", "Secret-4"])
            root = (await create(at, input="Public"))["id"]
            alone = await create(at, input="Secret-alone", store=False, stream=streamed)
            asked = {"store": False, "previous_response_id": root}
            child = await create(at, input="Secret-child", **asked, stream=streamed)
            async with talking(at.gateway) as talk:
                one = await talk.turn(model="p/m", input="Secret-socket", previous_response_id=root)
                one = one[-1]["response"]["id"]
                await talk.turn(model="p/m", input="Secret-socket", previous_response_id=one)
            for response in (alone, child):
                assert (await at.client.get(f"{PATH}/{response['id']}")).status == 404
                assert not response["store"]
            await at.rows()
            await at.written(1, "responses")
            while_it_runs = files(tmp_path)
        for name, data in {**while_it_runs, **files(tmp_path)}.items():
            assert b"Secret" not in data, name
        assert any(b"Public" in data for data in while_it_runs.values())

    play(run())


def test_a_hit_that_is_not_to_be_stored_is_not(tmp_path):
    """`store` is not `Cache-Control`: the cache may hold the answer, but nobody can ask for it by an id."""

    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai") as at:
            await create(at, input="One")
            hit = await create(at, input="One", store=False)
            assert (at.calls, hit["store"]) == (1, False)
            assert (await at.client.get(f"{PATH}/{hit['id']}")).status == 404
            assert await refused(at, previous_response_id=hit["id"]) == (
                400,
                "previous_response_not_found",
                "previous_response_id",
            )
            await at.written(1, "responses")

    play(run())


def files(folder):
    """Every file of the storage folder."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ----------------------------------------------------------------------------------------- storage


def test_what_is_continued_and_what_is_sent_again_is_stored_once(tmp_path):
    """A chain, and a client that sends everything again, share their items."""

    async def run():
        async with scene(tmp_path, Answer(body=responses_body()), p="openai", cache=None) as at:
            parent, history = None, []
            for turn in range(6):
                asked = {"role": "user", "content": f"Turn {turn}"}
                made = await create(at, input=[asked], previous_response_id=parent)
                parent = made["id"]
                history.append(asked)
                await create(at, input=history)
                history += made["output"]
            await at.written(12, "responses")
            items = read_rows(tmp_path, "SELECT count(*) AS n FROM history")[0]["n"]
            assert items == 11

    play(run())
