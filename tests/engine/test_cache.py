"""The exact cache, end to end over sockets."""

import json
import re

import pytest

from antiphon.cache.entry import Entry
from antiphon.drivers.simulator import Answer, samples
from antiphon.settings import Key, Model, Provider, Secret, Size
from antiphon.wire.sse import FrameReader
from drivers.sqlite.opening import change, rows_of
from engine.scene import (
    ASKED,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    SHARING,
    SMALL,
    gateway,
    number_in,
    numbered,
    outcome_of,
    run,
    scene,
    send,
    upstream,
)
from serving import Clock
from waiting import eventually

FORMS = [
    (CHAT, False),
    (CHAT, True),
    (COMPLETIONS, False),
    (COMPLETIONS, True),
    (RESPONSES, False),
    (RESPONSES, True),
    (EMBEDDINGS, False),
]
RESPONSE_ID = re.compile(rb"resp_[0-9a-f]{48}")
CREATED_AT = re.compile(rb'"created_at":\d+')
KEYS = (
    Key(name="alice", project="search", key=Secret("alice-key")),
    Key(name="bob", project="search", key=Secret("bob-key")),
    Key(name="carol", project="other", key=Secret("carol-key")),
)


def as_key(name):
    return {"Authorization": f"Bearer {name}-key"}


def without_identity(body):
    return CREATED_AT.sub(b'"created_at":0', RESPONSE_ID.sub(b"resp_x", body))


def status_of(got):
    """Read Cache-Status: what it says, by name."""
    _, *parameters = got.cache_status.split("; ")
    parts = (parameter.partition("=") for parameter in parameters)
    return {name: value.strip('"') if equals else True for name, equals, value in parts}


# Hits and misses.


@pytest.mark.parametrize(("path", "stream"), FORMS)
def test_an_answer_is_asked_for_once(tmp_path, path, stream):
    """A1, A6, B1, B2, D2: the second of two equal requests is a hit with the same bytes, but for the response's id."""

    async def test():
        async with scene(tmp_path) as play:
            miss = await play.ask(path, stream=stream)
            hits = [await play.ask(path, stream=stream) for _ in range(3)]
            assert (miss.status, outcome_of(miss), play.calls) == (200, "miss", 1)
            assert "x-cache" not in miss.headers
            assert "age" not in miss.headers
            for hit in hits:
                assert (hit.status, outcome_of(hit)) == (200, "hit")
                assert (hit.headers["x-cache"], hit.headers["age"]) == ("HIT (exact)", "0")
                assert hit.headers["content-type"] == miss.headers["content-type"]
                assert without_identity(hit.body) == without_identity(miss.body)
                assert path == RESPONSES or hit.body == miss.body
            assert len({status_of(hit)["key"] for hit in hits}) == 1

    run(test())


def test_an_answer_that_is_whole_before_it_is_sent_says_that_it_was_stored(tmp_path):
    """A stream's headers are gone by the time that this is known."""

    async def test():
        async with scene(tmp_path) as play:
            assert (await play.ask()).cache_status == "antiphon; fwd=miss; stored"
            assert (await play.ask(stream=True, seed=1)).cache_status == "antiphon; fwd=miss"

    run(test())


def test_equal_meaning_is_a_hit_whatever_the_bytes(tmp_path):
    """Order, blanks, spelling, and members that do not change the answer."""
    bodies = [
        b'{"model":"chat/m","temperature":0,"messages":[{"role":"user","content":"Hi"}]}',
        b' {"temperature" : -0.0, "messages": [{"content":"H\\u0069", "role":"user"}], "model":"chat/m" }\n',
        b'{"model":"chat/m","temperature":0e0,"messages":[{"role":"user","content":"Hi"}],"user":"u","store":true}',
    ]

    async def test():
        async with scene(tmp_path) as play:
            outcomes = [outcome_of(await play.client.post(CHAT, body)) for body in bodies * 2]
            assert outcomes == ["miss", *["hit"] * 5]

    run(test())


def test_other_input_has_another_answer(tmp_path):
    """A12: another value, another member, a null, another route, another model."""

    async def test():
        async with scene(tmp_path) as play:
            requests = [
                (CHAT, {}),
                (CHAT, {"temperature": 1}),
                (CHAT, {"temperature": None}),
                (CHAT, {"messages": []}),
                (CHAT, {"model": "chat/n"}),
                (CHAT, {"model": "up/m"}),
                (COMPLETIONS, {}),
                (EMBEDDINGS, {}),
                (EMBEDDINGS, {"input": "There"}),
            ]
            for expected in ("miss", "hit"):
                assert [await play.outcome(path, **asked) for path, asked in requests] == [expected] * len(
                    requests
                )
            assert play.calls == len(requests)

    run(test())


