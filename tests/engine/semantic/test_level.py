"""The semantic level, end to end over sockets, with an embeddings model that is simulated."""

import asyncio
import contextlib
import json

import pytest

from antiphon.drivers.simulator import Answer
from antiphon.settings import Admin, Key, Redis, Secret, Semantic, Storage
from engine.scene import CHAT, COMPLETIONS, RESPONSES, outcome_of, run, scene
from engine.semantic.words import vector_of
from serving import Clock
from waiting import eventually

MODEL = "chat/embedder"
FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me what is the capital of France"
ADMIN = {"Authorization": "Bearer admin-key"}
MESSAGES = "/v1/messages"


class Upstream:
    """Answers embeddings by the words of a text, and all else with what it was told to say."""

    def __init__(self):
        self.asked = []
        self.embedded = []
        self.says = lambda text: f"The answer to: {len(text)}"
        self.embeds = True
        self.gate = None

    def __call__(self, received):
        body = json.loads(received.body)
        if received.path.endswith("/embeddings"):
            self.embedded.append(body["input"])
            if not self.embeds:
                return Answer(status=503, body=b"{}")
            item = {"object": "embedding", "index": 0, "embedding": vector_of(body["input"])}
            return Answer(body=json.dumps({"object": "list", "data": [item], "model": "embedder"}).encode())
        self.asked.append(body)
        return Answer(body=self._answer(received.path, body), gate=self.gate)

    def _answer(self, path, body):
        text = json.dumps(body.get("messages") or body.get("input") or body.get("prompt"))
        said = self.says(text)
        if path.endswith("/chat/completions"):
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            if said is None:
                choice["message"]["tool_calls"] = [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ]
            answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        elif path.endswith("/completions"):
            choice = {"index": 0, "text": said, "finish_reason": "stop"}
            answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
        else:
            part = {"type": "output_text", "text": said, "annotations": []}
            item = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
            answer = {
                "id": "resp_up",
                "object": "response",
                "created_at": 1,
                "status": "completed",
                "model": "m",
                "output": [item],
            }
        return json.dumps(answer).encode()


@contextlib.asynccontextmanager
async def semantic_scene(folder, *, semantic=None, cache=None, upstream=None, **options):
    settings = {"enabled": True, "embedding_model": MODEL, "threshold": 0.8, "verify": 0.0, "timeout": 5.0}
    given = Semantic(**{**settings, **(semantic or {})})
    options.setdefault("admin", Admin(key=Secret("admin-key")))
    async with scene(folder, cache={"semantic": given, **(cache or {})}, **options) as play:
        play.upstream = upstream or Upstream()
        play.simulator._choose = play.upstream
        yield play


def asked(text, **changes):
    return {"messages": [{"role": "user", "content": text}], **changes}


async def placed(play, count=1):
    """Return when so many texts can be found."""

    async def enough():
        return await play.application.storage.vectors.count() >= count

    await eventually(enough)


async def compared(play, count=1):
    """Return when so many answers were compared."""
    counts = play.application.semantic.counts
    await eventually(lambda: counts.compared >= count)


async def hit(play, path=CHAT, **changes):
    """Ask, and return whether it was a semantic hit."""
    got = await play.ask(path, **changes)
    assert got.status == 200
    return got.headers.get("x-cache") == "HIT (semantic)"


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


def test_a_gate_says_its_name(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"threshold": 0.5}) as play:
            await play.ask(**asked("What is 15% of 80?"))
            await placed(play)
            got = await play.ask(**asked("What is 15% of 90?"))
            assert 'detail="semantic refused numbers 0.' in got.cache_status
            assert play.application.semantic.counts.refused["numbers"] == 1

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


def test_without_evidence_the_upstream_is_asked_and_the_answers_are_compared(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"threshold": "learned", "max_error": 0.5}) as play:
            play.upstream.says = lambda text: "Paris"
            await play.ask(**asked(FRANCE))
            await placed(play)
            needed = 8  # pairs for a bound of one half
            for number in range(needed):
                assert not await hit(play, **asked(f"Please{' please' * number} {FRANCE_TOO}"))
                await compared(play, number + 1)
            thresholds = play.application.semantic.thresholds
            assert thresholds.threshold("chat/m") is not None
            assert await hit(play, **asked("Kindly tell me what is the capital of France"))
            # Another worker, and this one after a restart, knows it too.
            await play.committed()
            thresholds._learned = {}
            await thresholds.refresh()
            assert thresholds.threshold("chat/m") is not None
            assert thresholds.threshold("chat/other") is None

    run(test())


