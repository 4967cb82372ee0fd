"""Every recorded exchange with Anthropic, played by an upstream over a socket and asked for through the gateway."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from antiphon.settings import Cache
from e2e.plain_client import Answer
from e2e.stage import Stage, played, stage
from official_anthropic import assembled, comparable, messages_in
from official_library import frames_of
from recorded import Exchange, exchanges, needs_recordings

pytestmark = needs_recordings

NOT_CACHED = {
    "anthropic-anthropic-messages-s-b787c318de-0": "was refused",
    "anthropic-anthropic-messages-p-3afe56515e": "was refused",
}
"""Answers with status 200 that are passed on and not kept. Answers with any other status never are."""

ERRORS_PUT_INTO_FORM = {
    "anthropic-anthropic-messages-p-95b34638eb": (
        "is the plain text of a proxy",
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    ),
}
"""Errors that are not Anthropic's own, and the message that the client finds in their place."""


@dataclass(frozen=True)
class Play:
    """A recorded answer, and what is asked to have it played."""

    exchange: Exchange

    @property
    def is_stream(self) -> bool:
        return self.exchange.mode == "stream"

    @property
    def is_cached(self) -> bool:
        return self.exchange.status == 200 and self.exchange.id not in NOT_CACHED

    @property
    def content_type(self) -> str:
        return next(value for name, value in self.exchange.headers if name.lower() == "content-type")

    def request(self, **changes: Any) -> dict[str, Any]:
        """Return the recorded request; a namespace keeps equal requests of two recordings apart."""
        body = dict(self.exchange.request or {"messages": [{"role": "user", "content": "Hi"}]})
        body |= {"max_tokens": body.get("max_tokens", 1000), "model": f"up/{body.get('model') or 'claude'}"}
        body |= {"cache": {"namespace": self.exchange.id}, "stream": self.is_stream}
        return body | changes


@cache
def all_plays() -> list[Play]:
    found = [Play(each) for each in exchanges("anthropic.messages", "plain", None)]
    for exchange in exchanges("anthropic.messages", "stream", None):
        found += [
            Play(replace(exchange, id=f"{exchange.id}-{number}", body=body))
            for number, body in enumerate(messages_in(exchange.body))
        ]
    return found


def plays(which: Callable[[Play], bool] = lambda _: True) -> list[Any]:
    return [pytest.param(play, id=play.exchange.id) for play in all_plays() if which(play)]


@dataclass(frozen=True)
class Performance:
    """What came of a recording: asked for twice, and once in the other mode."""

    first: Answer
    second: Answer
    other: Answer | None
    calls: list[int]
    """How often the upstream was asked after each request."""
    received: bytes


async def performed(scene: Stage, play: Play) -> Performance:
    simulator, client = scene.simulator, scene.client
    before = len(simulator.calls)
    simulator.answer(played(play.exchange, play.exchange.body, play.content_type))
    requests = [play.request(), play.request()]
    if play.is_cached:
        requests.append(play.request(stream=not play.is_stream))
    answers, calls = [], []
    for request in requests:
        answers.append(await client.post("/v1/messages", request))
        calls.append(len(simulator.calls) - before)
    first, second, *rest = answers
    return Performance(first, second, rest[0] if rest else None, calls, simulator.calls[before].body)


Perform = Callable[[Play], Performance]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("messages"), Cache(), "anthropic") as set_stage:
        yield set_stage


@pytest.fixture(scope="module")
def perform(scene: Stage) -> Perform:
    """Play a recording; each once, however many tests look at what came of it."""
    known: dict[str, Performance] = {}

    def once(play: Play) -> Performance:
        if play.exchange.id not in known:
            known[play.exchange.id] = scene.run(performed(scene, play))
        return known[play.exchange.id]

    return once


