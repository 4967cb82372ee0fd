"""Equal requests in flight share one upstream call."""

import asyncio
import contextlib
import json
import re
import threading

import pytest

from antiphon.drivers.simulator import Answer, Fault, Simulator, refused_base_url, samples
from antiphon.settings import Key, Provider, Secret
from antiphon.wire.sse import FrameReader, write_frame
from e2e.plain_client import plain_client
from engine.scene import (
    CHAT,
    RESPONSES,
    SHARING,
    gateway,
    number_in,
    outcome_of,
    run,
    scene,
    send,
    upstream,
    usage_frame,
)
from serving import Clock
from waiting import eventually

RESPONSE_ID = re.compile(rb"resp_[0-9a-f]{48}")
STORES = pytest.mark.parametrize("store", ["storage", "none"])
MIXES = {
    "streams": [True] * 4,
    "json": [False] * 4,
    "stream first": [True, False, True, False],
    "json first": [False, True, False, True],
}
KEYS = tuple(Key(name=name, project="p", key=Secret(f"{name}-key")) for name in ("alice", "bob"))


def frames_for(path):
    return samples.responses_frames(12) if path == RESPONSES else samples.chat_frames(8)


def answer_for(path, *, stream, **changes):
    if stream:
        return Answer(frames=frames_for(path), **changes)
    return Answer(
        body=samples.responses_body(900) if path == RESPONSES else samples.chat_body(700), **changes
    )


def plain(body):
    return RESPONSE_ID.sub(b"resp_own", body)


def text_in(got):
    """Return the text of an answer, however it came."""
    if got.headers["content-type"] == "application/json":
        answer = got.json()
        if "output" in answer:
            return answer["output"][0]["content"][0]["text"]
        return answer["choices"][0]["message"]["content"]
    told = [json.loads(line[6:]) for line in got.body.split(b"\n") if line.startswith(b"data: {")]
    if any("response" in event for event in told):
        return "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    return "".join(choice["delta"].get("content") or "" for event in told for choice in event["choices"])


@contextlib.contextmanager
def second_level_held(play):
    """Let nobody look into the database meanwhile."""
    go_on = threading.Event()
    play.application.storage.database._reader.pool.submit(go_on.wait, 10)
    try:
        yield
    finally:
        go_on.set()


async def answers_of(clients):
    return list(await asyncio.gather(*(client.answer() for client in clients)))


# One call.


@STORES
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_equal_requests_share_one_call(tmp_path, path, mix, store):
    """Streamed, JSON and mixed: the upstream is asked in the form of the first, which alone is not `collapsed`."""
    streams = MIXES[mix]
    gate = asyncio.Event()

    async def test():
        answer = answer_for(path, stream=streams[0], gate=gate)
        async with scene(tmp_path, [answer], cache={"store": store}) as play, play.clients(4) as clients:
            send(clients[0], path, stream=streams[0])
            await play.simulator.wait_for_calls(1)
            for client, stream in list(zip(clients, streams, strict=True))[1:]:
                send(client, path, stream=stream)
            await play.listening(4)
            gate.set()
            got = await answers_of(clients)

            assert play.calls == 1
            assert [each.status for each in got] == [200] * 4
            assert ["collapsed" in each.cache_status for each in got] == [False, True, True, True]
            assert all(each.cache_status.startswith("antiphon; fwd=miss") for each in got)
            assert len({text_in(each) for each in got}) == 1
            for stream in (True, False):
                same = [plain(each.body) for each, asked in zip(got, streams, strict=True) if asked is stream]
                assert len(set(same)) <= 1
            same = next(each for each, asked in zip(got, streams, strict=True) if asked is streams[0])
            if path == CHAT:
                assert same.body == b"".join(answer.parts)
            assert await play.outcome(path, stream=True) == await play.outcome(path) == "hit"

    run(test())


