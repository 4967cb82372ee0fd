"""Expired entries that are given all the same: while they are refreshed, and where the upstream fails."""

import asyncio
import contextlib
import json
import logging

import pytest

from antiphon.drivers.simulator import Answer, Fault, refused_base_url, samples
from antiphon.settings import Duration, Key, Model, ModelCache, Provider, Secret, Timeout
from antiphon.wire.sse import FrameReader
from engine.scene import (
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    SHARING,
    SMALL,
    answering,
    gateway,
    number_in,
    outcome_of,
    run,
    scene,
    send,
    upstream,
)
from serving import Clock
from waiting import PATIENCE, eventually, settled

HOUR = 3600
REVALIDATING = {"ttl": Duration(60), "stale_while_revalidate": Duration(30)}
FORGIVING = {"ttl": Duration(60), "stale_if_error": Duration(600)}
ERROR = Answer(fault=Fault.SERVER_ERROR)
FAILURES = {
    "503": (ERROR, "upstream_error"),
    "429": (Answer(fault=Fault.RATE_LIMITED), "upstream_error"),
    "500": (Answer(status=500, body=b"{}"), "upstream_error"),
    "reset": (Answer(fault=Fault.RESET_BEFORE_HEAD), "upstream_reset"),
    "no answer": (Answer(fault=Fault.STALL, at=-1), "upstream_first_byte_timeout"),
    "not its kind": (Answer(fault=Fault.WRONG_CONTENT_TYPE), "upstream_content_type"),
}


def ttl_of(got):
    return int(got.cache_status.partition("ttl=")[2].partition(";")[0])


def fails_from(simulator, number, failure):
    """Answer well before call `number`, and with `failure` from then on."""

    def answer(received):
        count = len(simulator.calls)
        return answering(received, count) if count < number else failure

    simulator._choose = answer


async def refreshed(play, calls):
    """Return when the upstream was asked so often and nothing is live any more."""
    await eventually(lambda: play.calls == calls and play.application.producing.count == 0)


# stale-while-revalidate.


@pytest.mark.parametrize("path", [CHAT, RESPONSES, EMBEDDINGS])
def test_an_expired_answer_is_given_at_once_and_refreshed(tmp_path, path):
    """It says how stale it is; the next one is fresh, with nobody having waited for it."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            miss = await play.ask(path)
            clock.now += 75
            stale = await play.ask(path)
            assert (outcome_of(stale), ttl_of(stale), stale.headers["age"]) == ("hit", -15, "75")
            assert "detail" not in stale.cache_status
            assert stale.headers["x-cache"] == "HIT (exact)"
            await refreshed(play, 2)
            fresh = await play.ask(path)
            assert (outcome_of(fresh), ttl_of(fresh), play.calls) == ("hit", 60, 2)
            if path != EMBEDDINGS:
                assert [number_in(got) for got in (miss, stale, fresh)] == [1, 1, 2]

    run(test())


def test_at_the_moment_of_expiry_one_request_of_many_asks_again(tmp_path):
    """All are answered from what there is."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            gate = asyncio.Event()
            play.simulator.answer(Answer(body=samples.chat_body(700), gate=gate))
            clock.now += 60
            async with play.clients(5) as clients:
                for client in clients:
                    send(client)
                answers = [await client.answer() for client in clients]
                assert [outcome_of(got) for got in answers] == ["hit"] * 5
                assert [await play.outcome(stream=stream) for stream in (False, True)] == ["hit", "hit"]
                await play.simulator.wait_for_calls(2)
                gate.set()
                await refreshed(play, 2)
            assert ttl_of(await play.ask()) == 60

    run(test())


