"""Reranking: what may be asked, and which answers are whole."""

import json

import pytest

from antiphon.dialects.rerank import RERANK, read_rerank
from antiphon.recording import Mode, Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.errors import ClientFault
from recorded import Exchange, exchanges, needs_recordings

PLAIN = exchanges("rerank", "plain")
REQUEST = {"model": "m", "query": "Who?", "documents": ["A", {"text": "B"}], "top_n": 1, "stream": True}


def judge(body: bytes, *, clean: bool = True) -> Outcome:
    watcher = RERANK.watch(Mode.JSON)
    watcher.feed([body[:3], body[3:]])
    assert (watcher.ended, watcher.failure, watcher.response_id) == (False, None, None)
    return watcher.close(clean=clean)


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=lambda exchange: exchange.id)
def test_recorded_answers_are_complete(exchange: Exchange):
    """Cohere bills searches, not tokens."""
    outcome = judge(exchange.body)

    assert (outcome.state, outcome.usage) == (State.COMPLETED, NO_USAGE)
    assert outcome.response_id == json.loads(exchange.body)["id"]


@pytest.mark.parametrize(
    ("answer", "usage", "model"),
    [
        (
            {"model": "jina", "usage": {"total_tokens": 15, "prompt_tokens": 15}, "results": []},
            Usage(input_tokens=15, total_tokens=15),
            "jina",
        ),
        (
            {"object": "list", "data": [], "model": "voyage", "usage": {"total_tokens": 26}},
            Usage(input_tokens=26, total_tokens=26),
            "voyage",
        ),
        (
            {"results": [], "meta": {"billed_units": {"input_tokens": 7.0, "output_tokens": 2}}},
            Usage(input_tokens=7, output_tokens=2, total_tokens=9),
            None,
        ),
        (
            {"results": [], "meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 5}}},
            Usage(input_tokens=5, total_tokens=5),
            None,
        ),
        ({"results": [], "meta": {"billed_units": []}, "model": 1}, NO_USAGE, None),
        ({"results": []}, NO_USAGE, None),
    ],
)
def test_each_form_tells_its_usage_in_its_own_place(
    answer: dict[str, object], usage: Usage, model: str | None
):
    """Jina, Voyage, and Cohere where it counts tokens."""
    outcome = judge(json.dumps(answer).encode())

    assert (State.COMPLETED, usage, model) == (outcome.state, outcome.usage, outcome.model)


@pytest.mark.parametrize(
    ("body", "clean", "reason"),
    [
        (b'{"error":{"message":"no"}}', True, "upstream_error"),
        (b'{"object":"error","message":"no"}', True, "upstream_error"),
        (b'{"message":"invalid request"}', True, "no_results"),
        (b'{"results":{}}', True, "no_results"),
        (b'{"results":[', True, "invalid_json"),
        (b"[]", True, "invalid_json"),
        (b'{"results":[]}', False, "truncated"),
    ],
)
def test_what_is_no_ranking_has_failed(body: bytes, clean: bool, reason: str):
    """Errors, other objects and torn bodies."""
    outcome = judge(body, clean=clean)

    assert (outcome.state, outcome.reason) == (State.FAILED, reason)


def test_a_request_is_read_as_it_is():
    """Members that only some upstreams know are theirs to judge, and there is no stream."""
    body = json.dumps(REQUEST).encode()
    request = read_rerank({}, body)

    assert (request.model, request.stream, request.body) == ("m", False, body)


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"query": None}, "invalid_type", "query"),
        ({"query": ""}, "invalid_type", "query"),
        ({"query": ["Who?"]}, "invalid_type", "query"),
        ({"documents": "A"}, "invalid_type", "documents"),
        ({"documents": {"0": "A"}}, "invalid_type", "documents"),
        ({"model": None}, "missing_required_parameter", "model"),
    ],
)
def test_what_nobody_could_rank_is_refused(changes: dict[str, object], code: str, param: str):
    """With the member that is wrong."""
    with pytest.raises(ClientFault) as caught:
        read_rerank({}, json.dumps(REQUEST | changes).encode())

    assert (400, code, param) == (caught.value.status, caught.value.code, caught.value.param)


@pytest.mark.parametrize("name", ["query", "documents"])
def test_a_missing_member_is_named(name: str):
    """Neither can be done without."""
    with pytest.raises(ClientFault) as caught:
        read_rerank({}, json.dumps({key: value for key, value in REQUEST.items() if key != name}).encode())

    assert ("missing_required_parameter", name) == (caught.value.code, caught.value.param)


def test_an_object_may_be_the_query():
    """Jina takes images in it."""
    assert read_rerank({}, json.dumps(REQUEST | {"query": {"image": "x"}}).encode()).model == "m"


def test_streams_are_refused():
    """There is no stream to fold, unfold or break off."""
    assert not RERANK.streams
    for refused in (
        lambda: RERANK.fold([]),
        lambda: RERANK.unfold(b"{}", include_usage=False),
        lambda: RERANK.break_off("", "", []),
    ):
        with pytest.raises(ClientFault) as caught:
            refused()

        assert (caught.value.param, caught.value.code) == ("stream", "unsupported_parameter")
