"""Embeddings: JSON only."""

import json

import pytest

from antiphon.dialects.embeddings import EMBEDDINGS
from antiphon.recording import Mode, Outcome, State
from antiphon.wire.errors import ClientFault
from recorded import Exchange, exchanges, needs_recordings

PLAIN = exchanges("openai.embeddings", "plain")


def ids(exchange: Exchange) -> str:
    return exchange.id


def judge(body: bytes, *, clean: bool = True) -> Outcome:
    watcher = EMBEDDINGS.watch(Mode.JSON)
    watcher.feed([body])
    return watcher.close(clean=clean)


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=ids)
def test_recorded_answers_are_complete_and_tell_their_usage(exchange: Exchange):
    """Input tokens are the prompt's, or, with Voyage, the total."""
    outcome = judge(exchange.body)
    answer = json.loads(exchange.body)
    usage = answer["usage"]

    assert outcome.state is State.COMPLETED
    assert outcome.usage.input_tokens == usage.get("prompt_tokens", usage["total_tokens"])
    assert outcome.model == answer["model"]


@pytest.mark.parametrize(
    ("body", "clean", "reason"),
    [
        (b'{"error":{"message":"no"}}', True, "upstream_error"),
        (b'{"object":"error","message":"no"}', True, "upstream_error"),
        (b'{"model":"m"}', True, "no_data"),
        (b'{"data":[', True, "invalid_json"),
        (b'{"data":[]}', False, "truncated"),
    ],
)
def test_what_is_no_answer_has_failed(body: bytes, clean: bool, reason: str):
    """Errors, other objects and torn bodies are not embeddings."""
    outcome = judge(body, clean=clean)

    assert (outcome.state, outcome.reason) == (State.FAILED, reason)


def test_streams_are_refused():
    """There is no stream to fold, unfold or break off, and the client hears which parameter asked for one."""
    assert not EMBEDDINGS.streams
    for refused in (
        lambda: EMBEDDINGS.fold([]),
        lambda: EMBEDDINGS.unfold(b"{}", include_usage=False),
        lambda: EMBEDDINGS.break_off("", "", []),
    ):
        with pytest.raises(ClientFault) as caught:
            refused()

        assert caught.value.param == "stream"
        assert caught.value.code == "unsupported_parameter"
