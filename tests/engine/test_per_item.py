"""Lists of inputs: each is found, fetched and kept on its own, whatever else is asked of the cache."""

import asyncio
import json
import random

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Admin, Duration, Key, Provider, Secret
from embedder import Embedder, score, tokens, vector
from engine.scene import SHARING, SMALL, gateway, run, scene, upstream
from serving import Clock
from waiting import eventually

EMBEDDINGS = "/v1/embeddings"
RERANK = "/v1/rerank"


async def embed(there, *inputs, headers=None, **members):
    """Ask for the vectors of some inputs; what comes is checked against what the upstream would say of each."""
    body = {"model": "up/small", "input": list(inputs), **members}
    got = await there.client.post(EMBEDDINGS, body, **(headers or {}))
    if got.status == 200:
        count = sum(map(tokens, inputs))
        entries = [
            {"object": "embedding", "index": index, "embedding": vector(each, body)}
            for index, each in enumerate(inputs)
        ]
        assert got.json()["data"] == entries
        assert got.json()["usage"] == {"prompt_tokens": count, "total_tokens": count}
    return got


async def rank(there, query, *documents, headers=None, **members):
    body = {"model": "up/ranker", "query": query, "documents": list(documents), **members}
    return await there.client.post(RERANK, body, **(headers or {}))


def status_of(got):
    return got.cache_status.removeprefix("antiphon; ")


# ------------------------------------------------------------------------------------------- what is asked for


def test_only_what_is_missing_goes_upstream_and_each_only_once(tmp_path):
    """Texts and lists of tokens, in any order, some of them twice."""
    embedder = Embedder()

    async def test():
        async with scene(tmp_path, embedder) as there:
            told = [
                status_of(await embed(there, *inputs))
                for inputs in (
                    ["a", "b"],
                    ["c", "a", "d", "c"],
                    ["d", "c", "b", "a"],
                    [[1, 2], [3]],
                    [[3], [4, 4]],
                )
            ]
        assert told == [
            "fwd=miss; stored",
            'fwd=partial; stored; detail="1/4"',
            "hit; ttl=3599",
            "fwd=miss; stored",
            'fwd=partial; stored; detail="1/2"',
        ]
        assert embedder.asked == [["a", "b"], ["c", "d"], [[1, 2], [3]], [[4, 4]]]

    run(test())


def test_an_input_alone_and_in_a_list_are_one(tmp_path):
    """In both directions, for texts and for tokens; a list of numbers is one input."""
    embedder = Embedder()

    async def test():
        async with scene(tmp_path, embedder) as there:
            for alone, other in (("a", "b"), ([1, 2], [3])):
                first = await there.ask(EMBEDDINGS, model="up/small", input=alone)
                assert status_of(first) == "fwd=miss; stored"
                assert (await embed(there, alone)).is_hit
                assert status_of(await embed(there, other, alone)) == 'fwd=partial; stored; detail="1/2"'
                assert (await there.ask(EMBEDDINGS, model="up/small", input=other)).is_hit
        assert embedder.asked == ["a", ["b"], [1, 2], [[3]]]

    run(test())


def test_dimensions_and_formats_are_kept_apart(tmp_path):
    """A vector is served in the form in which it was asked for."""
    embedder = Embedder()

    async def test():
        async with scene(tmp_path, embedder) as there:
            for members in (
                {},
                {"dimensions": 2},
                {"encoding_format": "base64"},
                {"encoding_format": "float"},
            ):
                assert status_of(await embed(there, "a", "b", **members)) == "fwd=miss; stored"
                assert (
                    status_of(await embed(there, "b", "c", **members)) == 'fwd=partial; stored; detail="1/2"'
                )
                assert (await embed(there, "c", "b", "a", user="somebody", **members)).is_hit

    run(test())