def test_nothing_is_given_beyond_the_window(tmp_path):
    """RFC 5861, section 3: up to so many seconds after it became stale."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            clock.now += 90
            assert outcome_of(await play.ask()) == "hit"
            await refreshed(play, 2)
            clock.now += 90.5
            assert outcome_of(await play.ask()) == "stale"
            assert play.calls == 3

    run(test())


def test_a_request_says_how_stale_an_answer_may_be(tmp_path):
    """Less than is configured, more, by header or in the body; what limits the age or the staleness goes before."""
    asked = [
        ({}, "hit"),
        ({"headers": {"Cache-Control": "stale-while-revalidate=0"}}, "stale"),
        ({"headers": {"Cache-Control": "stale-while-revalidate=19"}}, "stale"),
        ({"headers": {"Cache-Control": "stale-while-revalidate=20"}}, "hit"),
        ({"cache": {"stale-while-revalidate": 10}}, "stale"),
        ({"headers": {"Cache-Control": "max-age=1000"}}, "stale"),
        ({"headers": {"Cache-Control": "max-age=1000, stale-while-revalidate=30"}}, "hit"),
        ({"headers": {"Cache-Control": "max-age=70, stale-while-revalidate=30"}}, "request"),
        ({"headers": {"Cache-Control": "max-stale=10"}}, "stale"),
        ({"headers": {"Cache-Control": "max-stale=10, stale-while-revalidate=30"}}, "hit"),
        ({"headers": {"Cache-Control": "min-fresh=1"}}, "stale"),
    ]

    async def test():
        for number, (changes, expected) in enumerate(asked):
            clock = Clock()
            folder = tmp_path / str(number)
            folder.mkdir()
            async with scene(folder, clock=clock, cache=REVALIDATING) as play:
                await play.ask()
                clock.now += 80
                assert (changes, await play.outcome(**changes)) == (changes, expected)

    run(test())


def test_who_takes_only_what_is_cached_has_nothing_refreshed(tmp_path):
    """The expired answer is given, and the upstream is not asked."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            clock.now += 80
            assert await play.outcome(headers={"Cache-Control": "only-if-cached"}) == "hit"
            await settled(lambda: play.calls)
            assert play.calls == 1
            clock.now += 20
            assert (await play.ask(headers={"Cache-Control": "only-if-cached"})).status == 504

    run(test())


def test_a_refresh_that_fails_leaves_the_entry_and_is_not_repeated_at_once(tmp_path, caplog):
    """Nor is it before a pause is over; what is given says how stale it is meanwhile."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            fails_from(play.simulator, 2, ERROR)
            clock.now += 70
            for _ in range(3):
                stale = await play.ask()
                assert (outcome_of(stale), number_in(stale)) == ("hit", 1)
                await refreshed(play, 2)
            rows = await play.rows()
            assert [(row.cache, row.status) for row in rows] == [
                ("miss", 200),
                ("stale", 200),
                ("refresh", 503),
                ("stale", 200),
                ("stale", 200),
            ]

    with caplog.at_level(logging.WARNING):
        run(test())
    assert "could not be refreshed" in caplog.text


def test_a_refresh_is_counted_as_what_it_is(tmp_path):
    """A row of its own, which costs; the stale answer saves, and both say whose they are."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            clock.now += 70
            await play.ask(stream=True)
            await refreshed(play, 2)
            await play.ask()
            rows = {row.cache: row for row in await play.rows()}
            assert set(rows) == {"miss", "stale", "refresh", "hit"}
            stale, refresh = rows["stale"], rows["refresh"]
            assert (refresh.id, refresh.stream) == (f"{stale.id}-refresh", True)
            assert refresh.output_tokens == stale.output_tokens

    run(test())


def test_a_refresh_finds_what_another_process_has_put(tmp_path):
    """The second level is asked before the upstream."""

    async def test():
        clock = Clock()
        async with upstream() as simulator:
            options = {"clock": clock, "cache": REVALIDATING, "server": SHARING}
            async with (
                gateway(tmp_path, simulator, **options) as one,
                gateway(tmp_path, simulator, **options) as other,
            ):
                await one.ask()
                await one.committed()
                assert await other.outcome() == "hit"
                clock.now += 70
                await one.ask()
                await refreshed(one, 2)
                await one.committed()
                assert ttl_of(await other.ask()) == -10
                assert await eventually(lambda: other.entries()[0].expires_at > clock.now)
                assert ttl_of(await other.ask()) == 60
                assert len(simulator.calls) == 2

    run(test())


