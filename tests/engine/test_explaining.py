"""Asking the gateway why the cache did what it did, over sockets."""

import json

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Admin, Duration, Key, MemoryLevel, Secret, Size
from engine.scene import CHAT, EMBEDDINGS, RESPONSES, gateway, outcome_of, run, scene, send, upstream
from engine.semantic.test_level import FRANCE, FRANCE_TOO, asked, placed, semantic_scene
from serving import Clock

ADMIN = {"Authorization": "Bearer admin-key"}
EXPLAIN = "/admin/v1/cache/explain"
DEBUG = {"X-Antiphon-Cache-Debug": "explain"}
KEYS = tuple(Key(name=name, project="search", key=Secret(f"{name}-key")) for name in ("alice", "bob"))
LONG = "The quick brown fox jumps over the lazy dog."


def says(text):
    return [{"role": "user", "content": text}]


def explained_scene(folder, answers=None, **options):
    return scene(folder, answers, admin=Admin(key=Secret("admin-key")), **options)


async def why(play, got):
    """Return what is told of a request that was answered."""
    told = await play.client.get(f"{EXPLAIN}?request_id={got.headers['x-request-id']}", **ADMIN)
    assert told.status == 200, told.body
    return told.json()


async def foretold(play, path=CHAT, status=200, headers=(), key=None, **body):
    """Return what is told of a request that is not sent."""
    asked = {"path": path, "headers": dict(headers), "body": body, **({"key": key} if key else {})}
    told = await play.client.post(EXPLAIN, asked, **ADMIN)
    assert told.status == status, told.body
    return told.json()


def as_key(name):
    return {"Authorization": f"Bearer {name}-key"}


def test_a_miss_names_the_nearest_entry_and_the_first_difference(tmp_path):
    """Without a word of what either says."""

    async def test():
        async with explained_scene(tmp_path) as play:
            await play.ask(messages=says(LONG), temperature=0)
            await play.ask(messages=says("Something else"))
            told = await why(play, await play.ask(messages=says(LONG[:-1] + "!"), temperature=0))
            assert (told["result"], told["stored"]) == ("miss", True)
            assert told["why"] == "No entry is equal; the nearest differs at messages[0].content first."
            first = told["nearest"]["first"]
            assert (told["nearest"]["differences"], first["path"]) == (1, "messages[0].content")
            assert (first["same_until"], first["asked"]["length"]) == (len(LONG) - 1, len(LONG))
            assert "quick" not in json.dumps(told)

            told = await why(play, await play.ask(messages=says(LONG), temperature=0.5))
            assert told["nearest"]["first"]["path"] == "temperature"
            assert told["nearest"]["first"]["asked"] == {"value": 0.5}
            assert told["nearest"]["first"]["stored"] == {"value": 0}

    run(test())


def test_the_first_request_has_nothing_to_be_compared_with(tmp_path):
    """Its own entry, which is stored afterwards, is not taken for the nearest."""

    async def test():
        async with explained_scene(tmp_path) as play:
            told = await why(play, await play.ask())
            assert (told["nearest"], told["why"]) == (None, "There was no entry in the same scope.")

    run(test())


def test_a_hit_names_its_entry(tmp_path):
    """Also where the same bytes came before, and nothing was looked at."""

    async def test():
        clock = Clock()
        async with explained_scene(tmp_path, clock=clock) as play:
            await play.ask(headers={"X-Antiphon-Cache-Tag": "a"})
            for after in (10, 20):
                clock.now += 10
                got = await play.ask()
                told = await why(play, got)
                assert (told["result"], told["why"]) == ("hit", "An equal request was answered before.")
                assert abs(told["entry"]["age"] - after) < 1
                assert told["entry"]["tags"] == ["a"]
                assert f'key="{told["entry"]["key"]}"' in got.cache_status

    run(test())