def test_without_a_cache_nothing_is_said_about_one(tmp_path):
    """Nor kept, whatever a request asks of it."""

    async def test():
        async with scene(tmp_path, cache=None) as play:
            for control in ("no-store", "max-age=5", "no-cache"):
                got = await play.ask(headers={"Cache_Control": control}, cache={"ttl": 5})
                assert "cache-status" not in got.headers
                assert "cache" not in play.sent()
            assert (play.calls, play.entries()) == (3, [])
            assert [row.cache for row in await play.rows()] == ["off"] * 3

    run(test())


@pytest.mark.parametrize("shared", [(False, True), (True, False)], ids=["json first", "stream first"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_json_and_streams_serve_each_other(tmp_path, path, shared):
    """With `stream: shared` one recording answers both, each in its own form."""

    async def test():
        async with scene(tmp_path) as play:
            first, other = [await play.ask(path, stream=stream) for stream in shared]
            assert (outcome_of(first), outcome_of(other), play.calls) == ("miss", "hit", 1)
            assert number_in(first) == number_in(other) == 1
            kinds = {
                stream: got.headers["content-type"]
                for stream, got in zip(shared, (first, other), strict=True)
            }
            assert kinds == {False: "application/json", True: "text/event-stream; charset=utf-8"}
            again = [await play.ask(path, stream=stream) for stream in shared]
            assert [without_identity(got.body) for got in again] == [
                without_identity(got.body) for got in (first, other)
            ]

    run(test())


def test_with_separate_entries_json_and_streams_do_not_serve_each_other(tmp_path):
    """D1: each form is a miss once, and then hits with its own content type, the stream byte for byte."""

    async def test():
        async with scene(tmp_path, cache={"stream": "separate"}) as play:
            stream, body = await play.ask(stream=True), await play.ask()
            assert (outcome_of(stream), outcome_of(body), play.calls) == ("miss", "miss", 2)
            stream_hit, body_hit = await play.ask(stream=True), await play.ask()
            assert (outcome_of(stream_hit), outcome_of(body_hit), play.calls) == ("hit", "hit", 2)
            assert (stream_hit.body, body_hit.body) == (stream.body, body.body)
            assert stream_hit.body.endswith(b"data: [DONE]\n\n")
            assert stream_hit.headers["content-type"].startswith("text/event-stream")
            assert body_hit.headers["content-type"] == "application/json"

    run(test())


@pytest.mark.parametrize(
    ("asked", "second"), [({"max_tokens": 5}, "hit"), ({"max_completion_tokens": 5}, "hit"), ({}, "miss")]
)
def test_an_answer_that_ended_at_a_limit_is_kept_if_the_request_had_set_it(tmp_path, asked, second):
    """Else it is the upstream's limit, and may be another one next time."""
    body = samples.chat_body(500).replace(b'"finish_reason":"stop"', b'"finish_reason":"length"')

    async def test():
        async with scene(tmp_path, [Answer(body=body)]) as play:
            assert [await play.outcome(**asked) for _ in range(2)] == ["miss", second]

    run(test())


@pytest.mark.parametrize(
    "answer",
    [
        Answer(frames=samples.chat_frames(6)[:-2]),
        Answer(frames=[*samples.chat_frames(6)[:-2], b"data: [DONE]\n\n"]),
        Answer(body=samples.chat_body(500).replace(b'"stop"', b'"content_filter"')),
        Answer(body=b'{"error":{"message":"no"}}'),
        Answer(status=429, body=b'{"error":{"message":"slow down"}}'),
        Answer(status=500, body=b"oops"),
    ],
    ids=["cut", "no finish reason", "filtered", "error in 200", "429", "500"],
)
def test_what_is_not_whole_is_not_kept(tmp_path, answer):
    """D4: the next request asks the upstream again."""

    async def test():
        async with scene(tmp_path, [answer]) as play:
            for _ in range(2):
                await play.ask(stream=answer.frames is not None)
            assert play.calls == 2
            assert rows_of(tmp_path, "SELECT * FROM cache_entries") == []

    run(test())


def test_an_answer_that_is_too_large_is_passed_on_and_not_kept(tmp_path):
    """Larger than `max_entry_bytes`."""
    body = samples.chat_body(20_000)

    async def test():
        async with scene(tmp_path, [Answer(body=body)], cache={"max_entry_bytes": Size(10_000)}) as play:
            got = [await play.ask() for _ in range(2)]
            assert [each.cache_status for each in got] == ["antiphon; fwd=miss"] * 2
            assert [each.body for each in got] == [body, body]

    run(test())


# Who shares.


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("key", {"alice": "miss", "bob": "miss", "carol": "miss"}),
        ("project", {"alice": "miss", "bob": "hit", "carol": "miss"}),
        ("global", {"alice": "miss", "bob": "hit", "carol": "hit"}),
    ],
)
@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_entry_never_leaves_its_scope(tmp_path, scope, expected, memory, path):
    """Who has asked first is hit by the same scope alone, in both levels of the cache, again and again."""

    async def test():
        async with scene(tmp_path, cache={"scope": scope, **memory}, keys=KEYS) as play:
            for outcomes in (expected, dict.fromkeys(expected, "hit")):
                found = {}
                for name in expected:
                    found[name] = await play.outcome(path, headers=as_key(name))
                    await play.committed()
                assert found == outcomes
            assert play.calls == list(expected.values()).count("miss")

    run(test())