def test_requests_that_come_while_the_second_level_is_asked_share_the_call(tmp_path):
    """They wait together, and the upstream hears of the first alone."""

    async def test():
        async with scene(tmp_path, server=SHARING) as play, play.clients(4) as clients:
            with second_level_held(play):
                for client, stream in zip(clients, MIXES["stream first"], strict=True):
                    send(client, stream=stream)
                await play.listening(4)
                assert play.calls == 0
            got = await answers_of(clients)
            assert play.calls == 1
            assert ["collapsed" in each.cache_status for each in got].count(False) == 1
            assert {number_in(each) for each in got} == {1}

    run(test())


def test_requests_that_come_while_the_second_level_is_asked_share_its_hit(tmp_path):
    """Each in its own form and at its own pace."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator) as play:
                await play.ask(stream=True)
            async with gateway(tmp_path, simulator) as play, play.clients(3) as clients:
                with second_level_held(play):
                    send(clients[0], stream=True)
                    send(clients[1])
                    send(clients[2], stream=True, headers={"X_Antiphon_Replay": "1000/s"})
                    await play.listening(3)
                got = await answers_of(clients)
                assert [outcome_of(each) for each in got] == ["hit"] * 3
                assert (got[2].body, "transfer-encoding" in got[2].headers) == (got[0].body, True)
                assert "content-length" in got[0].headers
                assert len(simulator.calls) == 1
                assert play.application.producing.count == 0
                assert [row.cache for row in await play.rows()] == ["miss", "hit", "hit", "hit"]

    run(test())


@STORES
@pytest.mark.parametrize(
    "asked",
    [
        {"cache": {"namespace": "blue"}},
        {"cache": {"ttl": 5}},
        {"headers": {"Cache_Control": "max-age=5"}},
        {"headers": {"Cache_Control": "max-stale"}},
        {"headers": {"X_Antiphon_Cache_Tag": "a"}},
    ],
    ids=str,
)
def test_requests_with_controls_share_a_call_too(tmp_path, asked, store):
    """As long as they may be answered by the cache at all."""
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with scene(tmp_path, [answer], cache={"store": store}) as play, play.clients(3) as clients:
            for client in clients:
                send(client, **asked)
            await play.listening(3)
            gate.set()
            got = await answers_of(clients)
            assert play.calls == 1
            assert sorted("collapsed" in each.cache_status for each in got) == [False, True, True]

    run(test())


def test_after_the_end_a_request_is_a_hit(tmp_path):
    """There is nothing left to join."""
    gate = asyncio.Event()

    async def test():
        async with (
            scene(tmp_path, [answer_for(CHAT, stream=True, gate=gate)]) as play,
            play.clients(2) as clients,
        ):
            for client in clients:
                send(client, stream=True)
            await play.listening(2)
            gate.set()
            await answers_of(clients)
            assert [await play.outcome(stream=stream) for stream in (True, False)] == ["hit", "hit"]
            assert (play.calls, play.application.producing.count) == (1, 0)

    run(test())


# Coming late.


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("at", [0, 1, 5, -1])
def test_who_comes_late_gets_what_there_was_and_then_the_rest(tmp_path, path, at):
    """At once, and in the end the same bytes as everybody."""
    frames = frames_for(path)
    at %= len(frames)
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames, gate=gate, gate_at=at)
        async with scene(tmp_path, [answer]) as play, play.clients(3) as clients:
            send(clients[0], path, stream=True)
            await play.simulator.wait_for_calls(1)
            await eventually(lambda: play.simulator.calls[0].parts_sent == at)
            for client in clients[1:]:
                send(client, path, stream=True)
            await play.listening(3)
            if at:
                for client in clients:
                    await client.head()
                begun = [await frames_from(client, at) for client in clients]
                assert len({plain(b"".join(each)) for each in begun}) == 1
                assert plain(b"".join(begun[0])) == b"".join(frames[:at]).replace(
                    b"resp_simulated", b"resp_own"
                )
                gate.set()
                rest = [await frames_from(client, len(frames) - at) for client in clients]
                got = [b"".join([*before, *after]) for before, after in zip(begun, rest, strict=True)]
            else:
                gate.set()
                got = [each.body for each in await answers_of(clients)]
            expected = b"".join(frames).replace(b"resp_simulated", b"resp_own")
            assert [plain(each) for each in got] == [expected] * 3
            assert play.calls == 1

    run(test())


async def frames_from(client, count):
    """Read so many frames of a chunked answer whose head was read."""
    reader = FrameReader(1 << 20)
    frames = []
    while len(frames) < count:
        size = int(await client.reader.readuntil(b"\r\n"), 16)
        frames += reader.feed((await client.reader.readexactly(size + 2))[:-2])
    assert len(frames) == count
    return frames


def test_a_late_request_for_json_waits_for_the_end(tmp_path):
    """It is folded from all of the stream."""
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames_for(CHAT), gate=gate, gate_at=4)
        async with scene(tmp_path, [answer]) as play, play.clients(2) as clients:
            send(clients[0], stream=True)
            await play.simulator.wait_for_calls(1)
            await eventually(lambda: play.simulator.calls[0].parts_sent == 4)
            send(clients[1])
            await play.listening(2)
            gate.set()
            stream, folded = await answers_of(clients)
            assert (text_in(stream), folded.cache_status) == (
                text_in(folded),
                "antiphon; fwd=miss; collapsed",
            )
            assert folded.headers["content-type"] == "application/json"

    run(test())


# Leaving.


@pytest.mark.parametrize("leaver", [0, 1, 2], ids=["first", "second", "last"])
@pytest.mark.parametrize(
    "streams", [[True] * 3, [False] * 3, [True, False, True], [False, True, False]], ids=str
)
def test_one_who_leaves_disturbs_nobody(tmp_path, leaver, streams):
    """The others get all of it, and what it cost is in the ledger once."""
    gate = asyncio.Event()
    *frames, done = samples.chat_frames(8)
    body = samples.chat_body(700)

    async def test():
        answer = (
            Answer(frames=[*frames, usage_frame(), done], gate=gate, gate_at=3)
            if streams[0]
            else Answer(body=body, gate=gate)
        )
        async with scene(tmp_path, [answer]) as play, contextlib.AsyncExitStack() as stack:
            clients = []
            for stream in streams:
                connection = plain_client(play.running.port)
                clients.append((await connection.__aenter__(), connection))
                send(clients[-1][0], model="up/gpt-4o", stream=stream)
                await play.listening(len(clients))
            await play.simulator.wait_for_calls(1)
            for index, (_, connection) in enumerate(clients):
                if index != leaver:
                    stack.push_async_exit(connection)
            await clients[leaver][1].__aexit__(None, None, None)
            await play.listening(2)
            gate.set()
            stayed = [client for index, (client, _) in enumerate(clients) if index != leaver]
            got = await answers_of(stayed)
            assert len({text_in(each) for each in got}) == 1
            assert play.calls == 1
            assert not play.simulator.calls[0].aborted

            await eventually(lambda: play.application.accounts.queued == 3)
            rows = await play.rows()
            left = [row for row in rows if row.status == 499]
            assert len(left) == 1
            assert sorted(row.cache for row in rows) == sorted(
                ["miss", *(["collapsed"] * 2 if leaver == 0 else ["collapsed", "abandoned"])]
            )
            (paid,) = [row for row in rows if row.cache == "miss"]
            assert (paid.output_tokens, paid in left) == (200, leaver == 0)
            assert paid.cost > 0
            assert [row.cost for row in rows if row is not paid] == [0.0, 0.0]
            saved = [row.cost_saved for row in rows if row is not paid]
            assert saved.count(paid.cost) == (2 if leaver == 0 else 1)
            assert play.application.producing._unpaid == {}
            assert await play.outcome(model="up/gpt-4o", stream=streams[0]) == "hit"

    run(test())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_when_all_have_left_the_upstream_is_closed(tmp_path, path, count):
    """At once; nothing is kept, and the next request asks again."""
    gate = asyncio.Event()

    async def test():
        answer = Answer(frames=frames_for(path), gate=gate, gate_at=3)
        async with scene(tmp_path, [answer]) as play:
            async with play.clients(count) as clients:
                for client in clients:
                    send(client, path, stream=True)
                await play.listening(count)
                await play.simulator.wait_for_calls(1)
                await eventually(lambda: play.simulator.calls[0].parts_sent == 3)
                assert not play.simulator.calls[0].aborted
            await play.simulator.calls[0].over.wait()
            assert play.simulator.calls[0].aborted
            assert play.application.producing.count == 0
            gate.set()
            assert await play.outcome(path, stream=True) == "miss"
            assert play.calls == 2
            rows = await play.rows()
            assert sorted(row.cache for row in rows) == ["abandoned"] * (count - 1) + ["miss", "miss"]

    run(test())


def test_who_leaves_while_the_second_level_is_asked_is_counted_once(tmp_path):
    """Also the first, whose search goes on for the others; a search for nobody asks no upstream."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator) as play:
                await play.ask()
            async with gateway(tmp_path, simulator, server=SHARING) as play:
                with second_level_held(play):
                    async with play.clients(1) as (leaver,):
                        send(leaver)
                        await play.listening(1)
                        send(play.client)
                        await play.listening(2)
                    await play.listening(1)
                assert outcome_of(await play.client.answer()) == "hit"
                with second_level_held(play):
                    async with play.clients(1) as (leaver,):
                        send(leaver, seed=7)
                        await play.listening(1)
                    await play.listening(0)
                await eventually(lambda: play.application.accounts.queued == 3)
                rows = await play.rows()
                assert sorted((row.cache, row.status) for row in rows[1:]) == [
                    ("hit", 200),
                    ("miss", 499),
                    ("miss", 499),
                ]
                assert (len(simulator.calls), play.application.producing._unpaid) == (1, {})
                assert play.application.producing.count == 0

    run(test())


