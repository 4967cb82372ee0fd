"""What is asked of a model and what it says, in no dialect: scenarios are written in these terms."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class WronglyAskedError(Exception):
    """The upstream was sent what its API does not take, or what cannot be right at this point of the scenario."""


def must(condition: object, what: str) -> None:
    """Refuse the request unless `condition` holds."""
    if not condition:
        raise WronglyAskedError(what)


def only(value: Any, path: str, *, needs: Iterable[str] = (), may: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return the object `value`, which has all members that it `needs`, and else none but those that it `may`."""
    must(isinstance(value, dict), f"{path} is no object: {value!r}")
    needs, may = set(needs), set(may)
    must(needs <= value.keys(), f"{path} lacks {sorted(needs - value.keys())}")
    must(value.keys() <= needs | may, f"{path} has unknown members {sorted(value.keys() - needs - may)}")
    return value


def text_of(value: Any, path: str) -> str:
    """Return a text, which has to be one."""
    must(isinstance(value, str), f"{path} is no text: {value!r}")
    return value


def parsed(text: Any, path: str) -> dict[str, Any]:
    """Return the object that a call's arguments are the JSON of."""
    try:
        value = json.loads(text_of(text, path))
    except ValueError:
        raise WronglyAskedError(f"{path} is no JSON: {text!r}") from None
    must(isinstance(value, dict), f"{path} is the JSON of no object: {text!r}")
    return value


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a tool answered."""

    call_id: str
    output: str


@dataclass(frozen=True)
class Asked:
    """One request."""

    stream: bool
    system: str
    texts: tuple[tuple[str, str], ...]
    """Who (`user`, `assistant`) said what, in order."""
    calls: tuple[Call, ...]
    """All calls that were made so far."""
    results: tuple[Result, ...]
    """All that was answered to them."""
    proofs: tuple[str, ...]
    """Signatures of earlier reasoning; in dialects that have none, its text."""
    tools: dict[str, Any] = field(default_factory=dict)
    """Schemas of arguments by the name of the tool."""
    must_call: str | None = None
    """The tool that has to be called; `*` is any."""
    schema: Any = None
    """The schema to which the dialect itself holds the answer."""
    wants_json: bool = False
    """Whether the answer has to be JSON of whatever shape."""
    limit: int | None = None
    """Of output tokens."""

    @property
    def last_said(self) -> str:
        """What the user said last."""
        return next((text for who, text in reversed(self.texts) if who == "user"), "")


@dataclass(frozen=True)
class Says:
    """One answer."""

    texts: tuple[str, ...] = ()
    """In the pieces in which it is streamed."""
    calls: tuple[Call, ...] = ()
    thought: str = ""
    proof: str = ""
    """What has to come back with the calls, if there are any."""
    refusal: str = ""
    finish: str = "stop"
    """`stop` or `length`; calls and refusals follow from what is said."""
    is_cut: bool = False
    """Whether the connection breaks before all is said."""

    @property
    def text(self) -> str:
        return "".join(self.texts)


@dataclass(frozen=True)
class Fails:
    """An error in place of an answer."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, THOUGHT_TOKENS = 25, 8, 12, 5
"""Of every answer. Input includes what was cached, output what was thought."""
