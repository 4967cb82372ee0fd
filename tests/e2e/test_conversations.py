"""Conversations: kept in order, one answer at a time becomes part of each, and only their owner sees them."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Key, Responses, Secret, Timeout
from e2e.callers import CALLERS
from e2e.plain_client import plain_client
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, read_rows, scene
from e2e.test_background import ended, events_of
from e2e.test_seeds_e import chat_stream
from gateway.talking import talking
from serving import Clock
from waiting import eventually

RESPONSES = "/v1/responses"
CONVERSATIONS = "/v1/conversations"
KEYS = (Key(name="alice", key=Secret("sk-alice")), Key(name="bob", key=Secret("sk-bob")))
ALICE, BOB = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}
HELLO = answer_of("responses", stream=False)
STREAMED = answer_of("responses", stream=True)
FAILED = Answer(status=500, body=b'{"error":{"message":"no"}}')


def user(text):
    return {"type": "message", "role": "user", "content": text}


async def created(at, *texts, **headers):
    answer = await at.client.post(CONVERSATIONS, {"items": [user(text) for text in texts]}, **headers)
    assert answer.status == 200, answer.body
    return answer.json()["id"]


async def texts_of(at, conversation_id):
    page = (await at.client.get(f"{CONVERSATIONS}/{conversation_id}/items?order=asc&limit=100")).json()
    return [item["content"][0]["text"] for item in page["data"] if item["type"] == "message"]


def sent_texts(call):
    given = json.loads(call.body)["input"]
    contents = [item["content"] for item in given]
    return [each if isinstance(each, str) else each[0]["text"] for each in contents]


# The API.


def test_a_conversation_is_made_read_changed_and_deleted(tmp_path):
    """Metadata are replaced as a whole; what is deleted is unknown."""

    async def run():
        async with scene(tmp_path, p="openai") as at:
            made = (await at.client.post(CONVERSATIONS, {"metadata": {"a": "b"}})).json()
            path = f"{CONVERSATIONS}/{made['id']}"
            assert made["id"].startswith("conv_")
            assert (made["object"], made["metadata"]) == ("conversation", {"a": "b"})
            assert (await at.client.get(path)).json() == made
            changed = (await at.client.post(path, {"metadata": {"c": "d"}})).json()
            assert changed == made | {"metadata": {"c": "d"}}
            assert (await at.client.post(path, {"metadata": None})).json()["metadata"] == {}
            deleted = await at.client.delete(path)
            assert deleted.json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
            for answer in (await at.client.get(path), await at.client.delete(path)):
                assert answer.status == 404
                error = answer.json()["error"]
                assert error["message"] == f"Conversation with id '{made['id']}' not found."

    play(run())


def test_items_are_added_in_order_listed_by_pages_and_removed(tmp_path):
    """Each has an id and a type; a page says how to go on."""

    async def run():
        async with scene(tmp_path, p="openai") as at:
            conversation_id = await created(at, "0", "1")
            items = f"{CONVERSATIONS}/{conversation_id}/items"
            call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1"}
            added = (await at.client.post(items, {"items": [{"role": "user", "content": "2"}, call]})).json()
            assert added["object"] == "list"
            assert [item["type"] for item in added["data"]] == ["message", "function_call"]
            assert added["data"][0]["content"] == [{"type": "input_text", "text": "2"}]
            assert added["data"][1]["id"] == "fc_1"
            whole = (await at.client.get(f"{items}?order=asc")).json()
            assert len(whole["data"]) == 4
            assert len({item["id"] for item in whole["data"]}) == 4
            newest_first = (await at.client.get(items)).json()
            assert newest_first["data"] == whole["data"][::-1]
            seen, after = [], ""
            while True:
                page = (await at.client.get(f"{items}?limit=3&order=asc{after}")).json()
                seen += page["data"]
                assert page["last_id"] == page["data"][-1]["id"]
                if not page["has_more"]:
                    break
                after = f"&after={page['last_id']}"
            assert seen == whole["data"]
            before = (await at.client.get(f"{items}?order=asc&before={seen[1]['id']}")).json()
            assert before["data"] == seen[:1]
            one = f"{items}/{seen[1]['id']}"
            assert (await at.client.get(one)).json() == seen[1]
            assert (await at.client.delete(one)).json()["id"] == conversation_id
            assert (await at.client.get(one)).status == (await at.client.delete(one)).status == 404
            assert (await at.client.get(f"{items}?order=asc")).json()["data"] == [seen[0], *seen[2:]]

    play(run())


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"items": "Hi"}, "invalid_type", "items"),
        ({"items": [1]}, "invalid_type", "items[0]"),
        ({"items": [user("x")] * 21}, "array_above_max_length", "items"),
        ({"items": [{"type": "riddle"}]}, "invalid_value", "items[0].type"),
        ({"items": [{"role": "king", "content": "x"}]}, "invalid_value", "items[0].role"),
        ({"metadata": {str(number): "" for number in range(17)}}, "object_above_max_properties", "metadata"),
        ({"metadata": {"k" * 65: ""}}, "string_above_max_length", "metadata"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k"),
        ({"metadata": {"k": 1}}, "invalid_type", "metadata.k"),
        ({"metadata": []}, "invalid_type", "metadata"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_place(tmp_path, body, code, param):
    async def run():
        async with scene(tmp_path, p="openai") as at:
            refused = await at.client.post(CONVERSATIONS, body)
            assert refused.status == 400
            error = refused.json()["error"]
            assert (error["code"], error["param"]) == (code, param)

    play(run())


def test_members_that_cannot_be_left_out(tmp_path):
    async def run():
        async with scene(tmp_path, p="openai") as at:
            conversation_id = await created(at)
            path = f"{CONVERSATIONS}/{conversation_id}"
            for refused, param in (
                (await at.client.post(path, {}), "metadata"),
                (await at.client.post(f"{path}/items", {}), "items"),
            ):
                error = refused.json()["error"]
                assert (refused.status, error["code"]) == (400, "missing_required_parameter")
                assert error["param"] == param
            refused = await at.client.get(f"{path}/items?after=msg_x")
            assert (refused.status, refused.json()["error"]["param"]) == (400, "after")

    play(run())


def test_another_owners_conversation_is_as_an_unknown_one(tmp_path):
    """In bytes, on every route, and as a part of a request for an answer."""

    async def run():
        async with scene(tmp_path, HELLO, p="openai", keys=KEYS) as at:
            hers = await created(at, "secret", **ALICE)
            unknown = "conv_" + "0" * (len(hers) - 5)
            item = (await at.client.get(f"{CONVERSATIONS}/{hers}/items", **ALICE)).json()["data"][0]

            async def tried(conversation_id):
                path = f"{CONVERSATIONS}/{conversation_id}"
                asked = {"model": "p/m", "input": "Hi", "conversation": conversation_id}
                answers = [
                    await at.client.get(path, **BOB),
                    await at.client.post(path, {"metadata": {}}, **BOB),
                    await at.client.delete(path, **BOB),
                    await at.client.get(f"{path}/items", **BOB),
                    await at.client.get(f"{path}/items?after={item['id']}", **BOB),
                    await at.client.post(f"{path}/items", {"items": [user("x")]}, **BOB),
                    await at.client.get(f"{path}/items/{item['id']}", **BOB),
                    await at.client.delete(f"{path}/items/{item['id']}", **BOB),
                    await at.client.post(RESPONSES, asked, **BOB),
                    await at.client.post(RESPONSES, asked | {"background": True}, **BOB),
                ]
                return [(each.status, each.body.replace(conversation_id.encode(), b"ID")) for each in answers]

            got = await tried(hers)
            assert got == await tried(unknown)
            assert {status for status, _ in got} == {404}
            assert at.calls == 0
            assert (await at.client.get(f"{CONVERSATIONS}/{hers}", **ALICE)).status == 200

    play(run())


@pytest.mark.parametrize("caller", CALLERS)
def test_the_official_client(tmp_path, caller):
    """Each of its methods, and pages that follow each other."""

    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            official = caller(at.base_url)
            made = await official.result(
                lambda c: c.conversations.create(items=[user("One")], metadata={"a": "b"})
            )
            assert made.metadata == {"a": "b"}
            assert (await official.result(lambda c: c.conversations.retrieve(made.id))) == made
            changed = await official.result(lambda c: c.conversations.update(made.id, metadata={"c": "d"}))
            assert changed.metadata == {"c": "d"}
            added = await official.result(
                lambda c: c.conversations.items.create(made.id, items=[user("Two"), user("Three")])
            )
            assert [item.content[0].text for item in added.data] == ["Two", "Three"]
            answered = await official.result(
                lambda c: c.responses.create(model="p/m", input="Four", conversation=made.id)
            )
            assert answered.conversation.id == made.id
            items = await official.listed(lambda c: c.conversations.items.list(made.id, order="asc", limit=2))
            assert [item.content[0].text for item in items] == [
                "One",
                "Two",
                "Three",
                "Four",
                "Hello there",
            ]
            one = items[1]
            got = await official.result(
                lambda c: c.conversations.items.retrieve(one.id, conversation_id=made.id)
            )
            assert got == one
            left = await official.result(
                lambda c: c.conversations.items.delete(one.id, conversation_id=made.id)
            )
            assert left.id == made.id
            deleted = await official.result(lambda c: c.conversations.delete(made.id))
            assert (deleted.id, deleted.deleted) == (made.id, True)

    play(run())


# Answers.


@pytest.mark.parametrize("form", ["json", "stream", "background", "background stream"])
@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_each_turn_sees_those_before_it(tmp_path, kind, form):
    """Whatever the upstream and the form; the answer names its conversation although the upstream does not."""
    if kind == "openai":
        answer = HELLO if form == "json" else STREAMED
    else:
        answer = chat_stream({"content": "Hello there"})

    async def run():
        async with scene(tmp_path, answer, p=kind) as at:
            conversation_id = await created(at, "One")
            asked = {
                "model": "p/m",
                "conversation": {"id": conversation_id},
                "stream": "stream" in form,
                "background": "background" in form,
            }
            for text in ("Two", "Three"):
                got = await at.client.post(RESPONSES, asked | {"input": text})
                assert got.status == 200, got.body
                if "stream" in form:
                    events = events_of(got.body)
                    told = [event["response"]["conversation"] for event in events if "response" in event]
                    assert told == [{"id": conversation_id}] * len(told)
                    response = events[-1]["response"]
                elif form == "background":
                    response = await ended(at, got.json()["id"])
                else:
                    response = got.json()
                assert (response["status"], response["conversation"]) == (
                    "completed",
                    {"id": conversation_id},
                )
                assert "previous_response_id" not in response or response["previous_response_id"] is None
                expected = ["One", "Two", "Hello there"]
                expected += ["Three", "Hello there"] if text == "Three" else []
                assert await texts_of(at, conversation_id) == expected
                kept = (await at.client.get(f"{RESPONSES}/{response['id']}")).json()
                assert kept["conversation"] == {"id": conversation_id}
                path = f"{RESPONSES}/{response['id']}/input_items?order=asc"

                async def listed(path=path):
                    answer = await at.client.get(path)
                    return answer if answer.status == 200 else None

                listed = await eventually(listed)
                shown = [item["content"][0]["text"] for item in listed.json()["data"]]
                assert shown == expected[:-1]
            sent = json.loads(at.simulator.calls[1].body)
            assert "conversation" not in sent
            assert len(sent.get("input") or sent["messages"]) == 4

    play(run())


def test_what_a_conversation_has_seen_is_kept_without_the_response(tmp_path):
    """`store` is about the response."""

    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id, "store": False}
            got = (await at.client.post(RESPONSES, asked)).json()
            assert await texts_of(at, conversation_id) == ["One", "Hello there"]
            assert (await at.client.get(f"{RESPONSES}/{got['id']}")).status == 404
            await at.client.post(RESPONSES, asked | {"input": "Two"})
            assert sent_texts(at.simulator.calls[1]) == ["One", "Hello there", "Two"]

    play(run())


def test_an_incomplete_answer_is_added_and_a_failed_one_is_not(tmp_path):
    """After either the next turn may begin."""
    frames = responses_frames()
    limited = [
        frame.replace(b"response.completed", b"response.incomplete").replace(
            b'"status": "completed", "background"', b'"status": "incomplete", "background"'
        )
        for frame in frames
    ]

    async def run():
        async with scene(tmp_path, FAILED, p="openai") as at:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id, "stream": True}
            assert (await at.client.post(RESPONSES, asked)).status == 500
            at.simulator.answer(Answer(frames=frames[: len(frames) // 2]))
            assert events_of((await at.client.post(RESPONSES, asked)).body)[-1]["type"] == "response.failed"
            assert await texts_of(at, conversation_id) == []
            at.simulator.answer(Answer(frames=limited))
            last = events_of((await at.client.post(RESPONSES, asked)).body)[-1]
            assert last["type"] == "response.incomplete"
            assert await texts_of(at, conversation_id) == ["One", "Hello there"]

    play(run())


def test_answers_in_conversations_are_not_cached(tmp_path):
    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            asked = {"model": "p/m", "input": "One"}
            for _ in range(2):
                conversation_id = await created(at)
                got = await at.client.post(RESPONSES, asked | {"conversation": conversation_id})
                assert got.cache_status == "antiphon; fwd=bypass; detail=conversation"
            assert at.calls == 2

    play(run())


@pytest.mark.parametrize(
    ("members", "status", "code", "param"),
    [
        (
            {"previous_response_id": "resp_1"},
            400,
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
        ({"conversation": 7}, 400, "invalid_type", "conversation"),
        ({"conversation": {"name": "x"}}, 400, "invalid_type", "conversation"),
        ({"conversation": "no id"}, 400, "invalid_value", "conversation"),
        ({"conversation": "conv_0"}, 404, None, "conversation"),
    ],
)
def test_a_conversation_that_cannot_be_meant_is_refused(tmp_path, members, status, code, param):
    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "x", "conversation": conversation_id}
            refused = await at.client.post(RESPONSES, asked | members)
            error = refused.json()["error"]
            assert (refused.status, error["code"], error["param"]) == (status, code, param)

    play(run())


# One at a time.


@pytest.mark.parametrize("members", [{"stream": True}, {"background": True}])
def test_one_answer_at_a_time_becomes_part_of_a_conversation(tmp_path, members):
    """Others are refused, nothing is added or removed meanwhile, and when it has ended the next may begin."""
    frames = responses_frames()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)
        async with scene(tmp_path, held, p="openai") as at, plain_client(at.gateway.port) as first:
            conversation_id = await created(at, "Zero")
            path = f"{CONVERSATIONS}/{conversation_id}"
            item = (await at.client.get(f"{path}/items")).json()["data"][0]
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id}
            first.send("POST", RESPONSES, asked | members)
            await at.simulator.wait_for_calls(1)
            for refused in (
                await at.client.post(RESPONSES, asked),
                await at.client.post(RESPONSES, asked | {"background": True}),
                await at.client.post(f"{path}/items", {"items": [user("x")]}),
                await at.client.delete(f"{path}/items/{item['id']}"),
            ):
                error = refused.json()["error"]
                assert (refused.status, error["code"]) == (400, "conversation_locked")
                assert error["param"] == "conversation"
            assert (await at.client.get(path)).status == 200
            gate.set()
            answer = await first.answer()
            if "background" in members:
                await ended(at, answer.json()["id"])
            assert await texts_of(at, conversation_id) == ["Zero", "One", "Hello there"]
            at.simulator.answer(HELLO)
            assert (await at.client.post(RESPONSES, asked | {"input": "Two"})).status == 200

    play(run())


def test_a_client_that_leaves_lets_go(tmp_path):
    """Its answer is no part of the conversation."""
    frames = responses_frames()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=asyncio.Event())
        async with scene(tmp_path, held, p="openai") as at, plain_client(at.gateway.port) as first:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id}
            first.send("POST", RESPONSES, asked | {"stream": True})
            await at.simulator.wait_for_calls(1)
            at.simulator.answer(HELLO)
            first.leave()

            async def is_answered():
                return (await at.client.post(RESPONSES, asked | {"input": "Two"})).status == 200

            await eventually(is_answered)
            assert await texts_of(at, conversation_id) == ["Two", "Hello there"]

    play(run())


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_background_answer_that_is_stopped_lets_go(tmp_path, end):
    frames = responses_frames()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=asyncio.Event())
        async with scene(tmp_path, held, p="openai") as at:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id}
            queued = (await at.client.post(RESPONSES, asked | {"background": True})).json()
            await at.simulator.wait_for_calls(1)
            at.simulator.answer(HELLO)
            if end == "cancel":
                await at.client.post(f"{RESPONSES}/{queued['id']}/cancel", {})
            else:
                await at.client.delete(f"{RESPONSES}/{queued['id']}")
            assert (await at.client.post(RESPONSES, asked | {"input": "Two"})).status == 200
            assert await texts_of(at, conversation_id) == ["Two", "Hello there"]

    play(run())


def test_the_lock_of_a_dead_process_runs_out(tmp_path):
    """And not before."""
    clock = Clock()

    async def run():
        async with scene(tmp_path, HELLO, p="openai", clock=clock) as at:
            conversation_id = await created(at)
            store = at.gateway.application.storage.conversations
            assert await store.lock(conversation_id, "", "resp_of_the_dead", 15) is None
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id}
            clock.now += 14
            assert (await at.client.post(RESPONSES, asked)).json()["error"]["code"] == "conversation_locked"
            clock.now += 2
            assert (await at.client.post(RESPONSES, asked)).status == 200
            store.append(conversation_id, "", "resp_of_the_dead", lambda: (b'{"role":"user","content":"x"}',))
            assert await texts_of(at, conversation_id) == ["One", "Hello there"]

    play(run())


def test_deleting_a_conversation_while_an_answer_is_made_for_it(tmp_path):
    """The answer ends as any other."""
    frames = responses_frames()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)
        async with scene(tmp_path, held, p="openai") as at, plain_client(at.gateway.port) as first:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id, "stream": True}
            first.send("POST", RESPONSES, asked)
            await at.simulator.wait_for_calls(1)
            assert (await at.client.delete(f"{CONVERSATIONS}/{conversation_id}")).status == 200
            gate.set()
            response = events_of((await first.answer()).body)[-1]["response"]
            assert response["status"] == "completed"
            assert (await at.client.get(f"{RESPONSES}/{response['id']}")).status == 200

    play(run())


# Keeping.


def test_conversations_outlive_responses_unless_they_are_to_be_forgotten(tmp_path):
    clock = Clock()

    async def run(retention):
        kept = Responses(retention=Timeout(60), conversation_retention=retention)
        async with scene(tmp_path, HELLO, p="openai", clock=clock, responses=kept) as at:
            conversation_id = await created(at, "One")
            clock.now += 100
            at.gateway.application.storage.sweep(clock.now)
            left = await texts_of(at, conversation_id) if retention is None else None
            answer = await at.client.get(f"{CONVERSATIONS}/{conversation_id}")
            return answer.status, left

    assert asyncio.run(run(None)) == (200, ["One"])
    assert asyncio.run(run(Timeout(90)))[0] == 404


def test_a_conversation_outlives_a_restart(tmp_path):
    ids = []

    async def first():
        async with scene(tmp_path, HELLO, p="openai") as at:
            ids.append(await created(at, "One"))
            asked = {"model": "p/m", "input": "Two", "conversation": ids[0]}
            await at.client.post(RESPONSES, asked)

    async def second():
        async with scene(tmp_path, HELLO, p="openai") as at:
            assert await texts_of(at, ids[0]) == ["One", "Two", "Hello there"]

    play(first())
    play(second())


def test_turns_on_a_websocket_become_part_of_a_conversation(tmp_path):
    """Those that are kept and those that are not; a second lane waits for nobody and is refused."""
    gate = asyncio.Event()
    frames = responses_frames()

    async def run():
        async with scene(tmp_path, STREAMED, p="openai") as at, talking(at.gateway) as talk:
            conversation_id = await created(at, "Zero")
            for text, store in (("One", True), ("Two", False)):
                events = await talk.turn(model="p/m", input=text, conversation=conversation_id, store=store)
                assert events[-1]["type"] == "response.completed"
                assert events[-1]["response"]["conversation"] == {"id": conversation_id}
            grown = ["Zero", "One", "Hello there", "Two", "Hello there"]
            assert await texts_of(at, conversation_id) == grown
            assert sent_texts(at.simulator.calls[1])[:4] == ["Zero", "One", "Hello there", "Two"]
            at.simulator.answer(Answer(frames=frames, gate_at=len(frames) // 2, gate=gate))
            asked = {"model": "p/m", "input": "Three", "conversation": {"id": conversation_id}}
            await talk.create(**asked, stream_id="a")
            await at.simulator.wait_for_calls(3)
            await talk.create(**asked, stream_id="b")
            while (event := await talk.next()).get("stream_id") != "b":
                pass
            assert event["error"]["code"] == "conversation_locked"
            gate.set()
            while (event := await talk.next())["type"] != "response.completed":
                pass
            again = await talk.turn(**asked)
            assert again[-1]["type"] == "response.completed"
            assert (await texts_of(at, conversation_id))[5:] == ["Three", "Hello there"] * 2

    play(run())


def test_items_are_named_on_a_websocket(tmp_path):
    async def run():
        async with scene(tmp_path, STREAMED, p="openai") as at, talking(at.gateway) as talk:
            first = await talk.turn(model="p/m", input="One", store=True)
            said = {"type": "item_reference", "id": first[-1]["response"]["output"][-1]["id"]}
            await talk.turn(model="p/m", input=[said])
            assert sent_texts(at.simulator.calls[1]) == ["Hello there"]
            unknown = await talk.turn(model="p/m", input=[{"type": "item_reference", "id": "msg_0"}])
            assert (unknown[-1]["status"], unknown[-1]["error"]["param"]) == (404, "input")

    play(run())


def test_what_answers_were_shown_is_stored_once(tmp_path):
    """However many turns a conversation has: each costs what is new, also where something was removed meanwhile."""

    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            conversation_id = await created(at)
            asked = {"model": "p/m", "conversation": conversation_id}
            ids = []
            for number in range(20):
                got = await at.client.post(RESPONSES, asked | {"input": f"{number}"})
                ids.append(got.json()["id"])
            await at.written(20, "responses")
            # 20 inputs, and the 19 answers that the next turns were shown.
            assert len(read_rows(tmp_path, "SELECT 1 FROM history")) == 39
            await at.client.delete(f"{RESPONSES}/{ids[-1]}")
            removed = (await at.client.get(f"{CONVERSATIONS}/{conversation_id}/items?order=asc")).json()
            await at.client.delete(f"{CONVERSATIONS}/{conversation_id}/items/{removed['data'][0]['id']}")
            got = await at.client.post(RESPONSES, asked | {"input": "last"})
            path = f"{RESPONSES}/{got.json()['id']}/input_items?order=asc&limit=100"
            listed = (await at.client.get(path)).json()["data"]
            assert len(listed) == 40
            assert [item["content"][0]["text"] for item in listed[:2]] == ["Hello there", "1"]
            earlier = await at.client.get(f"{RESPONSES}/{ids[-2]}/input_items?order=asc&limit=100")
            assert len(earlier.json()["data"]) == 37

    play(run())


def test_an_answer_that_outlives_its_client_becomes_part_of_its_conversation(tmp_path):
    """Once, when it has ended; until then nobody else may go on."""
    frames = responses_frames()
    gate = asyncio.Event()

    async def run():
        held = Answer(frames=frames, gate_at=len(frames) // 2, gate=gate)
        async with scene(tmp_path, held, p="openai") as at, plain_client(at.gateway.port) as first:
            conversation_id = await created(at)
            asked = {"model": "p/m", "input": "One", "conversation": conversation_id}
            finish = {"X-Antiphon-On-Disconnect": "finish"}
            first.send("POST", RESPONSES, asked | {"stream": True}, **finish)
            await at.simulator.wait_for_calls(1)
            await first.reader.readuntil(b"response.created")
            first.leave()
            assert (await at.client.post(RESPONSES, asked)).json()["error"]["code"] == "conversation_locked"
            gate.set()

            async def is_added():
                return await texts_of(at, conversation_id) == ["One", "Hello there"]

            await eventually(is_added)
            at.simulator.answer(HELLO)

            assert (await at.client.post(RESPONSES, asked | {"input": "Two"})).status == 200
            assert await texts_of(at, conversation_id) == ["One", "Hello there", "Two", "Hello there"]

    play(run())