def test_members_that_may_tie_inputs_together_keep_the_list_whole(tmp_path):
    """Then it is cached as one answer, as any other request."""
    embedder = Embedder()

    async def test():
        async with scene(tmp_path, embedder) as there:
            for inputs in (["a", "b"], ["b", "a"]):
                for expected in (False, True):
                    assert (await embed(there, *inputs, late_chunking=True)).is_hit == expected
        assert embedder.asked == [["a", "b"], ["b", "a"]]

    run(test())


def test_a_cassette_is_asked_for_the_lists_that_it_has(tmp_path):
    """It answers nothing else, so its lists are cached whole."""

    async def test():
        async with upstream(Embedder()) as simulator:
            tape = Provider(type="playback", cassette="builtin:demo", pace="instant")
            async with gateway(tmp_path, simulator, providers={"tape": tape}) as there:
                for inputs in (["a", "b"], ["b", "c"], "a"):
                    for expected in (False, True):
                        got = await there.ask(EMBEDDINGS, model="tape/demo", input=inputs)
                        assert (got.status, got.is_hit) == (200, expected)

    run(test())


def test_what_passes_untouched_is_passed_byte_for_byte(tmp_path):
    """Nothing to merge: the request as it came, and the answer as it was sent."""
    embedder = Embedder()
    embedder.chance, embedder.changes = random.Random(1), {"x": {"y": [1.50]}}
    body = b'{ "input" : ["a", "b","c"],\n"model":"up/small" }'

    async def test():
        async with scene(tmp_path, embedder) as there:
            got = await there.client.post(EMBEDDINGS, body)
            assert there.simulator.calls[0].body == b'{"input":["a", "b","c"],"model":"small"}'
            assert [entry["index"] for entry in got.json()["data"]] != [0, 1, 2]
            again = await there.client.post(EMBEDDINGS, body)
            assert [entry["index"] for entry in again.json()["data"]] == [0, 1, 2]
            assert again.json()["x"] == {"y": [1.5]}
            assert again.is_hit

    run(test())


def test_entries_in_any_order_find_their_inputs(tmp_path):
    """The index says whose they are, not the place."""
    embedder = Embedder()
    embedder.chance = random.Random(3)

    async def test():
        async with scene(tmp_path, embedder) as there:
            await there.ask(EMBEDDINGS, model="up/small", input=["a", "b", "c", "d"])
            for inputs in ("efabgh", "hgfedcba", "hxbyaz"):
                await embed(there, *inputs)

    run(test())


# ------------------------------------------------------------------------------------------- controls


def test_every_control_holds_for_each_input(tmp_path):
    """Age, freshness, not reading, not writing, only from the cache."""
    embedder, clock = Embedder(), Clock()

    async def test():
        async with scene(tmp_path, embedder, clock=clock, cache={"ttl": 100, "store": "none"}) as there:
            await embed(there, "a", "b")
            clock.now += 60
            await embed(there, "c")
            old = await embed(there, "a", "c", headers={"Cache_Control": "max-age=90"})
            assert (old.headers["cache-status"], old.headers["age"]) == ("antiphon; hit; ttl=40", "60")

            async def asked(*inputs, **members):
                embedder.asked.clear()
                got = await embed(there, *inputs, **members)
                return status_of(got) if got.status == 200 else got.status, embedder.asked[:]

            def control(text):
                return {"headers": {"Cache_Control": text}}

            assert await asked("a", "c", **control("max-age=30")) == (
                'fwd=partial; stored; detail="1/2"',
                [["a"]],
            )
            assert await asked("b", "c", **control("min-fresh=50")) == (
                'fwd=partial; stored; detail="1/2"',
                [["b"]],
            )
            assert await asked("a", "n", **control("no-store")) == (
                "fwd=bypass; detail=no-store",
                [["a", "n"]],
            )
            assert await asked("a", "n", **control("only-if-cached")) == (504, [])
            assert await asked("a", "c", **control("only-if-cached")) == ("hit; ttl=100", [])
            assert await asked("a", "n", "n", **control("no-cache")) == (
                "fwd=bypass; stored; detail=no-cache",
                [["a", "n"]],
            )
            assert await asked("n", "a") == ("hit; ttl=100", [])
            assert await asked("n", "s", cache={"ttl": 1, "namespace": "x"}) == (
                "fwd=miss; stored",
                [["n", "s"]],
            )
            clock.now += 2
            assert await asked("n", "s", cache={"namespace": "x"}) == ("fwd=stale; stored", [["n", "s"]])

    run(test())


