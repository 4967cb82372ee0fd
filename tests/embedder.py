"""An upstream that embeds and ranks: the same text always has the same vector and the same score."""

import base64
import hashlib
import json
import random
import struct
from typing import Any

from antiphon.drivers.simulator import Answer, Received

MODEL = "text-embedding-3-small"


def vector(item: Any, body: dict[str, Any]) -> Any:
    """Return what stands in `embedding` for one input of the request `body`."""
    digest = hashlib.sha256(json.dumps(item).encode()).digest()
    numbers = struct.unpack("<8H", digest[:16])[: body.get("dimensions") or 4]
    floats = [number / 65536 for number in numbers]
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()
    return floats


def tokens(item: Any) -> int:
    """Count the tokens of one input: each byte of a text is one, so that shares by bytes are exact."""
    return len(item) if isinstance(item, list) else len(item.encode())


def score(document: Any) -> float:
    """Return how well a document answers any query."""
    return int.from_bytes(hashlib.sha256(json.dumps(document).encode()).digest()[:2]) / 65536


def inputs_of(body: dict[str, Any]) -> list[Any]:
    """Return the inputs of a request: a text and a list of tokens are one."""
    given = body["input"]
    return [given] if isinstance(given, str) or isinstance(given[0], int) else given


class Embedder:
    """Answers requests of both routes; what it does to its answers can be changed."""

    def __init__(self, model: str = MODEL) -> None:
        self.model = model
        self.asked: list[Any] = []
        """What each request asked for: its `input`, or its `documents`."""
        self.changes: dict[str, Any] = {}
        """Members that stand around the list, in place of the usual ones; None leaves one out."""
        self.chance: random.Random | None = None
        """Shuffles the entries of answers."""

    def __call__(self, received: Received) -> Answer:
        body = json.loads(received.body)
        if "documents" in body:
            return self._rank(body)
        items = inputs_of(body)
        self.asked.append(body["input"])
        entries = [
            {"object": "embedding", "index": index, "embedding": vector(item, body)}
            for index, item in enumerate(items)
        ]
        count = sum(map(tokens, items))
        return self._answer(
            {
                "object": "list",
                "data": entries,
                "model": self.model,
                "usage": {"prompt_tokens": count, "total_tokens": count},
            }
        )

    def _rank(self, body: dict[str, Any]) -> Answer:
        documents = body["documents"]
        self.asked.append(documents)
        results = [
            {"index": index, "relevance_score": score(document)}
            | ({"document": {"text": document}} if body.get("return_documents") else {})
            for index, document in enumerate(documents)
        ]
        results.sort(key=lambda result: -result["relevance_score"])
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": len(documents)}}
        answer = {"id": "rerank-1", "results": results[: body.get("top_n")], "meta": meta}
        if body["query"] == "voyage":
            answer = {"object": "list", "data": results, "model": "rerank-2", "usage": {"total_tokens": 10}}
        return self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> Answer:
        if self.chance is not None:
            self.chance.shuffle(answer["data"])
        answer = {name: value for name, value in (answer | self.changes).items() if value is not None}
        return Answer(body=json.dumps(answer).encode())
