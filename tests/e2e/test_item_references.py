"""Items that a client names by their ids instead of sending them again."""

import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Key, Provider, Responses, Secret, Timeout
from e2e.callers import CALLERS
from e2e.samples import answer_of
from e2e.scenes import play, scene
from e2e.test_background import ended
from e2e.test_seeds_e import chat_stream
from serving import Clock
from waiting import eventually

RESPONSES = "/v1/responses"
CONVERSATIONS = "/v1/conversations"
KEYS = (Key(name="alice", key=Secret("sk-alice")), Key(name="bob", key=Secret("sk-bob")))
ALICE, BOB = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}
HELLO = answer_of("responses", stream=False)
STREAMED = answer_of("responses", stream=True)
ASKED = {"model": "p/m", "input": "One"}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Said", "annotations": []}],
}


HISTORY = [MESSAGE, {"role": "user", "content": "Go on"}]


def reference(item_id):
    return {"type": "item_reference", "id": item_id}


def answer_with(*output):
    body = json.loads(HELLO.body) | {"output": list(output)}
    return Answer(body=json.dumps(body).encode())


def sent_input(at, call=-1):
    return json.loads(at.simulator.calls[call].body)["input"]


@pytest.mark.parametrize("form", ["json", "stream", "background"])
@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_an_output_is_named_in_the_next_request(tmp_path, kind, form):
    """As soon as the client has it, and after a restart."""
    if kind == "openai":
        answer = HELLO if form == "json" else STREAMED
    else:
        answer = chat_stream({"content": "Hello there"})
    ids = []

    async def named(at, item_id, **members):
        user = {"role": "user", "content": "Two"}
        asked = ASKED | {"input": [{"role": "user", "content": "One"}, item_id, user]} | members
        got = await at.client.post(RESPONSES, asked)
        assert got.status == 200, got.body
        body = json.loads(at.simulator.calls[-1].body)
        told = body["input"][1] if "input" in body else body["messages"][1]
        assert told["role"] == "assistant"
        assert "Hello there" in json.dumps(told["content"])

    async def first():
        async with scene(tmp_path, answer, p=kind, cache=None) as at:
            asked = ASKED | {"background": form == "background"}
            if form == "stream":
                body = (await at.client.post(RESPONSES, asked | {"stream": True})).body
                data = next(
                    line
                    for line in body.split(b"\n")
                    if b'"response.output_item.done"' in line and line.startswith(b"data")
                )
                ids.append(json.loads(data.partition(b":")[2])["item"]["id"])
            else:
                response = (await at.client.post(RESPONSES, asked)).json()
                if form == "background":
                    response = await ended(at, response["id"])
                ids.append(response["output"][-1]["id"])
            await named(at, reference(ids[0]))
            await named(at, {"id": ids[0]})

    async def second():
        async with scene(tmp_path, answer, p=kind, cache=None) as at:
            await named(at, reference(ids[0]))

    play(first())
    play(second())


def test_inputs_are_named_by_the_ids_that_lists_give_them(tmp_path):
    """The same at every call; and by those that the client has chosen."""

    async def run():
        async with scene(tmp_path, HELLO, p="openai", cache=None) as at:
            own = {"id": "msg_mine", "type": "message", "role": "user", "content": "Mine"}
            asked = ASKED | {"input": [own, {"role": "user", "content": "Plain"}]}
            first = (await at.client.post(RESPONSES, asked)).json()
            path = f"{RESPONSES}/{first['id']}/input_items?order=asc"
            listed = (await at.client.get(path)).json()["data"]
            assert listed == (await at.client.get(path)).json()["data"]
            assert listed[0]["id"] == "msg_mine"
            chained = ASKED | {"input": "More", "previous_response_id": first["id"]}
            second = (await at.client.post(RESPONSES, chained)).json()
            path = f"{RESPONSES}/{second['id']}/input_items?order=asc"
            assert (await at.client.get(path)).json()["data"][:2] == listed
            named = [reference(item["id"]) for item in listed]
            assert (await at.client.post(RESPONSES, ASKED | {"input": named})).status == 200
            assert [item["content"] for item in sent_input(at)] == ["Mine", "Plain"]

    play(run())


def test_items_of_conversations_are_named_and_outlive_them(tmp_path):
    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            items = [{"role": "user", "content": "Kept"}]
            made = (await at.client.post(CONVERSATIONS, {"items": items})).json()
            path = f"{CONVERSATIONS}/{made['id']}"
            (item,) = (await at.client.get(f"{path}/items")).json()["data"]
            await at.client.delete(path)
            assert (await at.client.post(RESPONSES, ASKED | {"input": [reference(item["id"])]})).status == 200
            assert sent_input(at)[0]["content"] == "Kept"

    play(run())