def test_owners_do_not_share_inputs(tmp_path):
    """Unless the scope says so."""
    embedder = Embedder()
    keys = tuple(Key(name=name, key=Secret(f"sk-{name}")) for name in ("alice", "bob"))

    async def test():
        async with scene(tmp_path, embedder, keys=keys) as there:
            for name, expected in (("alice", False), ("bob", False), ("alice", True)):
                got = await embed(there, "a", "b", headers={"Authorization": f"Bearer sk-{name}"})
                assert got.is_hit == expected

    run(test())


def test_each_input_has_the_tags_of_its_request(tmp_path):
    async def test():
        async with scene(tmp_path, Embedder()) as there:
            await embed(there, "a", "b", headers={"X_Antiphon_Cache_Tag": "red"})
            assert [entry.tags for entry in there.entries()] == [("red",), ("red",)]
            assert [entry.origin.prompt for entry in there.entries()] == ["a", "b"]

    run(test())


def test_expired_inputs_answer_while_they_alone_are_refreshed(tmp_path):
    """All at once and in the background; each keeps its tags, and nobody has saved anything by that."""
    embedder, clock = Embedder(), Clock()
    lifetimes = {"ttl": Duration(60), "stale_while_revalidate": Duration(30)}

    async def test():
        async with scene(tmp_path, embedder, clock=clock, cache=lifetimes) as there:
            await embed(there, "a", "b", headers={"X_Antiphon_Cache_Tag": "red"})
            clock.now += 50
            await embed(there, "c")
            clock.now += 20
            stale = await embed(there, "c", "b", "a", "b")
            assert status_of(stale) == "hit; ttl=-10"
            await eventually(lambda: len(embedder.asked) == 3 and there.application.producing.count == 0)
            assert status_of(await embed(there, "a", "b", "c")) == "hit; ttl=40"
            clock.now += 62
            assert status_of(await embed(there, "a", "d")) == "fwd=stale; stored"
            rows = await there.rows()
            assert embedder.asked == [["a", "b"], ["c"], ["b", "a"], ["a", "d"]]
            assert [(row.cache, row.input_tokens) for row in rows[2:4]] in (
                [("stale", 4), ("refresh", 2)],
                [("refresh", 2), ("stale", 4)],
            )
            assert sorted(entry.tags for entry in there.entries()) == [(), (), (), ("red",)]

    run(test())


def test_where_something_is_fetched_anyway_expired_inputs_are_fetched_with_it(tmp_path):
    """In the one call."""
    embedder, clock = Embedder(), Clock()
    lifetimes = {"ttl": Duration(60), "stale_while_revalidate": Duration(30)}

    async def test():
        async with scene(tmp_path, embedder, clock=clock, cache=lifetimes) as there:
            await embed(there, "a")
            clock.now += 50
            await embed(there, "b")
            clock.now += 20
            assert status_of(await embed(there, "a", "b", "c")) == 'fwd=partial; stored; detail="1/3"'
        assert embedder.asked == [["a"], ["b"], ["a", "c"]]

    run(test())