def test_responses_of_a_shared_entry_belong_to_who_asked(tmp_path):
    """Each hit has an id of its own, which its own owner alone can retrieve."""

    async def test():
        async with scene(tmp_path, cache={"scope": "global"}, keys=KEYS) as play:
            ids = {
                name: (await play.ask(RESPONSES, headers=as_key(name))).json()["id"]
                for name in ("alice", "bob")
            }
            assert len(set(ids.values())) == 2
            for owner, response_id in ids.items():
                for name in ("alice", "bob"):
                    assert await retrieved(play, response_id, name) == (200 if name == owner else 404)

    run(test())


def test_responses_of_one_original_id_belong_to_each_who_asked(tmp_path):
    """`ids: original` in a shared scope: nobody takes another's response away, or deletes it."""

    async def test():
        async with scene(tmp_path, cache={"scope": "global", "ids": "original"}, keys=KEYS) as play:
            ids = {
                (await play.ask(RESPONSES, headers=as_key(name))).json()["id"] for name in ("alice", "bob")
            }
            (response_id,) = ids
            assert [await retrieved(play, response_id, name) for name in ("alice", "bob", "carol")] == [
                200,
                200,
                404,
            ]
            assert await retrieved(play, response_id, "bob", method="DELETE") == 200
            assert [await retrieved(play, response_id, name) for name in ("alice", "bob")] == [200, 404]

    run(test())


async def retrieved(play, response_id, name, method="GET"):
    play.client.send(method, f"{RESPONSES}/{response_id}", b"", **as_key(name))
    return (await play.client.answer()).status


def test_namespaces_do_not_share(tmp_path):
    """Nor with requests that name none."""

    async def test():
        async with scene(tmp_path) as play:
            controls = [{}, {"cache": {"namespace": "blue"}}, {"cache": {"namespace": "green"}}]
            assert [await play.outcome(**asked) for asked in controls * 2] == [*["miss"] * 3, *["hit"] * 3]

    run(test())


@pytest.mark.parametrize("stream", [True, False])
def test_a_null_in_metadata_and_a_namespace_do_not_break_each_other(tmp_path, stream):
    """B3: such a Responses request is a hit the second time."""

    async def test():
        async with scene(tmp_path) as play:
            asked = {"metadata": None, "cache": {"namespace": "blue"}, "stream": stream}
            assert [await play.outcome(RESPONSES, **asked) for _ in range(2)] == ["miss", "hit"]

    run(test())


# Opting in.


@pytest.mark.parametrize(
    "opting",
    [
        {"headers": {"X_Antiphon_Cache": "on"}},
        {"nomyo": {"cache": True}},
        {"cache": {"use-cache": True}},
    ],
    ids=["header", "nomyo", "litellm"],
)
def test_in_opt_in_mode_only_who_asks_for_it_takes_part(tmp_path, opting):
    """E9: others neither read nor write, and a hit comes as JSON or as a stream, whichever was asked."""

    async def test():
        async with scene(tmp_path, cache={"mode": "opt-in"}) as play:
            assert (await play.ask()).cache_status == "antiphon; fwd=bypass; detail=opt-in"
            assert await play.outcome(**opting) == "miss"
            assert await play.outcome(**opting) == "hit"
            assert await play.outcome(**opting, stream=True) == "hit"
            assert await play.outcome() == "bypass"
            assert await play.outcome() == "bypass"
            assert play.calls == 4

    run(test())


def test_in_either_mode_a_header_opts_out(tmp_path):
    """Nothing is looked up, and nothing written."""

    async def test():
        async with scene(tmp_path) as play:
            off = {"headers": {"X_Antiphon_Cache": "off"}}
            assert [await play.outcome(**off), await play.outcome(), await play.outcome(**off)] == [
                "bypass",
                "miss",
                "bypass",
            ]

    run(test())


# Age, and what requests say about it.