def test_a_request_with_reasoning_that_nobody_knows_means_the_same_every_time(tmp_path):
    """That it was kept as input brings nothing to light: it passes as it came, and the second time is a hit."""
    asked = ASKED | {"input": [{"id": "rs_other", "type": "reasoning", "summary": []}, *HISTORY]}

    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            first, second = [await at.client.post(RESPONSES, asked) for _ in range(2)]
            assert (first.is_hit, second.is_hit, at.calls) == (False, True, 1)
            assert sent_input(at) == asked["input"]

    play(run())


def test_reasoning_is_named_by_its_id_alone(tmp_path):
    """It comes back with what its upstream has encrypted; without that no upstream could read it."""
    sealed = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "encrypted_content": "sealed",
        "status": "completed",
    }
    bare = {"id": "rs_2", "type": "reasoning", "summary": []}

    async def run():
        async with scene(tmp_path, answer_with(sealed, bare, MESSAGE), p="openai") as at:
            await at.client.post(RESPONSES, ASKED)
            for form in ({}, {"summary": []}):
                named = [{"type": "reasoning", "id": each, **form} for each in ("rs_1", "rs_2")]
                got = await at.client.post(RESPONSES, ASKED | {"input": [*named, reference("msg_1")]})
                assert got.status == 200, got.body
                reasoning, message = sent_input(at)
                assert reasoning["encrypted_content"] == "sealed"
                assert "status" not in reasoning
                assert message == MESSAGE

    play(run())


@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
@pytest.mark.parametrize("named", [reference("msg_0"), {"id": "msg_0"}, {"type": "reasoning", "id": "msg_0"}])
def test_an_unknown_item_is_refused(tmp_path, kind, named):
    async def run():
        async with scene(tmp_path, HELLO, p=kind) as at:
            refused = await at.client.post(RESPONSES, ASKED | {"input": [named]})
            error = refused.json()["error"]
            assert (refused.status, error["param"], error["code"]) == (404, "input", None)
            assert "'msg_0'" in error["message"]
            assert "`store` is false" in error["message"]
            assert at.calls == 0

    play(run())


def test_nobody_elses_items_are_found(tmp_path):
    """Outputs, inputs with ids of either kind, and items of conversations: as unknown ones."""

    async def run():
        async with scene(tmp_path, answer_with(MESSAGE), p="openai", keys=KEYS) as at:
            own = {"id": "msg_mine", "type": "message", "role": "user", "content": "Mine"}
            asked = ASKED | {"input": [own, {"role": "user", "content": "Plain"}]}
            first = (await at.client.post(RESPONSES, asked, **ALICE)).json()
            path = f"{RESPONSES}/{first['id']}/input_items"
            ids = [item["id"] for item in (await at.client.get(path, **ALICE)).json()["data"]]
            items = [{"role": "user", "content": "In a conversation"}]
            made = (await at.client.post(CONVERSATIONS, {"items": items}, **ALICE)).json()
            path = f"{CONVERSATIONS}/{made['id']}/items"
            ids += [item["id"] for item in (await at.client.get(path, **ALICE)).json()["data"]]
            for item_id in (*ids, "msg_1"):
                asked = ASKED | {"input": [reference(item_id)]}
                assert (await at.client.post(RESPONSES, asked, **ALICE)).status == 200
                refused = await at.client.post(RESPONSES, asked, **BOB)
                unknown = await at.client.post(RESPONSES, ASKED | {"input": [reference("msg_0")]}, **BOB)
                assert refused.body.replace(item_id.encode(), b"msg_0") == unknown.body

    play(run())


def test_items_go_with_the_last_that_has_them(tmp_path):
    """With a response that is deleted or has expired, unless another one, or a conversation, has shown them."""
    clock = Clock()

    async def run():
        kept = Responses(retention=Timeout(60))
        async with scene(
            tmp_path, answer_with(MESSAGE), p="openai", clock=clock, responses=kept, cache=None
        ) as at:

            async def status_of(item_id):
                asked = ASKED | {"input": [reference(item_id)], "store": False}
                return (await at.client.post(RESPONSES, asked)).status

            own = {"id": "msg_mine", "type": "message", "role": "user", "content": "Mine"}
            asked = ASKED | {"input": [own]}
            first = (await at.client.post(RESPONSES, asked)).json()
            second = (await at.client.post(RESPONSES, asked)).json()
            await at.client.delete(f"{RESPONSES}/{first['id']}")
            assert [await status_of("msg_mine"), await status_of("msg_1")] == [200, 200]
            clock.now += 30
            items = [reference("msg_1")]
            made = (await at.client.post(CONVERSATIONS, {"items": items})).json()
            clock.now += 40
            at.gateway.application.storage.sweep(clock.now)

            async def is_gone():
                return await status_of("msg_mine") == 404

            await eventually(is_gone)
            assert (await at.client.get(f"{RESPONSES}/{second['id']}")).status == 404
            assert await status_of("msg_1") == 200
            (item,) = (await at.client.get(f"{CONVERSATIONS}/{made['id']}/items")).json()["data"]
            assert item == MESSAGE
            await at.client.delete(f"{CONVERSATIONS}/{made['id']}/items/msg_1")
            assert await status_of("msg_1") == 404

    play(run())