@pytest.mark.parametrize("headers", [{}, {"Cache_Control": "no-cache, stale-if-error=600"}])
def test_expired_inputs_stand_in_where_the_upstream_fails(tmp_path, headers):
    """If all of them are there: otherwise the fault is told."""
    embedder, clock = Embedder(), Clock()
    lifetimes = {"ttl": Duration(60), "stale_if_error": Duration(600)}

    def answer(received):
        return embedder(received) if clock.now < Clock().now + 70 else Answer(fault=Fault.SERVER_ERROR)

    async def test():
        async with scene(tmp_path, answer, clock=clock, cache=lifetimes) as there:
            await embed(there, "a", "b")
            clock.now += 50
            await embed(there, "c")
            clock.now += 20
            got = await embed(there, "c", "a", headers=headers)
            assert status_of(got) == "hit; ttl=-10; detail=stale-if-error"
            assert (await embed(there, "c", "a", "n", headers=headers)).status == 503

    run(test())


# ------------------------------------------------------------------------------------------- other levels and others


def test_the_second_level_is_asked_for_all_at_once(tmp_path):
    """What it has fills memory; what it has not goes upstream."""
    embedder = Embedder()

    async def test():
        async with upstream(embedder) as simulator:
            async with gateway(tmp_path, simulator) as there:
                await embed(there, *"abcdefgh")
                await there.committed()
            async with gateway(tmp_path, simulator) as there:
                assert (await embed(there, *"hgfe")).is_hit
                assert len(there.entries()) == 4
                assert status_of(await embed(there, *"aexb")) == 'fwd=partial; stored; detail="3/4"'
                assert (await embed(there, *"abx")).is_hit
        assert embedder.asked == [list("abcdefgh"), ["x"]]

    run(test())


@pytest.mark.parametrize("others", [{"cache": {"memory": SMALL}}, {"server": SHARING}])
def test_many_lists_are_answered_right_whatever_memory_holds(tmp_path, others):
    """Nothing has room in it, or others may have put what is not in it."""
    chance = random.Random(11)

    async def test():
        async with scene(tmp_path, Embedder(), **others) as there:
            for _ in range(15):
                await embed(there, *chance.choices("abcdefghij", k=chance.randint(1, 6)))
                await there.committed()
            assert (await embed(there, "a", "b", headers={"Cache_Control": "only-if-cached"})).status in {
                200,
                504,
            }

    run(test())


def test_equal_lists_in_flight_share_one_call(tmp_path):
    """Also while the second level is being asked, and when part of it is there."""
    embedder, gate = Embedder(), asyncio.Event()

    def gated(received):
        answer = embedder(received)
        return Answer(body=answer.body, gate=gate) if len(embedder.asked) > 1 else answer

    async def test():
        async with scene(tmp_path, gated, server=SHARING) as there, there.clients(3) as clients:
            await embed(there, "a")
            for client in clients:
                client.send("POST", EMBEDDINGS, {"model": "up/small", "input": ["a", "b"]})
            await there.listening(3)
            await there.simulator.wait_for_calls(2)
            gate.set()
            told = [status_of(await client.answer()) for client in clients]
            assert told == ['fwd=partial; stored; detail="1/2"', *["fwd=miss; collapsed"] * 2]
            assert embedder.asked == [["a"], ["b"]]
            rows = await there.rows()
            assert [row.cache for row in rows] == ["miss", "partial", "collapsed", "collapsed"]

    run(test())


def test_who_waits_with_stricter_wishes_is_not_given_what_is_too_old(tmp_path):
    """Of two equal lists one takes what storage has, and the other has it fetched."""
    embedder, clock = Embedder(), Clock()

    async def test():
        async with upstream(embedder) as simulator:
            async with gateway(tmp_path, simulator, clock=clock) as there:
                await embed(there, "a", "b")
                await there.committed()
            clock.now += 50
            async with gateway(tmp_path, simulator, clock=clock) as there, there.clients(2) as clients:
                for client, headers in zip(clients, ({}, {"Cache_Control": "max-age=10"}), strict=True):
                    client.send("POST", EMBEDDINGS, {"model": "up/small", "input": ["b", "a"]}, **headers)
                told = [status_of(await client.answer()) for client in clients]
                assert told == ["hit; ttl=3550", "fwd=request; stored"]
        assert embedder.asked == [["a", "b"], ["b", "a"]]

    run(test())