# Failing.


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.RATE_LIMITED, 429, "rate_limit_exceeded"),
        (Fault.SERVER_ERROR, 503, "server_error"),
        (Fault.WRONG_CONTENT_TYPE, 502, "upstream_content_type"),
        (Fault.RESET_BEFORE_HEAD, 502, None),
    ],
)
def test_a_failure_reaches_all_of_them(tmp_path, fault, status, code):
    """With its status, its code, and when to come again."""

    async def test():
        async with (
            scene(tmp_path, [Answer(body=b"{}", fault=fault)], server=SHARING) as play,
            play.clients(4) as clients,
        ):
            with second_level_held(play):
                for client, stream in zip(clients, MIXES["stream first"], strict=True):
                    send(client, stream=stream)
                await play.listening(4)
            got = await answers_of(clients)
            assert [each.status for each in got] == [status] * 4
            assert len({each.body for each in got}) == 1
            if code is not None:
                assert got[0].json()["error"]["code"] == code
            assert {each.headers.get("retry-after") for each in got} == {"7" if status == 429 else None}
            assert ["collapsed" in each.cache_status for each in got].count(False) == 1
            assert {row.status for row in await play.rows()} == {status}
            calls = play.calls
            assert await play.outcome() == "miss"
            assert play.calls > calls

    run(test())