def test_answers_that_differ_teach_not_to_serve(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"threshold": "learned", "max_error": 0.5}) as play:
            said = iter(range(100))
            play.upstream.says = lambda text: f"Number {next(said)}"
            await play.ask(**asked(FRANCE))
            await placed(play)
            for number in range(8):
                await play.ask(**asked(f"Please{' please' * number} {FRANCE_TOO}"))
                await compared(play, number + 1)
            counts = play.application.semantic.counts
            assert (counts.compared, counts.agreed) == (8, 0)
            assert play.application.semantic.thresholds.threshold("chat/m") is None

    run(test())


def test_in_shadow_mode_the_upstream_is_always_asked(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"mode": "shadow"}) as play:
            play.upstream.says = lambda text: "Paris"
            await play.ask(**asked(FRANCE))
            await placed(play)
            assert not await hit(play, **asked(FRANCE_TOO))
            await compared(play)
            counts = play.application.semantic.counts
            assert (counts.would_hit, counts.agreed, counts.hits) == (1, 1, 0)
            assert len(play.upstream.asked) == 2

    run(test())


def test_some_hits_are_verified(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"verify": 1.0}) as play:
            play.upstream.says = lambda text: "Paris"
            await play.ask(**asked(FRANCE))
            await placed(play)
            assert not await hit(play, **asked(FRANCE_TOO))
            await compared(play)
            assert play.application.semantic.counts.would_hit == 1

    run(test())


def test_a_slow_embeddings_model_holds_nobody_up(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"timeout": 0.05}) as play:
            release = asyncio.Event()
            answer = play.upstream

            def slow(received):
                given = answer(received)
                if received.path.endswith("/embeddings"):
                    return Answer(body=given.body, gate=release)
                return given

            play.simulator._choose = slow
            got = await play.ask(**asked(FRANCE))
            assert outcome_of(got) == "miss"
            assert 'detail="semantic late"' in got.cache_status
            release.set()
            await placed(play)

    run(test())


def test_an_embeddings_model_that_fails_is_no_fault_of_the_request(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            play.upstream.embeds = False
            assert outcome_of(await play.ask(**asked(FRANCE))) == "miss"
            assert outcome_of(await play.ask(**asked(FRANCE))) == "hit"
            assert outcome_of(await play.ask(**asked(FRANCE_TOO))) == "miss"
            assert play.application.semantic.counts.failed >= 1

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


def test_it_is_reported_and_can_be_told(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"threshold": "learned", "max_error": 0.5}) as play:
            path = "/admin/v1/cache/semantic"
            assert (await play.client.get(path)).status == 401
            report = json.loads((await play.client.get(path, **ADMIN)).body)
            assert (report["mode"], report["models"], report["pairs_needed"]) == ("on", {}, 8)
            for _ in range(8):
                told = {"model": "chat/m", "similarity": 0.97, "right": True}
                got = await play.client.post(path + "/feedback", told, **ADMIN)
            assert json.loads(got.body) == {"threshold": 0.8}
            report = json.loads((await play.client.get(path, **ADMIN)).body)
            assert report["models"]["chat/m"]["pairs"] == {"known": 8, "agreed": 8}
            assert report["models"]["chat/m"]["threshold"] == 0.8
            assert (await play.client.post(path + "/feedback", {"model": "m"}, **ADMIN)).status == 400
            metrics = (await play.client.get("/metrics", **ADMIN)).body.decode()
            assert 'antiphon_cache_semantic_threshold{model="chat/m"} 0.8' in metrics

    run(test())


def test_it_is_counted_as_what_it_is(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked(FRANCE))
            await placed(play)
            assert await hit(play, **asked(FRANCE_TOO))
            rows = await play.rows()
            assert [row.cache for row in rows if row.dialect == "chat"] == ["miss", "semantic"]
            assert [row.dialect for row in rows].count("embeddings") == 2

    run(test())


def test_it_is_explained(tmp_path):
    explain = "/admin/v1/cache/explain"

    async def test():
        async with semantic_scene(tmp_path) as play:
            await play.ask(**asked("What is 15% of 80?"))
            await placed(play)
            for text, result, gate in (
                ("Tell me what is 15% of 80?", "semantic", None),
                ("What is 15% of 90?", "miss", "numbers"),
            ):
                body = {"path": CHAT, "body": {"model": "chat/m", **asked(text)}}
                told = (await play.client.post(explain, body, **ADMIN)).json()
                assert (told["result"], told["semantic"]["refused_by"]) == (result, gate)
                assert len(play.upstream.asked) == 1
            got = await play.ask(**asked("What is 15% of 90?"))
            await play.rows()
            told = (
                await play.client.get(f"{explain}?request_id={got.headers['x-request-id']}", **ADMIN)
            ).json()
            assert told["semantic"]["refused_by"] == "numbers"
            assert told["semantic"]["note"].startswith("semantic refused numbers 0.")

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