def test_when_the_last_client_leaves_nothing_is_kept(tmp_path):
    """And the upstream's connection is closed."""
    embedder, gate = Embedder(), asyncio.Event()

    def gated(received):
        answer = embedder(received)
        return Answer(body=answer.body, gate=gate) if len(embedder.asked) > 1 else answer

    async def test():
        async with scene(tmp_path, gated) as there, there.clients(1) as (client,):
            await embed(there, "a")
            client.send("POST", EMBEDDINGS, {"model": "up/small", "input": ["a", "b"]})
            await there.simulator.wait_for_calls(2)
            client.leave()
            await eventually(lambda: there.simulator.calls[1].aborted)
            assert len(there.entries()) == 1
            (_, left) = await there.rows()
            assert (left.status, left.error) == (499, "client_left")

    run(test())


def test_of_a_list_under_way_only_what_was_purged_is_not_kept(tmp_path):
    """A purge means inputs as it means other entries: by how they begin, one by one."""
    embedder, gate = Embedder(), asyncio.Event()

    def gated(received):
        answer = embedder(received)
        return Answer(body=answer.body, gate=gate) if len(embedder.asked) == 2 else answer

    async def test():
        async with (
            scene(tmp_path, gated, admin=Admin(key=Secret("admin"))) as there,
            there.clients(1) as (client,),
        ):
            await embed(there, "old")
            client.send("POST", EMBEDDINGS, {"model": "up/small", "input": ["old", "red", "green"]})
            await there.simulator.wait_for_calls(2)
            got = await there.client.post(
                "/admin/v1/cache/purge", {"prompt": "re"}, Authorization="Bearer admin"
            )
            assert got.status == 200
            gate.set()
            assert (await client.answer()).status == 200
            await there.committed()
            for _ in range(2):
                told = [
                    (await embed(there, each, headers={"Cache_Control": "only-if-cached"})).status
                    for each in ("old", "red", "green")
                ]
                assert told == [200, 504, 200]
                there.application.memory.clear()

    run(test())


# ------------------------------------------------------------------------------------------- what goes wrong


def misfit(answer):
    """Answer the first request rightly and others with `answer`."""
    embedder = Embedder()
    return lambda received: answer if embedder.asked else embedder(received)


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":[]}',
        b'{"data":[{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}',
        b'{"data":[{"index":1,"embedding":[1]},{"index":2,"embedding":[2]}]}',
    ],
)
def test_entries_that_do_not_fit_are_an_error_where_they_were_to_be_merged(tmp_path, body):
    """Nobody is given a vector that may be another's, and nothing is kept."""

    async def test():
        async with scene(tmp_path, misfit(Answer(body=body))) as there:
            await embed(there, "a")
            got = await embed(there, "a", "b", "c")
            assert (got.status, got.json()["error"]["code"]) == (502, "upstream_protocol_error")
            assert len(there.entries()) == 1
            assert (await embed(there, "a")).is_hit

    run(test())