def test_a_refused_connection_reaches_all_of_them(tmp_path):
    """As a fault of the upstream."""

    async def test():
        with refused_base_url() as url:
            providers = {"chat": Provider(type="openai-chat", base_url=url, models=())}
            async with (
                scene(tmp_path, providers=providers, server=SHARING) as play,
                play.clients(3) as clients,
            ):
                with second_level_held(play):
                    for client in clients:
                        send(client)
                    await play.listening(3)
                got = await answers_of(clients)
                assert [each.status for each in got] == [502] * 3
                assert len({each.json()["error"]["code"] for each in got}) == 1

    run(test())


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("fault", [Fault.RESET_BETWEEN_FRAMES, Fault.RESET_INSIDE_FRAME, Fault.NO_LAST_CHUNK])
def test_a_cut_in_the_middle_reaches_all_of_them(tmp_path, path, fault):
    """Streams get what there was and then an error, JSON gets none of it."""
    gate = asyncio.Event()
    frames = frames_for(path)[:6]

    async def test():
        answer = Answer(frames=frames, fault=fault, at=5, gate=gate, gate_at=4)
        async with scene(tmp_path, [answer]) as play, play.clients(4) as clients:
            streams = MIXES["stream first"]
            for client, stream in zip(clients, streams, strict=True):
                send(client, path, stream=stream)
                await play.listening(clients.index(client) + 1)
            await play.simulator.wait_for_calls(1)
            gate.set()
            got = await answers_of(clients)
            assert [each.status for each in got] == [200, 502, 200, 502]
            first, second = (plain(each.body) for each in got[::2])
            assert first == second
            assert b"".join(frames[:4]).replace(b"resp_simulated", b"resp_own") in first
            assert b'"error"' in first
            assert b"response.failed" in first or b"[DONE]" not in first
            assert got[1].json() == got[3].json()
            assert await play.outcome(path, stream=True) == "miss"

    run(test())