@pytest.mark.parametrize(
    ("path", "changes", "rule", "said_by"),
    [
        (CHAT, {"headers": {"Cache-Control": "no-store"}}, "no-store", "Cache-Control: no-store"),
        (CHAT, {"cache": {"no-store": True}}, "no-store", "cache.no-store"),
        (CHAT, {"headers": {"Cache-Control": "no-cache"}}, "no-cache", "Cache-Control: no-cache"),
        (CHAT, {"headers": {"X-Antiphon-Cache": "off"}}, "opt-out", "X-Antiphon-Cache: off"),
        (RESPONSES, {"conversation": "new"}, "conversation", "conversation"),
    ],
)
def test_a_by_pass_names_the_rule_and_who_has_said_so(tmp_path, path, changes, rule, said_by):
    """A header, a member of the body, or what the request is part of."""

    async def test():
        async with explained_scene(tmp_path) as play:
            if "conversation" in changes:
                created = await play.client.post("/v1/conversations", {})
                changes["conversation"] = created.json()["id"]
            told = await why(play, await play.ask(path, **changes))
            assert (told["result"], told["rule"]) == ("bypass", {"name": rule, "said_by": said_by})
            assert told["stored"] is (rule == "no-cache")
            assert rule == "no-cache" or told["not_stored"] == said_by

    run(test())


def test_who_has_to_opt_in_is_told_so(tmp_path):
    """The rule stands in the configuration."""

    async def test():
        async with explained_scene(tmp_path, cache={"mode": "opt-in"}) as play:
            told = await why(play, await play.ask())
            assert told["rule"] == {"name": "opt-in", "said_by": "cache.mode: opt-in"}
            assert "X-Antiphon-Cache: on" in told["why"]

    run(test())


def test_it_is_told_why_an_answer_was_not_stored(tmp_path):
    """Its size, or how it ended."""

    async def test():
        cache = {"max_entry_bytes": Size(1500)}
        async with explained_scene(tmp_path, cache=cache) as play:
            told = await why(play, await play.ask())
            assert (told["stored"], "max_entry_bytes" in told["not_stored"]) == (False, True)
            play.simulator.answer(Answer(fault=Fault.SERVER_ERROR))
            told = await why(play, await play.ask())
            assert (told["status"], told["stored"]) == (503, False)
            assert "upstream_error" in told["not_stored"]

    run(test())


def test_expired_stale_and_joined_are_told_apart(tmp_path):
    """Each with how long ago it was, and with the request that was joined."""

    async def test():
        clock = Clock()
        cache = {"ttl": Duration(60), "stale_if_error": Duration(600)}
        async with explained_scene(tmp_path, clock=clock, cache=cache) as play:
            await play.ask()
            clock.now += 100
            told = await why(play, await play.ask(headers={"Cache-Control": "max-stale=100"}))
            assert (told["result"], round(told["entry"]["ttl"])) == ("stale", -40)
            assert "expired 40 seconds before" in told["why"]
            play.simulator.answer(Answer(fault=Fault.SERVER_ERROR))
            told = await why(play, await play.ask())
            assert "upstream_error" in told["why"]
            told = await why(play, await play.ask(headers={"Cache-Control": "stale-if-error=0"}))
            assert (told["result"], "had expired 40 seconds" in told["why"]) == ("miss", True)
            play.simulator.answer(Answer(fault=Fault.STALL, at=-1))
            async with play.clients(2) as clients:
                for client in clients:
                    send(client, seed=1)
                await play.listening(2)
                play.application.producing.fail_all(_fault())
                got = [await client.answer() for client in clients]
                told = [await why(play, each) for each in got]
            joined = next(each for each in told if each["result"] == "collapsed")
            leader = next(each for each in told if each["result"] == "miss")
            assert joined["joined"] == leader["request_id"]

    run(test())


def _fault():
    from antiphon.wire.errors import GatewayError

    return GatewayError("over", code="over", status=503)


def test_what_was_taken_away_is_remembered(tmp_path):
    """Purged, or evicted for want of room."""

    async def test():
        cache = {"memory": MemoryLevel(max_bytes=Size(6000)), "store": "none"}
        async with explained_scene(tmp_path, cache=cache) as play:
            await play.ask(messages=says(LONG))
            await play.client.post("/admin/v1/cache/purge", {"model": "chat/m"}, **ADMIN)
            told = await why(play, await play.ask(messages=says(LONG)))
            assert (told["gone"]["how"], told["why"]) == (
                "removed",
                "There was an entry, but it was removed.",
            )
            for seed in range(3):
                await play.ask(seed=seed)
            told = await why(play, await play.ask(messages=says(LONG)))
            assert (told["result"], told["gone"]["how"]) == ("miss", "evicted")

    run(test())