COUNTS = exchanges("anthropic.count_tokens", "plain", None)


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each.id) for each in COUNTS])
def test_counts_are_passed_on_and_a_number_is_not_asked_for_twice(scene: Stage, exchange: Exchange):
    """Errors are, and what the client asks is not changed."""
    request = exchange.request | {"model": "up/claude", "cache": {"namespace": exchange.id}}
    before = len(scene.simulator.calls)

    async def ask() -> list[Answer]:
        scene.simulator.answer(played(exchange, exchange.body, "application/json"))
        return [await scene.client.post("/v1/messages/count_tokens", request) for _ in range(2)]

    answers = scene.run(ask())
    calls = scene.simulator.calls[before:]

    assert [(each.status, each.body) for each in answers] == [(exchange.status, exchange.body)] * 2
    assert len(calls) == (1 if exchange.status == 200 else 2)
    assert json.loads(calls[0].body) == exchange.request | {"model": "claude"}


@pytest.mark.parametrize("play", plays())
def test_what_the_upstream_says_reaches_the_client_byte_for_byte(perform: Perform, play: Play):
    """Blanks in front of the closing brace, pings, unknown events and all."""
    answer = perform(play).first

    assert play.exchange.status == answer.status
    if play.exchange.id in ERRORS_PUT_INTO_FORM:
        told = answer.json()
        assert (told["type"], told["error"]["message"]) == (
            "error",
            ERRORS_PUT_INTO_FORM[play.exchange.id][1],
        )
    else:
        assert play.exchange.body == answer.body


def test_of_the_upstreams_headers_those_for_clients_are_passed_on(perform: Perform):
    """Retry, rate-limit and request-id headers."""
    for play in all_plays():
        recorded = {name.lower(): value for name, value in play.exchange.headers}
        shown = {
            name: value
            for name, value in recorded.items()
            if name.startswith("anthropic-ratelimit-")
            or name in {"request-id", "retry-after", "x-should-retry"}
        }

        assert shown.items() <= perform(play).first.headers.items()


def test_what_the_client_asks_reaches_the_upstream(perform: Perform):
    """Only the model's name and the cache controls are the gateway's."""
    for play in all_plays():
        request = play.request()
        del request["cache"]
        request["model"] = request["model"].removeprefix("up/")

        assert (play.exchange.id, request) == (play.exchange.id, json.loads(perform(play).received))


def test_exactly_the_answers_that_are_not_whole_are_asked_for_again(perform: Perform):
    """Errors and refusals are not served twice; all else is, with the bytes of the first answer."""
    for play in all_plays():
        done, name = perform(play), play.exchange.id
        assert (name, play.is_cached) == (name, done.second.is_hit)
        assert (name, [1, 1] if play.is_cached else [1, 2]) == (name, done.calls[:2])
        if play.is_cached:
            assert done.first.body == done.second.body
            assert done.first.headers["content-type"] == done.second.headers["content-type"]


def in_other_mode(perform: Perform, play: Play) -> Answer:
    """Return the hit in the mode that was not recorded."""
    done = perform(play)
    assert done.other is not None
    streamed = "text/event-stream" in done.other.headers["content-type"]

    assert (200, True, not play.is_stream, 1) == (
        done.other.status,
        done.other.is_hit,
        streamed,
        done.calls[-1],
    )
    return done.other


@pytest.mark.parametrize("play", plays(lambda play: play.is_cached and play.is_stream))
def test_a_stream_is_a_json_hit_that_the_library_would_assemble(perform: Perform, play: Play):
    """Without exception: anthropic-sdk-python makes the same of the recorded events."""
    hit = in_other_mode(perform, play)

    assert comparable(assembled(frames_of(play.exchange.body))) == comparable(hit.json())


@pytest.mark.parametrize("play", plays(lambda play: play.is_cached and not play.is_stream))
def test_an_answer_is_a_streamed_hit_that_the_library_assembles(perform: Perform, play: Play):
    """Without exception: anthropic-sdk-python makes the recorded message of the events."""
    hit = in_other_mode(perform, play)

    assert comparable(json.loads(play.exchange.body)) == comparable(assembled(frames_of(hit.body)))