def test_what_only_the_second_level_has_is_given_while_it_is_refreshed(tmp_path):
    """After a restart as before."""

    async def test():
        clock = Clock()
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator, clock=clock, cache=REVALIDATING) as before:
                await before.ask()
            clock.now += 70
            async with gateway(tmp_path, simulator, clock=clock, cache=REVALIDATING) as after:
                assert ttl_of(await after.ask()) == -10
                await refreshed(after, 2)
                assert ttl_of(await after.ask()) == 60

    run(test())


def test_tags_stay_with_what_was_refreshed(tmp_path):
    """A request without them does not take them away."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask(headers={"X-Antiphon-Cache-Tag": "a, b"})
            clock.now += 70
            await play.ask(headers={"X-Antiphon-Cache-Tag": "c"})
            await refreshed(play, 2)
            assert [set(entry.tags) for entry in play.entries()] == [{"a", "b", "c"}]

    run(test())


def test_a_refresh_does_not_hold_up_the_end(tmp_path):
    """What is under way is given up when the gateway stops."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=REVALIDATING) as play:
            await play.ask()
            play.simulator.answer(Answer(fault=Fault.STALL, at=-1))
            clock.now += 70
            assert await play.outcome() == "hit"
            await play.simulator.wait_for_calls(2)
            async with asyncio.timeout(PATIENCE):
                await play.running.stop(0.2)

    run(test())


# stale-if-error.


@contextlib.asynccontextmanager
async def impatient(folder, **options):
    """A scene whose providers wait a little only."""
    async with upstream() as simulator:
        types = {"up": "openai", "chat": "openai-chat"}
        providers = {
            name: Provider(
                type=type_, base_url=simulator.base_url, models=("m",), first_byte_timeout=Timeout(0.3)
            )
            for name, type_ in types.items()
        }
        async with gateway(folder, simulator, providers=providers, **options) as play:
            yield play


