"""Conversations, against a plain list: what is added is there in order, in pages, for its owner, one writer at a time."""

import asyncio
import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.ports.conversations import Conversation, Refusal
from antiphon.recording import Mode, Outcome, Recording, State
from antiphon.turn.history import Context
from antiphon.turn.items import PageAsked
from antiphon.wire.errors import ClientFault
from drivers.stores.place import NOW, Clock, append_of, kept_of, new_run, opened
from waiting import PATIENCE

ITEM = st.integers(0, 9).map(
    lambda number: (
        b'{"id":"msg_%d","role":"user","content":"x"}' % number
        if number < 5
        else b'{"role":"user","content":"%d"}' % number
    )
)
ITEMS = st.lists(ITEM, max_size=4)
PICK = st.integers(0, 50)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), ITEMS),
        st.tuples(st.just("add"), PICK, ITEMS),
        st.tuples(st.just("remove"), PICK, PICK),
        st.tuples(st.just("delete"), PICK),
        st.tuples(st.just("lock"), PICK, st.sampled_from("ab")),
        st.tuples(st.just("unlock"), PICK, st.sampled_from("ab")),
        st.tuples(st.just("answer"), PICK, st.sampled_from("ab"), ITEMS),
        st.tuples(st.just("wait")),
        st.tuples(
            st.just("page"), PICK, st.integers(1, 5), st.booleans(), st.none() | PICK, st.none() | PICK
        ),
    ),
    max_size=30,
)
LEASE = 10.0
OUTPUT = b'{"id":"msg_out","type":"message","role":"assistant","content":[]}'


def run(test):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(within_reason())


def recording_with(*output, state=State.COMPLETED, name="r"):
    recording = Recording(name, "responses", Mode.JSON, "up", "gpt", NOW)
    recording.extend([b'{"id":"resp_up","status":"completed","output":[%b]}' % b",".join(output)], 1)
    recording.outcome = Outcome(state)
    recording.ended_at = NOW
    return recording


async def create(storage, *items, conversation_id="conv_1", owner="alice"):
    return await storage.conversations.create(Conversation(conversation_id, int(NOW), {}), owner, items)


async def ids_in(storage, conversation_id="conv_1", owner="alice"):
    asked = PageAsked(100, is_descending=False, after=None, before=None)
    return [each.id for each in (await storage.conversations.page(conversation_id, owner, asked)).items]


class Model:
    """A conversation as a list."""

    def __init__(self, conversation_id, items):
        self.id = conversation_id
        self.items = items
        self.is_there = True
        self.holder = None
        self.until = 0.0

    def is_locked(self, now):
        return self.holder is not None and self.until > now


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_conversations_are_as_plain_lists_have_them(place, loop, steps):
    loop.run_until_complete(place.empty())
    loop.run_until_complete(_against_lists(place, steps))


async def _against_lists(place, steps):
    clock, known, numbers = Clock(NOW), [], itertools.count()
    async with opened(place, clock) as storage:
        store = storage.conversations
        for what, *rest in steps:
            if what == "create":
                made = Conversation(f"conv_{next(numbers)}", int(NOW), {"n": "1"})
                added = await store.create(made, "alice", tuple(rest[0]))
                assert [each.item for each in added] == rest[0]
                known.append(Model(made.id, [*added]))
            elif what == "wait":
                clock.now += LEASE / 2
            elif known:
                each = known[rest[0] % len(known)]
                await _step(store, each, what, rest[1:], clock.now)
        for each in known:
            assert (await store.get(each.id, "alice") is not None) == each.is_there
            assert await store.get(each.id, "bob") is None
            assert list(await store.items(each.id, "alice", 1000)) == [item for _, item in each.items]
        ids = [named.id for each in known for named in each.items]
        assert len(ids) == len(set(ids))