def test_a_defect_of_ours_leaves_nobody_waiting(tmp_path):
    """All who wait are told, without internals, and with the id under which the log tells more."""

    async def test():
        async with scene(tmp_path, server=SHARING) as play, play.clients(2) as clients:

            async def broken(digest):
                await asyncio.sleep(0)
                raise KeyError("secret internals")

            play.application.second_level.get = broken
            for client in clients:
                send(client)
            got = await answers_of(clients)
            assert [each.status for each in got] == [500, 500]
            assert all(b"secret" not in each.body and each.headers["x-request-id"] for each in got)
            assert play.application.producing.count == 0

    run(test())


# Who does not join.


@STORES
@pytest.mark.parametrize(
    "asked",
    [
        {"headers": {"Cache_Control": "no-store"}},
        {"headers": {"Cache_Control": "no-cache"}},
        {"cache": {"no-store": True}},
        {"cache": {"no-cache": True}},
        {"cache": {"namespace": "blue"}},
        {"headers": {"X_Antiphon_Cache": "off"}},
        {"seed": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["joins", "leads"])
def test_who_must_not_share_never_joins_and_is_never_joined(tmp_path, asked, order, store):
    """Such a request has an upstream call of its own, whoever was first."""
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with scene(tmp_path, [answer], cache={"store": store}) as play, play.clients(2) as clients:
            for number, changes in enumerate([{}, asked] if order == "joins" else [asked, {}]):
                send(clients[number], **changes)
                await play.simulator.wait_for_calls(number + 1)
            gate.set()
            got = await answers_of(clients)
            assert play.calls == 2
            assert not any("collapsed" in each.cache_status for each in got)

    run(test())


@pytest.mark.parametrize("scope", ["key", "project", "global"])
def test_other_owners_never_join(tmp_path, scope):
    """Whatever they share once it is whole: a live answer is its owner's, who pays for it."""
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with (
            scene(tmp_path, [answer], cache={"scope": scope}, keys=KEYS) as play,
            play.clients(4) as clients,
        ):
            for client, name in zip(clients, ["alice", "bob", "alice", "bob"], strict=True):
                send(client, headers={"Authorization": f"Bearer {name}-key"})
            await play.listening(4)
            await play.simulator.wait_for_calls(2)
            gate.set()
            got = await answers_of(clients)
            assert play.calls == 2
            assert ["collapsed" in each.cache_status for each in got].count(True) == 2

    run(test())


def test_with_separate_entries_json_and_streams_do_not_join(tmp_path):
    """Each form has a call of its own."""
    gate = asyncio.Event()

    async def test():
        def choose(received):
            return answer_for(CHAT, stream=json.loads(received.body)["stream"], gate=gate)

        async with scene(tmp_path, choose, cache={"stream": "separate"}) as play, play.clients(4) as clients:
            for client, stream in zip(clients, [True, False, True, False], strict=True):
                send(client, stream=stream)
            await play.listening(4)
            await play.simulator.wait_for_calls(2)
            gate.set()
            got = await answers_of(clients)
            assert play.calls == 2
            assert ["collapsed" in each.cache_status for each in got].count(True) == 2

    run(test())


def test_without_a_cache_nobody_joins(tmp_path):
    """There is no key to be equal by."""
    gate = asyncio.Event()

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with scene(tmp_path, [answer], cache=None) as play, play.clients(2) as clients:
            for client in clients:
                send(client)
            await play.simulator.wait_for_calls(2)
            gate.set()
            assert [each.status for each in await answers_of(clients)] == [200, 200]

    run(test())


@STORES
def test_who_only_takes_what_is_cached_neither_joins_nor_leads(tmp_path, store):
    """It hears 504 while the answer is still being made, and nobody hears it with it."""
    gate = asyncio.Event()
    only = {"headers": {"Cache_Control": "only-if-cached"}}

    async def test():
        answer = answer_for(CHAT, stream=False, gate=gate)
        async with (
            scene(tmp_path, [answer], cache={"store": store}, server=SHARING) as play,
            play.clients(3) as clients,
        ):
            with second_level_held(play):
                send(clients[0], **only)
                send(clients[1])
                send(clients[2], **only)
                await play.listening(3 if store == "storage" else 1)
            assert [(await clients[index].answer()).status for index in (0, 2)] == [504, 504]
            await play.simulator.wait_for_calls(1)
            gate.set()
            got = await clients[1].answer()
            assert (got.status, outcome_of(got), play.calls) == (200, "miss", 1)

    run(test())


def test_each_judges_for_itself_what_the_second_level_has(tmp_path):
    """Who takes a stale answer gets it, and those who do not share one call for a fresh one."""
    clock = Clock()

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator, clock=clock, cache={"ttl": 100}) as play:
                await play.ask()
            clock.now += 150
            async with (
                gateway(tmp_path, simulator, clock=clock, cache={"ttl": 100}) as play,
                play.clients(4) as clients,
            ):
                with second_level_held(play):
                    for client, control in zip(
                        clients, ["max-stale", "max-age=200", None, "max-stale=60"], strict=True
                    ):
                        send(client, headers={"Cache_Control": control} if control else {})
                        await play.listening(clients.index(client) + 1)
                got = await answers_of(clients)
                assert [number_in(each) for each in got] == [1, 2, 2, 1]
                assert [outcome_of(each) for each in got] == ["hit", "stale", "stale", "hit"]
                assert "collapsed" in got[2].cache_status
                assert len(simulator.calls) == 2

    run(test())


def test_a_search_does_not_bring_back_what_was_refreshed_meanwhile(tmp_path):
    """The newer of the two entries counts."""
    clock = Clock()

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator, clock=clock) as play:
                await play.ask()
            clock.now += 10
            async with gateway(tmp_path, simulator, clock=clock) as play, play.clients(1) as (client,):
                with second_level_held(play):
                    send(client)
                    await play.listening(1)
                    fresh = await play.ask(headers={"Cache_Control": "no-cache"})
                got = await client.answer()
                assert (number_in(fresh), number_in(got), outcome_of(got)) == (2, 2, "hit")
                assert number_in(await play.ask()) == 2

    run(test())