@pytest.mark.parametrize(("failure", "code"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_expired_answer_stands_in_for_an_upstream_that_fails(tmp_path, path, stream, failure, code):
    """In the form that was asked for; the ledger has it as stale, with what had failed."""

    async def test():
        clock = Clock()
        stage = impatient if failure.fault is Fault.STALL else scene
        async with stage(tmp_path, clock=clock, cache=FORGIVING) as play:
            fails_from(play.simulator, 2, failure)
            miss = await play.ask(path, stream=stream)
            clock.now += 60 + 412
            got = await play.ask(path, stream=stream)
            assert (got.status, number_in(got)) == (200, number_in(miss))
            assert got.cache_status.startswith('antiphon; hit; ttl=-412; key="')
            assert got.cache_status.endswith("; detail=stale-if-error")
            assert (got.headers["age"], got.headers["x-cache"]) == ("472", "HIT (exact)")
            assert got.headers["content-type"] == miss.headers["content-type"]
            assert "warning" not in got.headers
            _, row = await play.rows()
            assert (row.cache, row.status, row.error, row.cost) == ("stale", 200, code, 0.0)

    run(test())


def test_an_expired_answer_stands_in_where_nobody_listens(tmp_path):
    """A refused connection."""

    async def test():
        clock = Clock()
        async with (
            upstream() as simulator,
            gateway(tmp_path, simulator, clock=clock, cache=FORGIVING) as play,
        ):
            await play.ask(RESPONSES)
        with refused_base_url() as nobody:
            clock.now += 100
            provider = Provider(type="openai", base_url=nobody, models=("m",))
            async with gateway(
                tmp_path, simulator, clock=clock, cache=FORGIVING, providers={"up": provider}
            ) as play:
                for stream in (False, True):
                    got = await play.ask(RESPONSES, stream=stream)
                    assert (got.status, ttl_of(got)) == (200, -40)

    run(test())


def test_everybody_who_had_joined_gets_it(tmp_path):
    """Streams and JSON, each in its form; who takes no stale answer gets the upstream's own error."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            await play.ask()
            gate = asyncio.Event()
            error = {"error": {"message": "over", "type": "server_error", "param": None, "code": "c"}}
            play.simulator.answer(Answer(status=503, body=json.dumps(error).encode(), gate=gate))
            clock.now += 70
            async with play.clients(4) as clients:
                one, two, three, strict = clients
                send(one)
                await play.listening(1)
                send(two, stream=True)
                send(three, user="u")
                send(strict, headers={"Cache-Control": "stale-if-error=0"})
                await play.listening(4)
                gate.set()
                got = [await client.answer() for client in clients]
            assert [answer.status for answer in got] == [200, 200, 200, 503]
            assert [ttl_of(answer) for answer in got[:3]] == [-10] * 3
            assert got[1].body.endswith(b"data: [DONE]\n\n")
            assert play.calls == 2
            rows = await play.rows()
            assert sorted(row.cache for row in rows) == ["collapsed", "miss", "stale", "stale", "stale"]

    run(test())


def test_a_response_that_stands_in_is_kept_and_can_be_continued(tmp_path):
    """It has an id of its own, and is found under that."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            first = json.loads((await play.ask(RESPONSES)).body)
            fails_from(play.simulator, 2, ERROR)
            clock.now += 70
            stale = json.loads((await play.ask(RESPONSES, metadata={"a": "b"})).body)
            assert stale["id"] != first["id"]
            assert stale["metadata"] == {"a": "b"}
            found = await play.client.get(f"{RESPONSES}/{stale['id']}")
            assert json.loads(found.body)["output"] == first["output"]
            fails_from(play.simulator, 99, ERROR)
            chained = await play.ask(RESPONSES, input="And?", previous_response_id=stale["id"])
            assert chained.status == 200

    run(test())


def test_nobody_is_written_to_who_has_left(tmp_path):
    """The answer was to be finished for a client that left; there is nothing to finish, only an old one to pass on."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            play.simulator.answer(Answer(frames=samples.responses_frames(3000)))
            assert len((await play.ask(RESPONSES, stream=True)).body) > 256 * 1024
            clock.now += 70
            gate = asyncio.Event()
            play.simulator.answer(Answer(status=503, body=b"{}", gate=gate))
            async with play.clients(1) as [client]:
                send(client, RESPONSES, stream=True, headers={"X-Antiphon-On-Disconnect": "finish"})
                await play.listening(1)
                (live,) = play.application.producing._live
                client.leave()
                await eventually(lambda: live.listeners[0].turn.reply._is_gone)
            gate.set()
            await refreshed(play, 2)
            rows = await eventually_rows(play, 2)
            assert sorted((row.cache, row.status) for row in rows) == [("abandoned", 499), ("miss", 200)]

    run(test())


async def eventually_rows(play, count):
    async def enough():
        rows = await play.rows()
        return rows if len(rows) >= count else None

    return await eventually(enough)


def test_what_only_the_second_level_has_stands_in_too(tmp_path):
    """It was looked up before the upstream was asked; memory has no room for it."""

    async def test():
        clock = Clock()
        cache = {**FORGIVING, "memory": SMALL}
        async with scene(tmp_path, clock=clock, cache=cache) as play:
            await play.ask()
            await play.committed()
            fails_from(play.simulator, 2, ERROR)
            clock.now += 70
            for stream in (False, True):
                assert ttl_of(await play.ask(stream=stream)) == -10
            assert play.entries() == []

    run(test())


def test_what_has_begun_is_not_replaced(tmp_path):
    """A stream that breaks off is told as one: its client has a part of it."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            await play.ask(stream=True)
            clock.now += 70
            frames = samples.chat_frames(8)
            play.simulator.answer(Answer(frames=frames, fault=Fault.RESET_BETWEEN_FRAMES, at=4))
            got = await play.ask(stream=True)
            assert outcome_of(got) == "stale"
            assert b'"error"' in FrameReader(1 << 20).feed(got.body)[-1]
            assert frames[0] in got.body

    run(test())


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_json_that_breaks_off_was_not_sent(tmp_path, stream):
    """Whoever waits for the whole answer has nothing of it yet: also of a stream that is to be folded."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            await play.ask()
            clock.now += 70
            broken = Answer(fault=Fault.NO_LAST_CHUNK, body=samples.chat_body(700))
            if stream:
                broken = Answer(frames=samples.chat_frames(8), fault=Fault.RESET_BETWEEN_FRAMES, at=4)
            play.simulator.answer(broken)
            got = await play.ask()
            assert (got.status, ttl_of(got)) == (200, -10)

    run(test())


def test_other_errors_are_passed_on(tmp_path):
    """A request that the upstream refuses as wrong has no answer, however old."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            await play.ask()
            fails_from(play.simulator, 2, Answer(status=400, body=b'{"error": {"message": "no"}}'))
            clock.now += 70
            got = await play.ask()
            assert (got.status, outcome_of(got)) == (400, "stale")

    run(test())


@pytest.mark.parametrize(
    ("control", "status"),
    [
        (None, 503),
        ("stale-if-error=40", 200),
        ("stale-if-error=39", 503),
        ("max-age=5, stale-if-error=40", 200),
        ("max-stale=5, stale-if-error=40", 200),
        ("no-cache, stale-if-error=40", 200),
        ("no-cache, stale-if-error=39", 503),
        ("no-cache", 503),
        ("no-store, stale-if-error=40", 503),
        ("only-if-cached, stale-if-error=40", 504),
    ],
)
@pytest.mark.parametrize("cache", [{}, {"memory": SMALL}], ids=["memory", "second level"])
def test_a_request_asks_for_stale_answers_itself(tmp_path, cache, control, status):
    """RFC 5861, section 4: regardless of other freshness information. Nothing is configured here."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache={"ttl": Duration(60), **cache}) as play:
            await play.ask()
            await play.committed()
            fails_from(play.simulator, 2, ERROR)
            clock.now += 100
            headers = {"Cache-Control": control} if control else {}
            assert (await play.ask(headers=headers)).status == status

    run(test())


@pytest.mark.parametrize(
    ("control", "status"), [(None, 200), ("stale-if-error=0", 503), ("no-cache", 503), ("max-age=5", 200)]
)
def test_a_request_refuses_stale_answers_where_they_are_configured(tmp_path, control, status):
    """`no-cache` wants nothing that is stored, unless it says so itself."""

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING) as play:
            await play.ask()
            fails_from(play.simulator, 2, ERROR)
            clock.now += 100
            headers = {"Cache-Control": control} if control else {}
            assert (await play.ask(headers=headers)).status == status

    run(test())


# Of each model.


def test_each_model_has_its_own_times(tmp_path):
    """By the name that is asked for; what it does not say is as for all."""
    models = {
        "short": Model(target="chat/a", cache=ModelCache(ttl=Duration(10))),
        "safe": Model(target="chat/b", cache=ModelCache(stale_if_error=Duration(0))),
        "usual": Model(target="chat/c"),
    }

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING, models=models) as play:
            for name in models:
                await play.ask(model=name)
            fails_from(play.simulator, 4, ERROR)
            clock.now += 20
            assert [ttl_of(await play.ask(model=name)) for name in models] == [-10, 40, 40]
            clock.now += 50
            got = [await play.ask(model=name) for name in models]
            assert [answer.status for answer in got] == [200, 503, 200]

    run(test())


def test_entries_are_kept_as_long_as_they_may_be_given(tmp_path):
    """Sweeping leaves them in the second level until the last window is over."""

    async def test():
        clock = Clock()
        cache = {"ttl": Duration(60), "stale_if_error": Duration(2 * HOUR), "memory": SMALL}
        async with scene(tmp_path, clock=clock, cache=cache) as play:
            await play.ask()
            await play.committed()
            fails_from(play.simulator, 2, ERROR)
            for after, status in ((60 + 2 * HOUR, 200), (1, 503)):
                clock.now += after
                play.application.storage.sweep(clock.now)
                await play.committed()
                assert (await play.ask()).status == status

    run(test())


def test_other_owners_see_nothing_of_it(tmp_path):
    """An expired entry is for those who share it, like any other."""
    keys = tuple(Key(name=name, key=Secret(f"{name}-key")) for name in ("alice", "bob"))

    async def test():
        clock = Clock()
        async with scene(tmp_path, clock=clock, cache=FORGIVING, keys=keys) as play:
            alice, bob = ({"Authorization": f"Bearer {name}-key"} for name in ("alice", "bob"))
            await play.ask(headers=alice)
            fails_from(play.simulator, 2, ERROR)
            clock.now += 70
            assert (await play.ask(headers=bob)).status == 503
            assert (await play.ask(headers=alice)).status == 200

    run(test())