async def _step(store, model, what, rest, now):
    expected = None
    if not model.is_there:
        expected = Refusal.UNKNOWN
    elif model.is_locked(now):
        expected = Refusal.LOCKED
    match what, rest:
        case "add", (items,):
            added = await store.add(model.id, "alice", tuple(items))
            if expected is not None:
                assert added is expected
                return
            assert [each.item for each in added] == items
            model.items += added
        case "remove", (pick,):
            target = model.items[pick % len(model.items)].id if model.items else "msg_none"
            removed = await store.remove(model.id, "alice", target)
            assert await store.remove(model.id, "bob", target) is Refusal.UNKNOWN
            if expected is not None:
                assert removed is expected
                return
            assert removed is bool(model.items)
            model.items = [each for each in model.items if each.id != target]
        case "delete", ():
            assert await store.delete(model.id, "bob") is False
            assert await store.delete(model.id, "alice") is model.is_there
            model.is_there = False
        case "lock", (holder,):
            assert await store.lock(model.id, "alice", holder, LEASE) is expected
            if expected is None:
                model.holder, model.until = holder, now + LEASE
        case "unlock", (holder,):
            store.unlock(model.id, holder)
            if model.holder == holder:
                model.holder = None
        case "answer", (holder, items):
            store.append(model.id, "alice", holder, lambda: tuple(items))
            asked = PageAsked(100, is_descending=False, after=None, before=None)
            if model.holder == holder:
                model.holder = None
                if model.is_there:
                    everything = (await store.page(model.id, "alice", asked)).items
                    assert [each.item for each in everything[len(model.items) :]] == items
                    model.items = everything
            assert (await store.page(model.id, "alice", asked)).items == model.items
        case "page", (limit, is_descending, after, before):
            await _page(store, model, limit, is_descending, after, before)


async def _page(store, model, limit, is_descending, after, before):
    items = model.items[::-1] if is_descending else model.items
    ids = [each.id for each in items]

    def named(pick):
        return None if pick is None else ids[pick % len(ids)] if ids else "msg_none"

    asked = PageAsked(limit, is_descending, named(after), named(before))
    if not ids and (after is not None or before is not None):
        with pytest.raises(ClientFault):
            await store.page(model.id, "alice", asked)
        return
    start = 0 if after is None else ids.index(asked.after) + 1
    end = len(ids) if before is None else ids.index(asked.before)
    page = await store.page(model.id, "alice", asked)
    assert page.items == items[start:end][:limit]
    assert page.has_more == (start + limit < end)


def test_an_answer_and_its_place_in_a_conversation_are_kept_together(place):
    """Whoever can read the answer finds the conversation grown, and free."""

    async def test():
        async with opened(place) as storage:
            await create(storage, b'{"id":"msg_0","role":"user","content":"a"}')
            assert await storage.conversations.lock("conv_1", "alice", "resp_1", LEASE) is None
            items = (b'{"role":"user","content":"a"}', b'{"id":"msg_in","role":"user","content":"b"}')
            context = Context(None, items, items, 1, conversation="conv_1")
            storage.responses.put(kept_of("resp_1", recording_with(OUTPUT), context=context))
            assert await ids_in(storage) == ["msg_0", "msg_in", "msg_out"]
            assert await storage.conversations.lock("conv_1", "alice", "resp_2", LEASE) is None

    run(test())


