"""The semantic level, end to end over sockets, with an embeddings model that is simulated."""

import contextlib
import json

from antiphon.drivers.simulator import Answer
from antiphon.settings import Semantic
from engine.scene import CHAT, answering, outcome_of, run, scene
from engine.semantic.words import vector_of
from waiting import eventually

MODEL = "chat/embedder"


def answers(said=None):
    """Answer embeddings by the words of a text, and all else with what `said` has for it."""

    def choose(received, number):
        asked = json.loads(received.body)
        if received.path.endswith("/embeddings"):
            item = {"object": "embedding", "index": 0, "embedding": vector_of(asked["input"])}
            return Answer(body=json.dumps({"object": "list", "data": [item], "model": "embedder"}).encode())
        return answering(received, number)

    return choose


@contextlib.asynccontextmanager
async def semantic_scene(folder, **options):
    settings = {"enabled": True, "embedding_model": MODEL, "threshold": 0.8, "verify": 0.0, "timeout": 5.0}
    given = Semantic(**{**settings, **options.pop("semantic", {})})
    choose = answers()
    async with scene(folder, cache={"semantic": given, **options.pop("cache", {})}, **options) as play:
        play.simulator._choose = lambda received: choose(received, len(play.simulator.calls))
        yield play


def asked(text, **changes):
    return {"messages": [{"role": "user", "content": text}], **changes}


async def placed(play, count=1):
    """Return when so many texts are in the index."""

    async def enough():
        return await play.application.storage.vectors.count() >= count

    await eventually(enough, 5)


def test_a_paraphrase_is_answered_from_the_cache(tmp_path):
    async def test():
        async with semantic_scene(tmp_path) as play:
            first = await play.ask(CHAT, **asked("What is the capital of France?"))
            assert outcome_of(first) == "miss"
            await placed(play)
            calls = play.calls
            got = await play.ask(CHAT, **asked("Tell me what is the capital of France"))
            assert got.headers["x-cache"] == "HIT (semantic)"
            assert 'detail="semantic 0.' in got.cache_status
            assert got.body == first.body
            assert play.calls == calls + 1  # the embedding

    run(test())
