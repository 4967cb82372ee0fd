"""Every recorded answer, played by its upstream over a socket and asked for by clients of all other dialects.

What a client is told is compared with what the recording says, both read without the hub; all that a dialect has
no form for stands in `e2e.carrying.expected`. Each recording is asked for in its own mode and then in the other:
so both modes are known to say the same.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from antiphon.dialects.providers import PROVIDERS
from antiphon.settings import Cache
from e2e.carrying import PAIRS, UPSTREAMS, differences, expected, is_kept, performed
from e2e.stage import Stage, stage
from e2e.test_rerank_and_audio import PLAIN, RERANKINGS, STREAMS
from recorded import FOLDER, exchanges, needs_recordings
from said import Said
from said_recorded import said_in

pytestmark = needs_recordings

NO_ANSWERS = {
    "gpustack-openai-chat-s-4c5e56a2b2": "ends with llama.cpp's own error field",
    "groq-openai-chat-s-f28f9347c9": "ends with an error event",
    "snowflake-openai-chat-s-57bf150f06": "tells no finish reason",
    "snowflake-openai-chat-s-831979e012": "tells no finish reason",
    "openai-openai-responses-s-671ebec8c2": "ends with response.failed",
    "azure-openai-responses-p-4216c4fbc1": "is a chat completion",
    "openai-openai-responses-p-22599d08f1": "has a status that does not exist: complete",
    "openai-openai-responses-p-6906129cf7": "is queued, not finished",
    "openai-openai-responses-p-fb111cb31c": "is queued, not finished",
    "vertex-gemini-generateContent-p-4594844dc8": "is a prompt that was blocked",
    "vertex-gemini-generateContent-p-4795ba970c": "ends with UNEXPECTED_TOOL_CALL",
}
"""Recordings with status 200 that clients of other dialects are told of as errors."""

BOTH_MODES = pytest.mark.parametrize("mode", ["stream", "plain"])
EVERY_PAIR = pytest.mark.parametrize(("api", "client"), PAIRS)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One gateway, with a provider of each type that has nothing but the dialect of its recordings."""
    with pytest.MonkeyPatch.context() as patch:
        for kind, dialect in UPSTREAMS.values():
            patch.setitem(PROVIDERS, kind, replace(PROVIDERS[kind], speaks=(dialect,)))
        kinds = [kind for kind, _ in UPSTREAMS.values()]
        with stage(tmp_path_factory.mktemp("carried"), Cache(), more=kinds) as set_stage:
            yield set_stage


@BOTH_MODES
@EVERY_PAIR
def test_a_recorded_answer_is_carried_whole(scene: Stage, api: str, client: str, mode: str):
    """Grammar, text, refusal, reasoning, calls, citations, log probabilities, usage, reason; streamed and plain.

    The second request is a hit in the other mode, unless the answer is one that is never kept.
    """
    wrong: dict[str, Any] = {}
    for exchange in exchanges(api, mode):
        said = said_in(exchange)
        wanted = expected(client, said)
        done = scene.run(performed(scene, client, exchange, said))
        found = [
            f"{name}: {each}"
            for name, answer in (("own mode", done.first), ("other mode", done.second))
            for each in differences(client, wanted, answer)
        ]
        if (done.second.is_hit, done.calls) != ((True, 1) if is_kept(wanted) else (False, 2)):
            found.append(f"{done.calls} calls, then {done.second.headers.get('cache-status')}")
        if found:
            wrong[exchange.id] = found

    assert wrong == {}


def test_what_is_no_answer_is_known():
    """Everything else with status 200 is carried as one."""
    plays = [each for api in UPSTREAMS for mode in ("stream", "plain") for each in exchanges(api, mode)]

    assert {each.id for each in plays if said_in(each).finish == "error"} == set(NO_ANSWERS)


# Errors.


def message_in(error: Any) -> str:
    """Return what an upstream says is wrong, in whichever of their shapes."""
    if isinstance(error, dict):
        return message_in(error.get("error") or error.get("detail") or error.get("message"))
    return str(error)


def shown_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    kept = {"retry-after", "retry-after-ms", "x-should-retry"}
    return {name.lower(): value for name, value in headers if name.lower() in kept}


@EVERY_PAIR
def test_a_recorded_error_is_told_in_the_clients_form(scene: Stage, api: str, client: str):
    """With its status, its message and its advice when to come back, whichever mode was asked for."""
    for exchange in (each for each in exchanges(api, "plain", None) if each.status != 200):
        done = scene.run(performed(scene, client, exchange, Said()))
        text = exchange.body.decode()
        message = message_in(json.loads(text)) if text.startswith("{") else text
        for answer in (done.first, done.second):
            error = answer.json()["error"]
            is_messages = answer.json().get("type") == "error"
            members = {"type", "message"} if client == "messages" else {"type", "message", "param", "code"}

            assert (exchange.id, exchange.status) == (exchange.id, answer.status)
            assert (is_messages, members) == (client == "messages", members & error.keys())
            assert message in error["message"]
            assert shown_headers(exchange.headers).items() <= answer.headers.items()
            assert not answer.is_hit
        assert done.calls == 2


# What other modules play.


def test_rankings_and_transcriptions_are_played_by_their_own_tests():
    """No other dialect can hold them: every recording of theirs is played to a client of their own."""
    played = {each.id for each in (*RERANKINGS, *PLAIN, *STREAMS)}
    there = {
        path.stem
        for api in ("rerank", "openai.audio.transcriptions")
        for path in (FOLDER / api).glob("*/*.json")
    }

    assert played == there


def test_every_recording_of_the_other_apis_is_played_here():
    """As an answer or as an error; there are no errors among the streams."""
    played = [
        each
        for api in UPSTREAMS
        for each in (*exchanges(api, "stream"), *exchanges(api, "plain", None))
        if each.mode == "plain" or each.status == 200
    ]

    assert len(played) == sum(len([*(FOLDER / api).glob("*/*.json")]) for api in UPSTREAMS)