def test_a_hit_tells_its_age_and_what_is_left(tmp_path):
    """As both clocks go; an answer that has expired is fetched again."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock, cache={"ttl": 100}) as play:
            assert await play.outcome() == "miss"
            clock.now += 30.5
            hit = await play.ask()
            assert (hit.headers["age"], status_of(hit)["ttl"]) == ("30", "69")
            clock.now += 69.4
            assert await play.outcome() == "hit"
            clock.now += 0.1
            stale = await play.ask()
            assert stale.cache_status == "antiphon; fwd=stale; stored"
            hit = await play.ask()
            assert (hit.headers["age"], status_of(hit)["ttl"], number_in(hit)) == ("0", "100", 2)

    run(test())


@pytest.mark.parametrize(
    ("ttl", "after", "expected"), [(10, 9, "hit"), (10, 11, "stale"), (500, 400, "hit"), (0, 0, "stale")]
)
def test_a_request_may_set_the_lifetime_of_its_answer(tmp_path, ttl, after, expected):
    """`"cache": {"ttl": N}`, as LiteLLM's clients write it."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock, cache={"ttl": 100}) as play:
            assert await play.outcome(cache={"ttl": ttl}) == "miss"
            clock.now += after
            assert await play.outcome() == expected

    run(test())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"headers": {"Cache_Control": "max-age=50"}}, "hit"),
        ({"headers": {"Cache_Control": "max-age=49"}}, "request"),
        ({"headers": {"Cache_Control": "min-fresh=50"}}, "hit"),
        ({"headers": {"Cache_Control": "min-fresh=51"}}, "request"),
        ({"headers": {"Cache_Control": "max-stale=10"}}, "hit"),
        ({"headers": {"Cache_Control": "only-if-cached"}}, "hit"),
        ({"cache": {"s-maxage": 50}}, "hit"),
        ({"cache": {"s-maxage": 49}}, "request"),
    ],
    ids=str,
)
@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_a_request_says_how_old_an_answer_may_be(tmp_path, asked, expected, memory):
    """Of an answer of 50 seconds that has 50 more to live; a new one takes the place of what was not wanted."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock, cache={"ttl": 100, **memory}) as play:
            await play.ask()
            await play.committed()
            clock.now += 50
            assert await play.outcome(**asked) == expected
            await play.committed()
            assert number_in(await play.ask()) == (1 if expected == "hit" else 2)

    run(test())


@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_a_request_may_take_a_stale_answer(tmp_path, memory):
    """As long as it says, and told by a negative ttl."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock, cache={"ttl": 100, **memory}) as play:
            await play.ask()
            await play.committed()
            clock.now += 120
            stale = await play.ask(headers={"Cache_Control": "max-stale=20"})
            assert (outcome_of(stale), status_of(stale)["ttl"], stale.headers["age"]) == ("hit", "-20", "120")
            assert await play.outcome(headers={"Cache_Control": "max-stale"}) == "hit"
            assert await play.outcome(headers={"Cache_Control": "max-stale=19"}) == "stale"

    run(test())


@pytest.mark.parametrize("store", ["storage", "none"])
def test_only_if_cached_never_asks_the_upstream(tmp_path, store):
    """A hit, or 504 with a code, whatever else is asked for."""

    async def test():
        async with scene(tmp_path, cache={"store": store}) as play:
            for control in ("only-if-cached", "only-if-cached, no-cache", "only-if-cached, no-store"):
                got = await play.ask(headers={"Cache_Control": control})
                assert (got.status, got.json()["error"]["code"]) == (504, "not_cached")
                assert got.headers["cache-status"].startswith("antiphon; fwd=")
            assert play.calls == 0
            await play.ask()
            assert await play.outcome(headers={"Cache_Control": "only-if-cached"}) == "hit"
            got = await play.ask(headers={"Cache_Control": "only-if-cached, no-cache"})
            assert (got.status, play.calls) == (504, 1)

    run(test())


def test_only_if_cached_counts_where_the_request_takes_no_part(tmp_path):
    """In opt-in mode it still forbids to ask the upstream."""

    async def test():
        async with scene(tmp_path, cache={"mode": "opt-in"}) as play:
            assert (await play.ask(headers={"Cache_Control": "only-if-cached"})).status == 504
            assert play.calls == 0

    run(test())


@pytest.mark.parametrize(
    "asked", [{"headers": {"Cache_Control": "no-store"}}, {"cache": {"no-store": True}}], ids=str
)
def test_no_store_neither_reads_nor_writes(tmp_path, asked):
    """Neither level of the cache."""

    async def test():
        async with scene(tmp_path) as play:
            bypass = await play.ask(**asked)
            assert bypass.cache_status == "antiphon; fwd=bypass; detail=no-store"
            assert rows_of(tmp_path, "SELECT * FROM cache_entries") == []
            assert await play.outcome() == "miss"
            assert number_in(await play.ask(**asked)) == 3
            assert number_in(await play.ask()) == 2

    run(test())


