"""Somebody who answers as a scenario says, in every dialect, and only to who asks rightly.

A request that the real API would refuse is refused, and so is one that cannot be right at its point of the scenario:
then `faults` says why, and the test fails at its end whatever its client made of the answer.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from antiphon.drivers.simulator import Answer, Received
from scripted import chat, gemini, messages, ollama, responses
from scripted.speech import INPUT_TOKENS, Asked, Fails, Says, WronglyAskedError

Play = Callable[[Asked, int], Says | Fails]
"""(what is asked, how many requests came before) -> what is answered. Raises WronglyAskedError."""


@dataclass
class ScriptedUpstream:
    """What a `Simulator` is given to choose answers; providers find it at `/KIND/…`."""

    play: Play | None = None
    asked: list[Asked] = field(default_factory=list)
    """The requests of the scenario so far."""
    calls: list[Received] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def playing(self, play: Play) -> Iterator["ScriptedUpstream"]:
        """Play a scenario from its beginning until the block ends, without any fault."""
        self.play = play
        for told in (self.asked, self.calls, self.faults):
            told.clear()
        try:
            yield self
        finally:
            self.play = None
            assert self.faults == []

    def __call__(self, received: Received) -> Answer:
        """Answer a request."""
        _, kind, path = received.path.split("/", 2)
        if received.method == "GET" and path.endswith("models"):
            return Answer(body=b'{"object":"list","data":[],"models":[]}')
        dialect, model = _dialect_of(path)
        self.calls.append(received)
        body = json.loads(received.body)
        try:
            if path.endswith("/responses/input_tokens"):
                return Answer(body=json.dumps({"input_tokens": INPUT_TOKENS}).encode())
            if path.endswith("count_tokens"):
                messages.read_count(body)
                return Answer(body=json.dumps({"input_tokens": INPUT_TOKENS}).encode())
            if path.endswith(":countTokens"):
                return Answer(body=json.dumps({"totalTokens": INPUT_TOKENS}).encode())
            if dialect is messages and "thread" in body:
                return Answer(status=400, body=json.dumps(messages.UNTHREADED).encode())
            _check_head(received, dialect)
            asked = dialect.read(body, kind)
            if "streamGenerateContent" in path:
                asked = replace(asked, stream=True)
            self.asked.append(asked)
            assert self.play is not None, "nobody plays"
            said = self.play(asked, len(self.asked) - 1)
        except (WronglyAskedError, AttributeError, KeyError, TypeError) as error:
            self.faults.append(f"{type(error).__name__} in {received.path}: {error} {json.dumps(body)}")
            return Answer(status=400, body=json.dumps(dialect.fail(Fails(400, str(error)))).encode())
        if isinstance(said, Fails):
            body = json.dumps(dialect.fail(said)).encode()
            return Answer(status=said.status, headers=said.headers, body=body)
        answered_by: str = body.get("model") or model
        answer: Answer = dialect.write(said, asked, answered_by, kind)
        return answer


def _dialect_of(path: str) -> tuple[Any, str]:
    """Return the dialect of a path, and the model if that is in it."""
    for end, dialect in _PATHS:
        if path.endswith(end):
            return dialect, ""
    model, found, _ = path.rpartition("/")[2].partition(":")
    assert found, f"nobody answers at {path}"
    return gemini, model


_PATHS: tuple[tuple[str, ModuleType], ...] = (
    ("/responses", responses),
    ("/chat/completions", chat),
    ("/messages", messages),
    ("/messages?beta=true", messages),
    ("/responses/input_tokens", responses),
    ("/messages/count_tokens", messages),
    ("/messages/count_tokens?beta=true", messages),
    ("api/chat", ollama),
)


def _check_head(received: Received, dialect: Any) -> None:
    wanted = {messages: ("x-api-key", "anthropic-version"), gemini: ("x-goog-api-key",)}
    for name in wanted.get(dialect, ()):
        if name not in received.headers:
            raise WronglyAskedError(f"no header {name}")