def test_other_circumstances_are_named(tmp_path):
    """The same body for another model, in another namespace, or in the mode that has an entry of its own."""

    async def test():
        async with explained_scene(tmp_path, cache={"stream": "separate"}) as play:
            await play.ask()
            told = await foretold(play, model="chat/m", messages=says("Hi"), stream=True)
            assert told["why"] == "No entry is of the same mode."
            told = await foretold(play, model="chat/other", messages=says("Hi"))
            assert [each["name"] for each in told["nearest"]["circumstances"]] == ["target"]
            told = await foretold(play, model="chat/m", messages=says("Hi"), cache={"namespace": "x"})
            assert told["nearest"]["circumstances"] == [{"name": "namespace", "asked": "x", "stored": ""}]
            assert play.calls == 1

    run(test())


def test_a_request_that_is_not_sent_is_foretold(tmp_path):
    """From memory or the second level; nothing is asked, answered or counted."""

    async def test():
        async with upstream() as simulator:
            options = {"admin": Admin(key=Secret("admin-key"))}
            async with gateway(tmp_path, simulator, **options) as play:
                await play.ask()
            async with gateway(tmp_path, simulator, **options) as play:
                told = await foretold(play, model="chat/m", messages=says("Hi"))
                assert (told["result"], told["request_id"]) == ("hit", "")
                told = await foretold(play, model="chat/m", messages=says("Ho"))
                assert told["nearest"]["first"]["path"] == "messages[0].content"
                told = await foretold(
                    play, headers={"cache-control": "no-store"}, model="chat/m", messages=says("Hi")
                )
                assert told["rule"]["name"] == "no-store"
                told = await foretold(play, EMBEDDINGS, model="up/m", input=["a", "b"])
                assert (told["result"], told["items"]) == ("miss", 2)
                assert len(simulator.calls) == 1
                assert len(await play.rows()) == 1

    run(test())


def test_chains_are_foretold_as_they_are_answered(tmp_path):
    """What they continue is part of what is compared."""

    async def test():
        async with explained_scene(tmp_path) as play:
            first = (await play.ask(RESPONSES)).json()
            follows = {"model": "up/m", "input": "And?", "previous_response_id": first["id"]}
            assert (await foretold(play, RESPONSES, **follows))["result"] == "miss"
            await play.ask(RESPONSES, **follows)
            assert (await foretold(play, RESPONSES, **follows))["result"] == "hit"

    run(test())


def test_the_admin_sees_scopes_and_clients_their_own(tmp_path):
    """Another key's entry is told of by its scope; the header says nothing of it."""

    async def test():
        async with explained_scene(tmp_path, keys=KEYS) as play:
            await play.ask(headers=as_key("alice"))
            told = await foretold(play, key="bob", model="chat/m", messages=says("Hi"))
            assert told["nearest"]["circumstances"] == [
                {"name": "scope", "asked": "key:bob", "stored": "key:alice"}
            ]
            got = await play.ask(headers=as_key("bob") | DEBUG)
            assert got.headers["x-antiphon-cache-explain"] == 'miss; nearest="none"'
            assert (await foretold(play, key="alice", model="chat/m", messages=says("Hi")))["result"] == "hit"
            assert (await foretold(play, key="carol", status=400, model="chat/m"))["error"]["param"] == "key"
            assert (await foretold(play, status=400, model="chat/m"))["error"]["param"] == "key"

    run(test())