@pytest.mark.parametrize(
    "asked", [{"headers": {"Cache_Control": "no-cache"}}, {"cache": {"no-cache": True}}], ids=str
)
@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_no_cache_does_not_read_and_refreshes(tmp_path, asked, memory):
    """D5: it by-passes all levels of the look-up, and what it brings is what others get from then on."""

    async def test():
        async with scene(tmp_path, cache=memory) as play:
            await play.ask()
            await play.committed()
            fresh = await play.ask(**asked)
            await play.committed()
            assert fresh.cache_status == "antiphon; fwd=bypass; stored; detail=no-cache"
            hit = await play.ask()
            assert (outcome_of(hit), number_in(fresh), number_in(hit)) == ("hit", 2, 2)

    run(test())


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"headers": {"Cache_Control": "max-age=soon"}}, "Cache-Control"),
        ({"headers": {"X_Antiphon_Cache": "perhaps"}}, "X-Antiphon-Cache"),
        ({"headers": {"X_Antiphon_Cache_Tag": "t" * 129}}, "X-Antiphon-Cache-Tag"),
        ({"headers": {"X_Antiphon_Replay": "slowly"}}, "X-Antiphon-Replay"),
        ({"cache": {"ttl": "long"}}, "cache.ttl"),
        ({"nomyo": 1}, "nomyo"),
    ],
    ids=str,
)
def test_controls_that_are_not_understood_are_refused(tmp_path, asked, param):
    """Status 400, naming the header or the member, before the upstream is asked."""

    async def test():
        async with scene(tmp_path) as play:
            got = await play.ask(**asked)
            assert (got.status, got.json()["error"]["param"], play.calls) == (400, param, 0)

    run(test())


@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS])
def test_the_upstream_does_not_see_the_controls(tmp_path, path):
    """Not in the body, and not in the headers."""

    async def test():
        async with scene(tmp_path) as play:
            headers = {"Cache_Control": "no-cache", "X_Antiphon_Cache": "on", "X_Antiphon_Cache_Tag": "a"}
            await play.ask(path, cache={"namespace": "blue"}, nomyo={"cache": True}, headers=headers)
            expected = {**ASKED[path], "model": "m"} | (
                {"store": False, "include": ["reasoning.encrypted_content"]} if path == RESPONSES else {}
            )
            assert play.sent() == expected
            names = play.simulator.calls[0].headers
            assert not [name for name in names if name == "cache-control" or "antiphon" in name]

    run(test())


def test_tags_are_kept_with_the_entry(tmp_path):
    """For purging."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(headers={"X_Antiphon_Cache_Tag": "team:search, nightly"})
            await play.committed()
            assert [entry.tags for entry in play.entries()] == [("team:search", "nightly")]
            assert rows_of(tmp_path, "SELECT tags FROM cache_entries") == [("team:search\nnightly",)]

    run(test())


# What a hit looks like.


@pytest.mark.parametrize("stream", [False, True])
def test_a_hit_has_an_id_and_a_time_of_its_own(tmp_path, stream):
    """`ids: fresh`: each can be retrieved under its id, as the same answer."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock) as play:
            got = []
            for _ in range(3):
                got.append(await play.ask(RESPONSES, stream=stream))
                clock.now += 10
            ids = [set(RESPONSE_ID.findall(each.body)) for each in got]
            assert [len(found) for found in ids] == [1, 1, 1]
            assert len(set.union(*ids)) == 3
            assert b'"created_at":%d' % (clock.now - 10) in got[2].body
            for (response_id,) in ids:
                play.client.send("GET", f"{RESPONSES}/{response_id.decode()}", b"")
                kept = await play.client.answer()
                assert (kept.status, kept.json()["id"]) == (200, response_id.decode())
                assert kept.json()["output"][0]["content"][0]["text"]

    run(test())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_a_hit_may_keep_the_original_id(tmp_path, stream, memory):
    """A6: `ids: original` replays the bytes that the first client got."""
    clock = Clock()

    async def test():
        async with scene(tmp_path, clock=clock, cache={"ids": "original", **memory}) as play:
            miss = await play.ask(RESPONSES, stream=stream)
            await play.committed()
            clock.now += 10
            hits = [await play.ask(RESPONSES, stream=stream) for _ in range(2)]
            assert [outcome_of(hit) for hit in hits] == ["hit", "hit"]
            assert [hit.body for hit in hits] == [miss.body, miss.body]

    run(test())