def test_entries_that_do_not_fit_are_passed_on_and_not_kept_where_nothing_is_merged(tmp_path):
    """The gateway does not know better than the upstream what it means by them."""
    body = b'{"object":"list","data":[{"index":0,"embedding":[1]}],"model":"m"}'

    async def test():
        async with scene(tmp_path, [Answer(body=body)]) as there:
            for _ in range(2):
                got = await there.ask(EMBEDDINGS, input=["a", "b"])
                assert (got.status, got.body, got.cache_status) == (200, body, "antiphon; fwd=miss")
            assert there.calls == 2

    run(test())


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer(fault=Fault.RATE_LIMITED), 429, "rate_limit_exceeded"),
        (Answer(fault=Fault.SERVER_ERROR), 503, "server_error"),
        (Answer(fault=Fault.RESET_BEFORE_HEAD), 502, None),
        (Answer(body=b"{}" * 40, fault=Fault.NO_LAST_CHUNK), 502, None),
        (Answer(body=b'{"error":{"message":"no","code":"no"}}'), 502, None),
        (Answer(status=302, body=b""), 502, None),
        (Answer(body=b"<html>", content_type="text/html"), 502, "upstream_content_type"),
    ],
)
def test_an_upstream_that_fails_is_told_of_as_ever(tmp_path, answer, status, code):
    """And what is there stays there."""

    async def test():
        async with scene(tmp_path, misfit(answer)) as there:
            await embed(there, "a")
            got = await embed(there, "a", "b", "c")
            assert got.status == status
            assert code in {None, got.json()["error"]["code"]}
            assert (await embed(there, "a")).is_hit
            row = (await there.rows())[1]
            assert (row.status, row.input_tokens, row.cost_saved) == (status, 0, None)

    run(test())


def test_an_answer_that_is_too_long_is_given_up(tmp_path):
    embedder = Embedder()

    async def test():
        async with upstream(embedder) as simulator:
            up = Provider(type="openai", base_url=simulator.base_url, max_answer_bytes=500)
            async with gateway(tmp_path, simulator, providers={"up": up}) as there:
                await embed(there, "a")
                got = await embed(there, "a", *"bcdefghij")
        assert (got.status, got.json()["error"]["code"]) == (502, "upstream_answer_too_large")

    run(test())


def test_vectors_of_two_models_are_never_in_one_answer(tmp_path):
    """The provider has moved its name to another model: what was kept of the old one is fetched again."""
    embedder = Embedder("old")

    async def test():
        async with scene(tmp_path, embedder) as there:
            await embed(there, "a", "b")
            embedder.model = "new"
            got = await embed(there, "a", "c", "b")
            assert (got.json()["model"], status_of(got)) == ("new", "fwd=miss; stored")
            assert embedder.asked == [["a", "b"], ["c"], ["a", "b"]]
            assert (await embed(there, "a", "c", "b")).json()["model"] == "new"

            embedder.model = "newer"
            await embed(there, "b", "d", headers={"Cache_Control": "no-cache"})
            got = await embed(there, "b", "c", "d")
            assert (got.json()["model"], status_of(got)) == ("newer", 'fwd=partial; stored; detail="2/3"')
            assert embedder.asked[-1] == ["c"]

    run(test())


def test_an_entry_that_cannot_be_put_among_others_is_missing(tmp_path):
    """Such as one of several vectors for one input; asked for alone it is served as it is."""
    embedder = Embedder()
    two = json.dumps(
        {"object": "list", "data": [{"index": 0}, {"index": 1}], "model": embedder.model}
    ).encode()

    async def test():
        async with scene(
            tmp_path,
            lambda received: (
                embedder(received) if embedder.asked or b"[" in received.body else Answer(body=two)
            ),
        ) as there:
            await there.ask(EMBEDDINGS, model="up/small", input="a")
            assert (await there.ask(EMBEDDINGS, model="up/small", input="a")).body == two
            assert status_of(await embed(there, "a", "b")) == "fwd=miss; stored"

    run(test())


# ------------------------------------------------------------------------------------------- accounts


