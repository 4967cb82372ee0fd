"""What is learned, counted and told while answers are compared, end to end over sockets."""

import asyncio
import json

from antiphon.drivers.simulator import Answer
from engine.scene import CHAT, outcome_of, run
from engine.semantic.scene import (
    ADMIN,
    FRANCE,
    FRANCE_TOO,
    asked,
    compared,
    hit,
    placed,
    semantic_scene,
)


def test_a_gate_says_its_name(tmp_path):
    async def test():
        async with semantic_scene(tmp_path, semantic={"threshold": 0.5}) as play:
            await play.ask(**asked("What is 15% of 80?"))
            await placed(play)
            got = await play.ask(**asked("What is 15% of 90?"))
            assert 'detail="semantic refused numbers 0.' in got.cache_status
            assert play.application.semantic.counts.refused["numbers"] == 1

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