def test_what_a_provider_keeps_itself_is_replayed_under_its_id(tmp_path):
    """With `state: upstream` there is no other id that means anything."""

    async def test():
        async with upstream() as simulator:
            provider = Provider(type="openai", base_url=simulator.base_url, state="upstream", models=())
            async with gateway(tmp_path, simulator, providers={"up": provider}) as play:
                for stream in (False, True):
                    miss = await play.ask(RESPONSES, stream=stream, seed=int(stream))
                    hit = await play.ask(RESPONSES, stream=stream, seed=int(stream))
                    assert (outcome_of(miss), outcome_of(hit)) == ("miss", "hit")
                    assert hit.body == miss.body
                    assert b"resp_simulated-" in hit.body
                other_form = await play.ask(RESPONSES, seed=1)
                assert (outcome_of(other_form), other_form.json()["id"]) == ("hit", "resp_simulated-2")

    run(test())


@pytest.mark.parametrize("first", [False, True], ids=["json first", "stream first"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_hit_echoes_the_asking_request(tmp_path, first, stream):
    """Metadata is its own, whatever the request had that was recorded; so is what is kept of it."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(RESPONSES, stream=first, metadata={"who": "first"})
            got = await play.ask(RESPONSES, stream=stream, metadata={"who": "second"}, user="u2")
            plain = await play.ask(RESPONSES, stream=stream)
            assert (outcome_of(got), outcome_of(plain), play.calls) == ("hit", "hit", 1)
            answers = [answer_in(got, stream=stream), answer_in(plain, stream=stream)]
            assert [answer["metadata"] for answer in answers] == [{"who": "second"}, {}]
            play.client.send("GET", f"{RESPONSES}/{answers[0]['id']}", b"")
            assert (await play.client.answer()).json()["metadata"] == {"who": "second"}

    run(test())


def answer_in(got, *, stream):
    if not stream:
        return got.json()
    (completed,) = [
        line for line in got.body.split(b"\n") if line.startswith(b"data: ") and b"response.completed" in line
    ]
    return json.loads(completed[6:])["response"]


@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_usage_that_the_client_did_not_ask_for_is_not_shown(tmp_path, memory):
    """The upstream was asked for it in any case; who asks sees it in a hit as well."""

    async def test():
        async with scene(tmp_path, cache=memory) as play:
            asked = {"stream": True, "stream_options": {"include_usage": True}}
            for number, first in enumerate([{"stream": True}, asked]):
                await play.ask(seed=number, **first)
                await play.committed()
                plain, told = await play.ask(seed=number, stream=True), await play.ask(seed=number, **asked)
                assert [outcome_of(plain), outcome_of(told)] == ["hit", "hit"]
                assert [b'"usage"' in plain.body, b'"usage"' in told.body] == [False, True]
                assert play.sent()["stream_options"] == {"include_usage": True}

    run(test())


# Pace.


@pytest.mark.parametrize("pace", ["instant", "recorded", "x2", "X2.5", "1000/s"])
@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
def test_a_replay_is_whole_at_every_pace(tmp_path, pace, memory):
    """The same frames in the same order, and JSON as ever."""
    frames = samples.responses_frames(12)

    async def test():
        async with scene(tmp_path, [Answer(frames=frames, gaps=0.002)], cache=memory) as play:
            miss = await play.ask(RESPONSES, stream=True)
            await play.committed()
            paced = await play.ask(RESPONSES, stream=True, headers={"X_Antiphon_Replay": pace})
            assert outcome_of(paced) == "hit"
            assert without_identity(paced.body) == without_identity(miss.body)
            assert ("transfer-encoding" in paced.headers) == (pace != "instant")
            folded = await play.ask(RESPONSES, headers={"X_Antiphon_Replay": pace})
            assert (outcome_of(folded), folded.json()["status"]) == ("hit", "completed")

    run(test())


def test_frames_of_a_paced_replay_come_one_by_one(tmp_path):
    """At ten a second the first frames are there long before the last."""

    async def test():
        async with scene(tmp_path) as play:
            whole = await play.ask(stream=True)
            frames = FrameReader(1 << 20).feed(whole.body)
            send(play.client, stream=True, headers={"X_Antiphon_Replay": "10/s"})
            _, headers = await play.client.head()
            assert headers["x-cache"] == "HIT (exact)"
            assert await play.client.reader.readuntil(b"\r\n") == b"%x\r\n" % len(frames[0])
            assert await play.client.reader.readexactly(len(frames[0])) == frames[0]
            assert not play.client.reader._buffer.strip(b"\r\n")

    run(test())


def test_a_paced_replay_has_the_last_event_that_came_without_its_end(tmp_path):
    """An upstream may forget the blank line behind its last event."""
    *frames, done = samples.chat_frames(6)

    async def test():
        async with scene(tmp_path, [Answer(frames=[*frames, done[:-1]])]) as play:
            miss = await play.ask(stream=True)
            paced = await play.ask(stream=True, headers={"X_Antiphon_Replay": "1000/s"})
            assert (outcome_of(paced), paced.body) == ("hit", miss.body)
            assert paced.body.endswith(b"data: [DONE]\n")

    run(test())


def test_an_unfolded_replay_is_paced_by_its_own_frames(tmp_path):
    """It has more of them than the JSON answer that was recorded."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(RESPONSES)
            instant = await play.ask(RESPONSES, stream=True)
            for pace in ("recorded", "x4", "1000/s"):
                paced = await play.ask(RESPONSES, stream=True, headers={"X_Antiphon_Replay": pace})
                assert without_identity(paced.body) == without_identity(instant.body)

    run(test())


# The second level.


@pytest.mark.parametrize(("path", "stream"), FORMS)
def test_the_next_process_hits_what_the_last_one_fetched(tmp_path, path, stream):
    """D7: a graceful stop ends after the cache is written; the first equal request is a hit without a call."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator) as play:
                miss = await play.ask(path, stream=stream)
            async with gateway(tmp_path, simulator) as play:
                hit = await play.ask(path, stream=stream)
                again = await play.ask(path, stream=stream)
            assert (outcome_of(hit), outcome_of(again), len(simulator.calls)) == ("hit", "hit", 1)
            assert without_identity(hit.body) == without_identity(miss.body) == without_identity(again.body)
            assert status_of(hit)["key"] == status_of(again)["key"]

    run(test())


def test_without_a_second_level_the_next_process_asks_again(tmp_path):
    """`store: none` keeps nothing in the database."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator, cache={"store": "none"}) as play:
                assert [await play.outcome() for _ in range(2)] == ["miss", "hit"]
            async with gateway(tmp_path, simulator, cache={"store": "none"}) as play:
                assert await play.outcome() == "miss"

    run(test())


def test_a_tiny_memory_level_leaves_everything_to_the_second(tmp_path):
    """And holds nothing, however often it is asked."""

    async def test():
        async with scene(tmp_path, cache={"memory": SMALL}) as play:
            await play.ask(stream=True)
            await play.committed()
            for stream in (True, False, True):
                assert await play.outcome(stream=stream) == "hit"
            assert (play.calls, play.application.memory.size, len(play.application.memory)) == (1, 0, 0)

    run(test())


def test_a_hit_in_storage_is_a_hit_in_memory_from_then_on(tmp_path):
    """It does not need the database again."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator) as play:
                await play.ask()
            async with gateway(tmp_path, simulator) as play:
                assert await play.outcome() == "hit"
                change(tmp_path, "DELETE FROM cache_entries")
                assert await play.outcome() == "hit"

    run(test())


def test_workers_share_the_second_level(tmp_path):
    """What one has fetched, or refreshed, the other serves."""
    clock = Clock()

    async def test():
        async with (
            upstream() as simulator,
            gateway(tmp_path, simulator, clock=clock, cache={"ttl": 100}, server=SHARING) as one,
            gateway(tmp_path, simulator, clock=clock, cache={"ttl": 100}, server=SHARING) as other,
        ):
            assert await one.outcome() == "miss"
            await one.committed()
            assert await other.outcome() == "hit"
            clock.now += 150
            assert await one.outcome() == "stale"
            await one.committed()
            hit = await other.ask()
            assert (outcome_of(hit), number_in(hit), hit.headers["age"]) == ("hit", 2, "0")

    run(test())


@pytest.mark.parametrize(
    "column", ["data = x'4152ffff'", "data = substr(data, 1, length(data) - 1)", "data = 'text'"]
)
def test_an_entry_that_cannot_be_read_is_a_miss(tmp_path, column):
    """A13: the upstream is asked, and its answer takes the place of what is broken."""

    async def test():
        async with upstream() as simulator:
            async with gateway(tmp_path, simulator) as play:
                await play.ask()
            change(tmp_path, f"UPDATE recordings SET {column}")
            async with gateway(tmp_path, simulator) as play:
                assert await play.outcome() == "miss"
            async with gateway(tmp_path, simulator) as play:
                hit = await play.ask()
            assert (outcome_of(hit), number_in(hit)) == ("hit", 2)

    run(test())


def test_an_entry_in_memory_that_cannot_be_rendered_is_a_miss(tmp_path):
    """A13: also where the recording is whole and yet makes no sense in the form that is asked for."""

    async def test():
        async with scene(tmp_path, cache={"store": "none"}) as play:
            await play.ask(stream=True)
            (entry,) = play.entries()
            entry.recording.frames[:] = [b"data: nonsense\n\n"]
            assert number_in(await play.ask()) == 2
            assert await play.outcome() == "hit"

    run(test())


@pytest.mark.parametrize("level", ["memory", "storage"])
def test_a_collision_of_digests_is_a_miss(tmp_path, level):
    """A12: the entry of another request is not served, whatever its digest; both look-ups compare what it stands for."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask()
            await play.committed()
            (entry,) = play.entries()
            play.application.memory.clear()
            if level == "memory":
                change(tmp_path, "DELETE FROM cache_entries")
                names = ("digest", "recording", "public_id", "echo", "stored_at", "expires_at")
                other = Entry(identity=b"another", **{name: getattr(entry, name) for name in names})
                play.application.memory.put(other)
            else:
                change(tmp_path, "UPDATE cache_entries SET identity = ?", b"another")
            assert await play.outcome() == "miss"
            assert number_in(await play.ask()) == 2

    run(test())


@pytest.mark.parametrize("memory", [{}, {"memory": SMALL}], ids=["memory", "storage"])
@pytest.mark.parametrize("late", [False, True])
def test_deleting_a_response_deletes_its_cache_entries(tmp_path, memory, late):
    """At once and in both levels: the next equal request asks the upstream."""

    async def test():
        async with scene(tmp_path, cache=memory) as play:
            response_id = (await play.ask(RESPONSES)).json()["id"]
            if not late:
                await play.committed()
            hit_id = (await play.ask(RESPONSES)).json()["id"] if not late else response_id
            play.client.send("DELETE", f"{RESPONSES}/{hit_id}", b"")
            assert (await play.client.answer()).json() == {
                "id": hit_id,
                "object": "response",
                "deleted": True,
            }
            assert await play.outcome(RESPONSES) == "miss"

    run(test())


# Models.


def test_an_alias_is_part_of_the_request(tmp_path):
    """It may mean another model tomorrow: the target counts, and so does what the client wrote."""

    async def test():
        async with upstream() as simulator:
            for target, expected in [
                ("chat/one", "miss"),
                ("chat/one", "hit"),
                ("chat/two", "miss"),
                ("chat/one", "hit"),
            ]:
                async with gateway(tmp_path, simulator, models={"fast": Model(target=target)}) as play:
                    assert await play.outcome(model="fast") == expected
            assert [json.loads(call.body)["model"] for call in simulator.calls] == ["one", "two"]

    run(test())


# Accounts.


def test_each_hit_counts_once_with_the_recorded_tokens(tmp_path):
    """A2, A8, D3: one row for a turn, with the upstream's id and what was saved."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(stream=True)
            await play.ask(stream=True)
            await play.ask()
            rows = await play.rows()
            assert [row.cache for row in rows] == ["miss", "hit", "hit"]
            assert [row.stream for row in rows] == [True, True, False]
            assert {(row.input_tokens, row.output_tokens, row.total_tokens) for row in rows} == {
                (12, 200, 212)
            }
            assert {row.answer_id for row in rows} == {"chatcmpl-simulated-1"}
            assert len({row.id for row in rows}) == 3
            assert all(
                row.first_byte_us is not None and row.first_byte_us <= row.last_byte_us for row in rows
            )
            assert len(await play.rows()) == 3

    run(test())


def test_a_hit_that_was_not_consumed_saves_nothing(tmp_path):
    """A8: it is counted when the stream was, and a client that left has not had it."""

    async def test():
        async with scene(tmp_path) as play:
            await play.ask(stream=True)
            async with play.clients(1) as (leaver,):
                send(leaver, stream=True, headers={"X_Antiphon_Replay": "0.1/s"})
                await leaver.head()
                assert [row.cache for row in await play.rows()] == ["miss"]
            await eventually(lambda: play.application.accounts.queued)
            row = (await play.rows())[1]
            assert (row.cache, row.status, row.error, row.cost_saved) == (
                "abandoned",
                499,
                "client_left",
                None,
            )

    run(test())


def test_a_client_may_ask_again_and_again_over_one_connection(tmp_path):
    """Pipelined requests are answered in order, hits behind misses."""

    async def test():
        async with scene(tmp_path) as play:
            for seed in (1, 2, 1, 3, 2):
                send(play.client, seed=seed)
            got = [await play.client.answer() for _ in range(5)]
            assert [outcome_of(each) for each in got] == ["miss", "miss", "hit", "miss", "hit"]
            assert [number_in(each) for each in got] == [1, 2, 1, 3, 2]

    run(test())


def test_a_large_answer_is_replayed_whole_to_a_slow_client(tmp_path):
    """It goes out piece by piece, as the client reads."""
    body = samples.chat_body(3_000_000)

    async def test():
        async with scene(tmp_path, [numbered(Answer(body=body), 1)]) as play:
            miss = await play.ask()
            hit = await play.ask()
            assert (outcome_of(hit), hit.body == miss.body) == ("hit", True)

    run(test())