def test_what_was_paid_and_what_was_saved(tmp_path):
    """The answer's usage is that of all its inputs; of it the upstream's part was paid, and the rest saved."""
    embedder = Embedder("text-embedding-3-small")
    inputs = ["first", "second", "third"]
    counts = [tokens(each) for each in inputs]

    async def test():
        async with scene(tmp_path, embedder) as there:
            await embed(there, inputs[0], model="up/text-embedding-3-small")
            await embed(there, *inputs, inputs[2], model="up/text-embedding-3-small")
            await embed(there, *inputs, model="up/text-embedding-3-small")
            rows = await there.rows()
            assert [(row.cache, row.input_tokens) for row in rows] == [
                ("miss", counts[0]),
                ("partial", counts[1] + counts[2]),
                ("hit", sum(counts)),
            ]
            page = (await there.client.get("/metrics")).body.decode()
            saved = [line for line in page.splitlines() if line.startswith("antiphon_saved_tokens_total{")]
            assert sum(float(line.split(" ")[-1]) for line in saved) == counts[0] + counts[2] + sum(counts)
            assert rows[1].cost > 0
            assert rows[1].cost_saved > 0
            assert rows[1].cost / rows[1].cost_saved == pytest.approx(
                (counts[1] + counts[2]) / (counts[0] + counts[2])
            )

    run(test())


# ------------------------------------------------------------------------------------------- rankings


def providers_at(simulator, how):
    return {"up": Provider(type="openai-chat", base_url=simulator.base_url, rerank_documents=how)}


def test_documents_are_cached_one_by_one_where_the_provider_is_said_to_rank_them_so(tmp_path):
    """Best first, as many as were asked for, each under its own index; everybody is asked for all."""
    embedder = Embedder()
    documents = ["one", "two", "three", "four"]
    best = sorted(range(4), key=lambda place: -score(documents[place]))

    async def test():
        async with (
            upstream(embedder) as simulator,
            gateway(tmp_path, simulator, providers=providers_at(simulator, "independent")) as there,
        ):
            first = await rank(there, "q", *documents[:2], top_n=1)
            assert (len(first.json()["results"]), status_of(first)) == (1, "fwd=miss; stored")
            got = await rank(there, "q", *documents, top_n=3)
            assert status_of(got) == 'fwd=partial; stored; detail="2/4"'
            assert got.json()["results"] == [
                {"index": place, "relevance_score": score(documents[place])} for place in best[:3]
            ]
            assert got.json()["meta"]["billed_units"] == {"search_units": 4}
            again = await rank(there, "q", *reversed(documents))
            assert [each["index"] for each in again.json()["results"]] == [3 - place for place in best]
            assert again.is_hit
            assert (await rank(there, "q", "two")).is_hit
            assert not (await rank(there, "another", *documents)).is_hit
            assert not (await rank(there, "q", "one", "two", return_documents=True)).is_hit
            shown = await rank(there, "q", "two", "one", return_documents=True)
            assert {each["document"]["text"] for each in shown.json()["results"]} == {"one", "two"}
        assert embedder.asked == [documents[:2], documents[2:], documents, documents[:2]]
        assert ["top_n" in json.loads(call.body) for call in simulator.calls] == [False] * 4

    run(test())


def test_rankings_that_are_called_data_are_put_together_too(tmp_path):
    """As Voyage writes them."""
    embedder = Embedder()

    async def test():
        async with (
            upstream(embedder) as simulator,
            gateway(tmp_path, simulator, providers=providers_at(simulator, "independent")) as there,
        ):
            await rank(there, "voyage", "one", "two")
            got = (await rank(there, "voyage", "three", "two", "one", top_k=2)).json()
        expected = sorted(
            ((score(each), index) for index, each in enumerate(["three", "two", "one"])), reverse=True
        )
        assert [(each["relevance_score"], each["index"]) for each in got["data"]] == expected[:2]
        assert (got["model"], got["usage"]) == ("rerank-2", {"total_tokens": 20})

    run(test())


def test_documents_are_ranked_together_unless_it_is_said_otherwise(tmp_path):
    embedder = Embedder()

    async def test():
        async with scene(tmp_path, embedder) as there:
            for documents in (["one", "two"], ["two", "one"]):
                for expected in (False, True):
                    assert (await rank(there, "q", *documents)).is_hit == expected
        assert embedder.asked == [["one", "two"], ["two", "one"]]

    run(test())
