"""What is served to a request in other words, end to end over sockets."""

import json

import pytest

from antiphon.settings import Key, Redis, Secret, Storage
from engine.scene import CHAT, COMPLETIONS, RESPONSES, outcome_of, run
from engine.semantic.scene import ADMIN, FRANCE, FRANCE_TOO, Upstream, asked, hit, placed, semantic_scene
from serving import Clock

MESSAGES = "/v1/messages"
FORMS = {
    CHAT: asked,
    COMPLETIONS: lambda text: {"prompt": text},
    RESPONSES: lambda text: {"input": text},
    MESSAGES: lambda text: {"model": "chat/m", "max_tokens": 100, **asked(text)},
}


@pytest.mark.parametrize("path", FORMS)
def test_a_request_in_other_words_is_answered_from_the_cache(tmp_path, path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            body = FORMS[path](FRANCE)
            first = await (play.client.post(path, body) if path == MESSAGES else play.ask(path, **body))
            assert (first.status, outcome_of(first)) == (200, "miss")
            await placed(play)
            again = FORMS[path](FRANCE_TOO)
            got = await (play.client.post(path, again) if path == MESSAGES else play.ask(path, **again))
            assert got.headers["x-cache"] == "HIT (semantic)"
            assert got.cache_status.startswith("antiphon; hit; ttl=3")
            assert 'detail="semantic ' in got.cache_status
            assert len(play.upstream.asked) == 1
            assert path == RESPONSES or got.body == first.body

    run(test())


def test_a_response_in_other_words_has_an_id_of_its_own_and_can_be_read_again(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            first = json.loads((await play.ask(RESPONSES, input=FRANCE)).body)
            await placed(play)
            second = json.loads((await play.ask(RESPONSES, input=FRANCE_TOO)).body)
            assert first["id"] != second["id"]
            assert first["output"] == second["output"]
            read = await play.client.get(f"{RESPONSES}/{second['id']}")
            assert json.loads(read.body)["output"] == first["output"]
            # What continues from it has the words that were really asked.
            items = json.loads((await play.client.get(f"{RESPONSES}/{second['id']}/input_items")).body)
            assert items["data"][0]["content"][0]["text"] == FRANCE_TOO

    run(test())


def test_an_exact_hit_costs_no_vector(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            embedded = len(play.upstream.embedded)
            assert (await play.ask(**asked(FRANCE))).headers["x-cache"] == "HIT (exact)"
            assert len(play.upstream.embedded) == embedded

    run(test())


def test_a_stream_and_json_answer_each_other(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            got = await play.ask(**asked(FRANCE_TOO, stream=True))
            assert got.headers["x-cache"] == "HIT (semantic)"
            assert got.body.rstrip().endswith(b"[DONE]")

    run(test())


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1},
        {"model": "chat/n"},
        {"messages": [{"role": "system", "content": "Be rude"}, {"role": "user", "content": FRANCE_TOO}]},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"cache": {"namespace": "other"}},
        {"headers": {"X-Antiphon-Cache": "exact"}},
        {"headers": {"Cache-Control": "no-cache"}},
        {"headers": {"Cache-Control": "no-store"}},
        asked("What is the capital of Germany?"),
        asked("How high is the tower?"),
    ],
)
def test_whatever_else_differs_is_asked_upstream(tmp_path, changes):
    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            assert not await hit(play, **{**asked(FRANCE_TOO), **changes})
            assert len(play.upstream.asked) == 2

    run(test())


def test_nobody_is_answered_from_another_scope(tmp_path):
    keys = tuple(Key(name=name, project=name, key=Secret(f"{name}-key")) for name in ("alice", "bob"))

    async def test():
        async with semantic_scene(tmp_path, keys=keys) as play:
            alice, bob = ({"Authorization": f"Bearer {name}-key"} for name in ("alice", "bob"))
            await play.ask(**asked(FRANCE), headers=alice)
            await placed(play)
            assert not await hit(play, **asked(FRANCE_TOO), headers=bob)
            assert await hit(play, **asked("Tell me, what is the capital of France"), headers=alice)

    run(test())


def test_an_answer_that_calls_tools_is_no_answer_for_other_words(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            play.upstream.says = lambda text: None
            await play.ask(**asked(FRANCE))
            assert not await hit(play, **asked(FRANCE_TOO))
            await play.committed()
            assert await play.application.storage.vectors.count() == 0

    run(test())


def test_what_is_purged_is_not_found(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            purged = await play.client.post("/admin/v1/cache/purge", {"model": "chat/m"}, **ADMIN)
            assert json.loads(purged.body) == {"removed": 1}
            assert not await hit(play, **asked(FRANCE_TOO))
            assert len(play.upstream.asked) == 2

    run(test())


def test_what_has_expired_is_not_served(tmp_path):
    async def test():
        clock = Clock()
        async with semantic_scene(tmp_path, clock=clock) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            clock.now += 3601
            assert not await hit(play, **asked(FRANCE_TOO))

    run(test())


def test_only_if_cached_is_content_with_other_words(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            cached_only = {"headers": {"Cache-Control": "only-if-cached"}}
            assert (await play.ask(**asked(FRANCE), **cached_only)).status == 504
            await play.ask(**asked(FRANCE))
            await placed(play)
            got = await play.ask(**asked(FRANCE_TOO), headers={"Cache-Control": "only-if-cached"})
            assert got.headers["x-cache"] == "HIT (semantic)"

    run(test())


def test_what_is_near_to_a_wrong_answer_can_be_forgotten(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            for text in (FRANCE, FRANCE_TOO, "How high is the tower?"):
                await play.ask(**asked(text), headers={"Cache-Control": "no-cache"})
            await placed(play, 3)
            semantic = play.application.semantic
            wrong, too = (
                next(entry for entry in play.entries() if text.encode() in entry.identity)
                for text in (FRANCE, FRANCE_TOO)
            )
            assert await semantic.forget_near(wrong, 0.8) == [too.digest]
            await play.committed()
            assert await play.application.storage.vectors.count() == 1

    run(test())


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_it_works_with_every_second_level(tmp_path, request, kind):
    """Vectors are in storage, wherever the answers are; a worker that has neither in memory finds both."""
    if kind == "postgres":
        options = {"storage": Storage(url=request.getfixturevalue("postgres_url"))}
        cache = {}
    else:
        options = {"redis": Redis(url=request.getfixturevalue("redis_server").url)}
        cache = {"store": "redis"}

    async def test():
        upstream = Upstream()
        async with semantic_scene(tmp_path, upstream=upstream, cache=cache, **options) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
        async with semantic_scene(tmp_path, upstream=upstream, cache=cache, **options) as play:
            assert await hit(play, **asked(FRANCE_TOO))
            assert len(upstream.asked) == 1
            assert (
                await play.client.post("/admin/v1/cache/purge", {"model": "chat/m"}, **ADMIN)
            ).status == 200
            assert not await hit(play, **asked("What, please, is the capital of France"))

    run(test())
