"""What the rows of the tables about requests are made of: `features` has them all.

What is to be found again in the upstream's request has `MARK` in it. A feature that changes another one (a choice
among tools) has that one in `beside`, so that only the change is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "MARKMARK"
"""Also valid base64."""
IMAGE = f"https://img.example/{MARK}.png"
PDF = f"https://files.example/{MARK}.pdf"
SCHEMA = {"type": "object", "properties": {MARK: {"type": "integer"}}}

Body = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """One row of the tables."""

    name: str
    samples: Mapping[str, Body]
    """What it adds to the plainest request, by the client's dialect."""
    beside: Mapping[str, Body] = field(default_factory=dict)
    """What else the request has, and would have without it."""
    marked: bool = True
    """Whether the upstream's request has to hold the mark; else it is enough that it is another."""
    forms: tuple[tuple[str, str], ...] = ()
    """How it is carried: pattern of the upstream's request as compact JSON, and what is said of it then."""
    left_out: str = ""
    """Why an upstream may not be told of it."""


BASES: dict[str, Body] = {
    "responses": {"model": "m", "input": "Hi"},
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "m", "prompt": "Hi"},
}
"""The plainest request of each dialect that clients speak."""


def said(role: str, content: Any) -> Body:
    return {"role": role, "content": content}


def parts(responses: Body, chat: Body | None, messages: Body | None) -> dict[str, Body]:
    """One part of a user's content, in each dialect's form."""
    given = {"responses": responses, "chat": chat, "messages": messages}
    holders = {"responses": "input", "chat": "messages", "messages": "messages"}
    return {
        client: {holders[client]: [said("user", [part])]}
        for client, part in given.items()
        if part is not None
    }


HINT = "a hint: the answer may differ in how, not in what"
