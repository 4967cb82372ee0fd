"""A second, simple-minded reading of recorded answers of Gemini, to compare the gateway's with."""

import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

from recorded import Exchange


@dataclass
class Read:
    """What a recorded answer says."""

    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    passages: list[tuple[str, str]] = field(default_factory=list)
    """Quoted passages of the text, with the address of their source."""
    finish: Any = None
    usage: dict[str, Any] = field(default_factory=dict)
    model: str = ""


def chunks_of(exchange: Exchange) -> list[Any]:
    text = exchange.body.decode()
    if text.startswith("data:"):
        return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]
    whole = json.loads(text)
    return whole if isinstance(whole, list) else [whole]


def read(exchange: Exchange) -> Read:
    found = Read()
    for chunk in chunks_of(exchange):
        if "promptTokenCount" in chunk.get("usageMetadata", {}):
            found.usage = chunk["usageMetadata"]
        found.model = chunk.get("modelVersion", found.model)
        for candidate in chunk.get("candidates", [])[:1]:
            found.finish = candidate.get("finishReason", found.finish)
            for part in candidate.get("content", {}).get("parts", []):
                _part(found, part)
            _grounding(found, candidate.get("groundingMetadata", {}))
    return found


def _part(found: Read, part: Any) -> None:
    if "thoughtSignature" in part:
        found.signatures.append(part["thoughtSignature"])
    if part.get("thought"):
        found.thoughts += part["text"]
    elif "text" in part:
        found.text += part["text"]
    elif "executableCode" in part:
        found.code.append(part["executableCode"]["code"])
    elif "functionCall" in part:
        call = part["functionCall"]
        if "name" in call:
            found.calls.append((call["name"], call.get("args", {})))
        for piece in call.get("partialArgs", []):
            _put(found.calls[-1][1], piece)


def _put(holder: Any, piece: Any) -> None:
    """Set what a piece of arguments names, lists and objects on the way included."""
    steps = [int(step) if step.isdigit() else step for step in re.findall(r"[^.$\[\]]+", piece["jsonPath"])]
    for step, following in itertools.pairwise(steps):
        holder = _inside(holder, step, [] if isinstance(following, int) else {})
    last = steps[-1]
    value = piece.get("stringValue", piece.get("numberValue"))
    if isinstance(value, str):
        value = _inside(holder, last, "") + value
    holder[last] = value


def _inside(holder: Any, step: Any, fresh: Any) -> Any:
    if isinstance(holder, dict):
        return holder.setdefault(step, fresh)
    if step == len(holder):
        holder.append(fresh)
    return holder[step]


def _grounding(found: Read, grounding: Any) -> None:
    found.queries += grounding.get("webSearchQueries", [])
    sources = grounding.get("groundingChunks", [])
    for support in grounding.get("groundingSupports", []):
        for index in support["groundingChunkIndices"]:
            if "web" in sources[index]:
                found.passages.append((support["segment"]["text"], sources[index]["web"]["uri"]))