def test_an_answer_whose_lock_was_lost_adds_nothing(place):
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            await create(storage)
            assert await storage.conversations.lock("conv_1", "alice", "resp_1", LEASE) is None
            clock.now += LEASE + 1
            assert await storage.conversations.lock("conv_1", "alice", "resp_2", LEASE) is None
            await storage.conversations.prolong([("conv_1", "resp_1")], LEASE)
            context = Context(None, (b"{}",), (b"{}",), 0, conversation="conv_1")
            storage.responses.put(kept_of("resp_1", recording_with(OUTPUT), context=context))
            assert await ids_in(storage) == []
            refused = await storage.conversations.lock("conv_1", "alice", "resp_3", LEASE)
            assert refused is Refusal.LOCKED

    run(test())


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed", "cancelled", "deleted", "lost"])
def test_a_run_holds_its_conversation_until_it_ends_however_it_ends(place, end):
    """Longer than any lease; and with its end it has told the conversation, or never will."""
    clock = Clock(NOW)
    response = json.dumps({"id": "resp_1", "status": end, "output": [json.loads(OUTPUT)]}).encode()
    frame = b'event: response.%b\ndata: {"type":"response.%b","response":%b}\n\n' % (
        end.encode(),
        end.encode(),
        response,
    )

    async def test():
        async with opened(place, clock) as storage:
            store, runs = storage.conversations, storage.runs
            await create(storage, b'{"id":"msg_0","role":"user","content":"a"}')
            assert await store.lock("conv_1", "alice", "resp_1", LEASE) is None
            items = (b'{"role":"user","content":"a"}', b'{"id":"msg_in","role":"user","content":"b"}')
            context = Context(None, items, items, 1, conversation="conv_1")
            worker = runs.enter()
            lease = await runs.create(new_run("resp_1", context=context), worker)
            for _ in range(5):
                clock.now += LEASE
                assert await runs.renew([("resp_1", lease.epoch)]) == {"resp_1"}
                assert await store.lock("conv_1", "alice", "resp_2", LEASE) is Refusal.LOCKED
                assert await store.add("conv_1", "alice", ()) is Refusal.LOCKED
            if end in ("completed", "incomplete", "failed"):
                assert await runs.append([append_of(lease, (frame,), status=end)]) == [True]
            elif end == "deleted":
                assert await runs.delete("resp_1", "alice")
            else:
                assert await runs.end("resp_1", "failed" if end == "lost" else end, [b"over"])
                assert await runs.append([append_of(lease, (frame,), status="completed")]) == [False]
            grown = ["msg_0", "msg_in", "msg_out"] if end in ("completed", "incomplete") else ["msg_0"]
            assert await ids_in(storage) == grown
            assert await store.lock("conv_1", "alice", "resp_2", LEASE) is None

    run(test())


def test_items_are_found_wherever_they_are_kept(place):
    """In outputs, in inputs with an id, and in conversations; by their owner alone."""

    async def test():
        async with opened(place) as storage:
            await create(storage, b'{"id":"msg_0","role":"user","content":"a"}')
            context = Context(None, (b'{"id":"msg_in","role":"user","content":"b"}',))
            storage.responses.put(kept_of("resp_1", recording_with(OUTPUT), context=context))
            ids = ["msg_0", "msg_in", "msg_out", "msg_none"]
            found = await storage.items.find(ids, "alice")
            assert found == {
                "msg_0": b'{"id":"msg_0","role":"user","content":"a"}',
                "msg_in": context.new[0],
                "msg_out": OUTPUT,
            }
            assert await storage.items.find(ids, "bob") == {}
            await storage.responses.delete("resp_1", "alice")
            assert list(await storage.items.find(ids, "alice")) == ["msg_0"]

    run(test())


def test_the_items_of_a_run_are_found_before_it_is_settled(place):
    """A client that has seen its end may name them at once."""
    response = json.dumps({"id": "resp_1", "status": "completed", "output": [json.loads(OUTPUT)]}).encode()
    done = b'data: {"type":"response.output_item.done","output_index":0,"item":%b}\n\n' % OUTPUT
    frame = b'data: {"type":"response.completed","response":%b}\n\n' % response

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run("resp_1"), storage.runs.enter())
            assert await storage.items.find(["msg_out"], "alice") == {}
            await storage.runs.append([append_of(lease, (done, frame), status="completed")])
            found = await storage.items.find(["msg_out"], "alice")
            assert json.loads(found["msg_out"]) == json.loads(OUTPUT)
            assert await storage.items.find(["msg_out"], "bob") == {}

    run(test())