def test_references_go_into_conversations_and_counts_and_compactions(tmp_path):
    async def run():
        async with scene(tmp_path, answer_with(MESSAGE), p="openai-chat") as at:
            at.simulator.answer(chat_stream({"content": "Hello there"}))
            response = (await at.client.post(RESPONSES, ASKED)).json()
            said = reference(response["output"][-1]["id"])
            conversation = (await at.client.post(CONVERSATIONS, {"items": [said]})).json()["id"]
            (item,) = (await at.client.get(f"{CONVERSATIONS}/{conversation}/items")).json()["data"]
            assert item["content"][0]["text"] == "Hello there"
            refused = await at.client.post(
                f"{CONVERSATIONS}/{conversation}/items", {"items": [reference("msg_0")]}
            )
            assert (refused.status, refused.json()["error"]["param"]) == (404, "items")

            path = f"{RESPONSES}/input_tokens"
            alone = (await at.client.post(path, ASKED)).json()["input_tokens"]
            for longer in (
                {"input": [said, {"role": "user", "content": "One"}]},
                {"conversation": conversation},
                {"previous_response_id": response["id"]},
            ):
                counted = await at.client.post(path, ASKED | longer)
                assert counted.status == 200, counted.body
                assert counted.json()["input_tokens"] > alone
            refused = await at.client.post(path, ASKED | {"input": [reference("msg_0")]})
            assert (refused.status, refused.json()["error"]["param"]) == (404, "input")

            path = f"{RESPONSES}/compact"
            for asked in (
                ASKED | {"input": [said]},
                {"model": "p/m", "previous_response_id": response["id"]},
            ):
                compacted = await at.client.post(path, asked)
                assert compacted.status == 200, compacted.body
                assert "Hello there" in at.simulator.calls[-1].body.decode()
            refused = await at.client.post(path, ASKED | {"input": [reference("msg_0")]})
            assert (refused.status, refused.json()["error"]["param"]) == (404, "input")

    play(run())


def test_a_request_with_references_is_cached_as_what_it_means(tmp_path):
    async def run():
        async with scene(tmp_path, answer_with(MESSAGE), p="openai") as at:
            await at.client.post(RESPONSES, ASKED)
            named = await at.client.post(RESPONSES, ASKED | {"input": [reference("msg_1")]})
            assert not named.is_hit
            again = await at.client.post(RESPONSES, ASKED | {"input": [reference("msg_1")]})
            spelled_out = await at.client.post(RESPONSES, ASKED | {"input": [MESSAGE]})
            assert again.is_hit
            assert spelled_out.is_hit

    play(run())


def test_who_keeps_state_itself_is_told_references_as_they_are(tmp_path):
    async def run():
        async with scene(tmp_path, HELLO) as outer:
            upstream = Provider(type="openai", base_url=outer.simulator.base_url, models=(), state="upstream")
            async with scene(tmp_path, HELLO, providers={"p": upstream}) as at:
                named = [reference("msg_theirs"), {"type": "reasoning", "id": "rs_theirs"}]
                assert (await at.client.post(RESPONSES, ASKED | {"input": named})).status == 200
                assert sent_input(outer) == named

    play(run())


@pytest.mark.parametrize("caller", CALLERS)
def test_the_official_client_names_items(tmp_path, caller):
    async def run():
        async with scene(tmp_path, HELLO, p="openai") as at:
            official = caller(at.base_url)
            first = await official.result(lambda c: c.responses.create(model="p/m", input="One"))
            named = {"type": "item_reference", "id": first.output[-1].id}
            second = await official.result(
                lambda c: c.responses.create(model="p/m", input=[named, {"role": "user", "content": "Two"}])
            )
            assert second.status == "completed"
            assert sent_input(at)[0]["content"][0]["text"] == "Hello there"

    play(run())
