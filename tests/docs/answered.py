"""Answers of upstreams as clients get them, and as the upstream gets them back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.translation import feed
from docs.feature import MARK, Body
from translated import telling, write

DIALECTS = {dialect.name: dialect for dialect in (CHAT, COMPLETIONS, MESSAGES, RESPONSES)}


@dataclass(frozen=True)
class Answered:
    """One row of the tables."""

    name: str
    samples: Mapping[str, Any]
    """The whole answer, by the upstream's dialect."""
    request: Body = field(default_factory=dict)
    """What had been asked, in the hub's terms."""
    found: str = ""
    """What shows it, where it is no mark: a name of a member, or a value."""
    goes_back: bool = False
    """Whether it is looked for in the upstream's next request, to which the client gives it back."""
    missing: str = ""
    """Why a client may not be told of it."""
    clients: tuple[str, ...] = ()
    """Whom it can be told to; empty: all."""


def answer_of(answered: Answered, client: str, upstream: str) -> Any:
    """What the client gets, or, where it gives that back, what the upstream gets of it."""
    provider = PROVIDER[upstream]
    told = telling(client, {"input": "Hi", **answered.request}, provider)
    reader = UPSTREAMS[upstream].reader(told)
    feed(reader, json.dumps(answered.samples[upstream]).encode(), "")
    reader.close(clean=True)
    frames = CLIENTS[client].writer(told).feed(reader.drain())
    answer = json.loads(DIALECTS[client].fold(frames))
    if not answered.goes_back:
        return answer
    items = CLIENTS[client].read(NEXT[client](answer))
    return write(upstream, {"input": items["input"]}, provider)


PROVIDER = {
    "responses": "openai",
    "chat": "openrouter",  # whose reasoning is sealed
    "messages": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
    "completions": "openai-completions",
}
_ASK, _MORE = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Go on"}
NEXT = {
    "responses": lambda answer: {"input": [_ASK, *answer["output"], _MORE]},
    "chat": lambda answer: {"messages": [_ASK, answer["choices"][0]["message"], _MORE]},
    "messages": lambda answer: {
        "model": "m",
        "max_tokens": 9,
        "messages": [_ASK, {"role": "assistant", "content": answer["content"]}, _MORE],
    },
    "completions": lambda answer: {"prompt": answer["choices"][0]["text"]},
}
"""The next request of a client who gives an answer back."""


def find_again(answered: Answered, answer: Any) -> list[str]:
    """Where it is in an answer: paths without numbers, each once."""
    wanted = set(answered.found.split("|")) if answered.found else set()
    return list(dict.fromkeys(_search(answer, wanted, "")))


def _search(value: Any, wanted: set[str], path: str) -> list[str]:
    match value:
        case dict():
            inner = [
                _search(each, wanted, f"{path}.{name}" if path else name) for name, each in value.items()
            ]
        case list():
            inner = [_search(each, wanted, f"{path}[]") for each in value]
        case _:
            is_it = str(value) in wanted if wanted else isinstance(value, str) and MARK in value
            return [path] if is_it else []
    return [place for places in inner for place in places]