# To each their own.


@pytest.mark.parametrize("mix", MIXES)
def test_each_has_an_id_and_metadata_of_its_own(tmp_path, mix):
    """In every event and in the body, and it is kept under that id."""
    gate = asyncio.Event()
    streams = MIXES[mix]

    async def test():
        answer = answer_for(RESPONSES, stream=streams[0], gate=gate)
        async with scene(tmp_path, [answer]) as play, play.clients(4) as clients:
            send(clients[0], RESPONSES, stream=streams[0], metadata={"who": "0"})
            await play.simulator.wait_for_calls(1)
            for number, (client, stream) in list(enumerate(zip(clients, streams, strict=True)))[1:]:
                send(client, RESPONSES, stream=stream, metadata={"who": str(number)}, store=number != 3)
            await play.listening(4)
            gate.set()
            got = await answers_of(clients)
            ids = [set(RESPONSE_ID.findall(each.body)) for each in got]
            assert [len(found) for found in ids] == [1] * 4
            assert len(set.union(*ids)) == 4
            for number, each in enumerate(got):
                assert b"resp_simulated" not in each.body
                # The samples are not from an upstream that knows the metadata: it echoes none.
                told = json.loads(b'{"who":"%d"}' % number) if number else {}
                assert last_response(each)["metadata"] == told
                play.client.send("GET", f"{RESPONSES}/{ids[number].pop().decode()}", b"")
                kept = await play.client.answer()
                assert kept.status == (404 if number == 3 else 200)
                if number != 3:
                    assert kept.json()["metadata"] == told

    run(test())


