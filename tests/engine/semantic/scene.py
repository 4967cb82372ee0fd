"""A gateway with a semantic level before a simulated upstream that answers, and makes vectors of words."""

import contextlib
import json

from antiphon.drivers.simulator import Answer
from antiphon.settings import Admin, Secret, Semantic
from engine.scene import CHAT, scene
from engine.semantic.words import vector_of
from waiting import eventually

MODEL = "chat/embedder"
FRANCE = "What is the capital of France?"
FRANCE_TOO = "Tell me what is the capital of France"
ADMIN = {"Authorization": "Bearer admin-key"}


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