def test_a_header_tells_the_client_itself(tmp_path):
    """In one line, with the answer; Cache-Status stays what it is."""

    async def test():
        async with explained_scene(tmp_path) as play:
            await play.ask(messages=says(LONG), temperature=1)
            for stream in (False, True):
                got = await play.ask(messages=says(LONG), temperature=0.5, stream=stream, headers=DEBUG)
                assert got.status == 200
                explained = got.headers["x-antiphon-cache-explain"]
                if not stream:
                    assert outcome_of(got) == "miss"
                    assert explained.startswith('miss; nearest="')
                    assert explained.endswith(
                        '; differs="temperature"; differences=1; asked="0.5"; stored="1"'
                    )
                else:
                    assert outcome_of(got) == "hit"
                    assert explained in {"hit; age=0; ttl=3599", "hit; age=0; ttl=3600"}
            got = await play.ask(messages=says(LONG + "é"), headers=DEBUG)
            assert (
                'asked="string of 45"; stored="string of 44"; same-until=44'
                in got.headers["x-antiphon-cache-explain"]
            )
            got = await play.ask(headers={**DEBUG, "Cache-Control": "no-store"})
            assert got.headers["x-antiphon-cache-explain"] == (
                'bypass; rule="no-store"; said-by="Cache-Control: no-store"'
            )
            assert (await play.ask(headers={"X-Antiphon-Cache-Debug": "yes"})).status == 400
            assert (await play.ask(model="nobody/m", headers=DEBUG)).status == 404

    run(test())


def test_where_scopes_are_shared_the_header_tells_no_lengths(tmp_path):
    """Whoever may try as often as they like could find out letter by letter what somebody else has asked."""

    async def test():
        async with explained_scene(tmp_path, keys=KEYS, cache={"scope": "project"}) as play:
            await play.ask(messages=says(LONG), headers=as_key("alice"))
            got = await play.ask(messages=says(LONG[:20]), headers=as_key("bob") | DEBUG)
            explained = got.headers["x-antiphon-cache-explain"]
            assert 'differs="messages[0].content"' in explained
            assert not {"asked", "stored", "same-until"} & set(explained.replace("=", " ").split())

    run(test())


def test_only_the_admin_is_told_of_the_requests_of_all(tmp_path):
    """And what is not known is said to be unknown."""

    async def test():
        async with explained_scene(tmp_path) as play:
            assert (await play.client.get(f"{EXPLAIN}?request_id=req_1")).status == 401
            assert (await play.client.get(f"{EXPLAIN}?request_id=req_1", **ADMIN)).status == 404
            assert (await play.client.get(EXPLAIN, **ADMIN)).status == 400
            assert (
                await play.client.post(EXPLAIN, {"path": "/v1/models", "body": {}}, **ADMIN)
            ).status == 400
            assert (await play.client.post(EXPLAIN, {"path": CHAT}, **ADMIN)).status == 400
            assert (await foretold(play, status=404, model="nobody/m"))["error"]["code"] == "model_not_found"
        async with scene(tmp_path, cache=None, admin=Admin(key=Secret("admin-key"))) as play:
            assert (await foretold(play, model="chat/m", messages=says("Hi")))["result"] == "off"

    run(test())


def test_a_semantic_hit_says_how_near_it_was(tmp_path):
    """Its entry is another's; the header says that it was none of the exact cache."""

    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            got = await play.ask(**asked(FRANCE_TOO), headers=DEBUG)
            assert (got.headers["x-cache"], got.headers["x-antiphon-cache-explain"]) == (
                "HIT (semantic)",
                "semantic",
            )
            told = await why(play, got)
            assert (told["result"], told["entry"]["kind"]) == ("semantic", "semantic")
            assert 0.8 <= told["entry"]["similarity"] <= 1
            assert told["why"] == "A request that means the same was answered before."

    run(test())


def test_another_workers_requests_are_known_for_such(tmp_path):
    """By how their ids begin."""

    async def test():
        async with explained_scene(tmp_path) as play:
            own = (await play.ask()).headers["x-request-id"]
            for request_id, expected in (
                ("req_other00000001", "Another worker"),
                (own[:-8] + "ffffffff", "too long"),
            ):
                got = await play.client.get(f"{EXPLAIN}?request_id={request_id}", **ADMIN)
                message = got.json()["error"]["message"]
                assert (got.status, expected in message, own[:-8] in message) == (404, True, True)

    run(test())


def test_what_is_remembered_is_bounded(tmp_path):
    """The oldest go first."""

    async def test():
        async with explained_scene(tmp_path, cache={"explain_bytes": Size(30_000)}) as play:
            got = [await play.ask(seed=seed) for seed in range(30)]
            assert (await why(play, got[-1]))["result"] == "miss"
            old = await play.client.get(f"{EXPLAIN}?request_id={got[0].headers['x-request-id']}", **ADMIN)
            assert old.status == 404

    run(test())