def last_response(got):
    if got.headers["content-type"] == "application/json":
        return got.json()
    told = [json.loads(line[6:]) for line in got.body.split(b"\n") if line.startswith(b"data: {")]
    return [event["response"] for event in told if "response" in event][-1]


@pytest.mark.parametrize("first_asks", [True, False])
def test_usage_is_shown_to_who_asked_for_it(tmp_path, first_asks):
    """Although all read the same frames."""
    gate = asyncio.Event()
    *frames, done = samples.chat_frames(8)

    async def test():
        answer = Answer(frames=[*frames, usage_frame(), done], gate=gate)
        async with scene(tmp_path, [answer]) as play, play.clients(2) as clients:
            for client, asks in zip(clients, [first_asks, not first_asks], strict=True):
                send(client, stream=True, **({"stream_options": {"include_usage": True}} if asks else {}))
                await play.listening(clients.index(client) + 1)
            gate.set()
            got = await answers_of(clients)
            assert [b'"usage"' in each.body for each in got] == [first_asks, not first_asks]

    run(test())


@pytest.mark.parametrize("slow", ["first", "last"])
def test_a_slow_reader_does_not_slow_the_others(tmp_path, slow):
    """They have all of it while it has hardly begun; in the end it has the same bytes."""
    text = "x" * 100_000
    chunk = b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%b"}}]}'
    frames = [write_frame(chunk % text.encode()) for _ in range(60)]
    frames += [
        write_frame(
            b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"finish_reason":"stop"}]}'
        ),
        b"data: [DONE]\n\n",
    ]
    gate = asyncio.Event()

    async def test():
        async with (
            Simulator(Answer(frames=frames, gate=gate)) as simulator,
            gateway(tmp_path, simulator) as play,
            plain_client(play.running.port, receive_buffer=4096) as dawdler,
            play.clients(2) as clients,
        ):
            order = [dawdler, *clients] if slow == "first" else [*clients, dawdler]
            for number, client in enumerate(order):
                send(client, stream=True)
                await play.listening(number + 1)
            gate.set()
            got = await answers_of(clients)
            assert {each.body for each in got} == {b"".join(frames)}
            assert len(dawdler.reader._buffer) < len(text)
            late = await dawdler.answer()
            assert late.body == got[0].body
            assert len(simulator.calls) == 1

    run(test())
