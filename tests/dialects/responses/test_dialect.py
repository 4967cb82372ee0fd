"""The Responses dialect: watching, folding, unfolding, breaking off, replaying."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.responses import Response

from antiphon.dialects.native import read_request
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.responses.replay import ECHOED, asked_by, template, under_id
from antiphon.recording.recording import Mode, State
from antiphon.turn.grammar import violations
from antiphon.turn.usage import Usage
from antiphon.wire.sse import DONE, write_frame
from official_library import TERMINALS, accumulate, events_of, first_answer, frames_of
from recorded import exchanges, needs_recordings


def frame(kind, **members):
    return write_frame(json.dumps({"type": kind, **members}).encode(), kind)


def watched(frames, mode=Mode.STREAM, *, clean=True):
    watcher = RESPONSES.watch(mode)
    watcher.feed(frames)
    return watcher.close(clean=clean)


def streams():
    return [pytest.param(exchange, id=exchange.id) for exchange in exchanges("openai.responses", "stream")]


def finished():
    """The recorded JSON answers that are finished responses."""
    return [
        pytest.param(exchange, id=exchange.id)
        for exchange in exchanges("openai.responses", "plain")
        if json.loads(exchange.body).get("status") in ("completed", "incomplete")
    ]


@needs_recordings
@pytest.mark.parametrize("exchange", streams())
def test_recorded_streams_end_as_their_terminal_event_says(exchange):
    """State, reason, id and usage are those of the terminal event, however the frames are grouped."""
    frames = first_answer(exchange.body)
    last = [event for event in events_of(frames) if event.get("type") in TERMINALS]
    outcome = watched(frames)
    if not last:
        assert (outcome.state, outcome.reason) == (State.FAILED, "no_terminal_event")
        return
    told = last[-1]["response"]
    assert outcome.state == State(told.get("status", last[-1]["type"].removeprefix("response.")))
    first = next(event["response"] for event in events_of(frames) if "response" in event)
    assert (outcome.response_id, outcome.model) == (first["id"], told.get("model") or outcome.model)
    usage = told.get("usage") or {}
    assert outcome.usage.input_tokens == usage.get("input_tokens", 0)
    assert outcome.usage.output_tokens == usage.get("output_tokens", 0)
    assert outcome.usage.total_tokens == usage.get("total_tokens", 0)
    one_by_one = RESPONSES.watch(Mode.STREAM)
    for single in frames:
        one_by_one.feed([single])
    assert one_by_one.close(clean=False) == outcome


@needs_recordings
@pytest.mark.parametrize("exchange", streams())
def test_recorded_streams_fold_into_their_terminal_response(exchange):
    """The fold is the slice of the terminal frame; an empty output is made of the finished items."""
    frames = first_answer(exchange.body)
    last = [event for event in events_of(frames) if event.get("type") in TERMINALS]
    if not last:
        with pytest.raises(ValueError, match="terminal"):
            RESPONSES.fold(frames)
        return
    folded = RESPONSES.fold(frames)
    told = last[-1]["response"]
    if told.get("output"):
        assert any(folded in single for single in frames)
    items = [event for event in events_of(frames) if event["type"] == "response.output_item.done"]
    expected = told.get("output") or [
        event["item"] for event in sorted(items, key=lambda item: item["output_index"])
    ]
    assert json.loads(folded) == {
        "status": last[-1]["type"].removeprefix("response."),
        **told,
        "output": expected,
    }


@needs_recordings
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("exchange", streams())
def test_folds_agree_with_the_official_client(exchange):
    """Where the official accumulator takes a stream, its final response is our fold."""
    frames = first_answer(exchange.body)
    events = events_of(frames)
    try:
        final = accumulate(events)._completed_response
    except (RuntimeError, IndexError) as refused:
        pytest.skip(f"the official client refuses this recording: {refused}")
    if final is None:
        assert watched(frames).state is not State.COMPLETED
        return
    ours = construct_type(type_=Response, value=json.loads(RESPONSES.fold(frames)))
    assert final.output_text == ours.output_text
    assert final.usage == ours.usage
    assert [item.type for item in final.output] == [item.type for item in ours.output]


@needs_recordings
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("exchange", finished())
def test_recorded_answers_survive_unfolding_and_folding(exchange):
    """The unfolded stream keeps the grammar, pleases the official client, and folds into the same answer."""
    frames = RESPONSES.unfold(exchange.body)
    events = events_of(frames)
    assert frames[-1] == DONE
    assert violations(events) == []
    assert json.loads(RESPONSES.fold(frames)) == json.loads(exchange.body)
    outcome = watched(frames)
    assert outcome == watched([exchange.body], Mode.JSON)
    identities = [(item["type"], item.get("id")) for item in json.loads(exchange.body)["output"]]
    if len(set(identities)) < len(identities):
        return  # xAI gives one id to several reasoning items: the client refuses its native streams as well
    final = accumulate(events)._completed_response
    if outcome.state is State.COMPLETED:
        assert final is not None
        assert (
            final.output_text == construct_type(type_=Response, value=json.loads(exchange.body)).output_text
        )
    if b"\n" not in exchange.body.strip():
        assert exchange.body.strip() in frames[-2]


@needs_recordings
@pytest.mark.parametrize("exchange", streams())
def test_recorded_streams_are_templates(exchange):
    """Filled with its own id and nothing else a template is the recording; with another, only that differs."""
    frames = first_answer(exchange.body)
    whole = b"".join(frames)
    cut = template(frames, Mode.STREAM)
    assert b"".join(cut.pieces) == whole
    filled = cut.fill(b"resp_new", b"1700000000", {"metadata": b'{"k":"v"}'})
    events = events_of(frames_of(filled))
    carried = [event["response"] for event in events if "response" in event]
    assert {response["id"] for response in carried} == {"resp_new"}
    assert {response["created_at"] for response in carried if "created_at" in response} == {1700000000}
    assert all(response["metadata"] == {"k": "v"} for response in carried if "metadata" in response)
    recorded = (watched(frames).response_id or "").encode()
    live = b"".join(under_id(single, recorded, b"resp_new") for single in frames)
    assert events_of(frames_of(cut.fill(b"resp_new", b"0"))) == [
        {**event, "response": {**event["response"], "created_at": 0}}
        if "created_at" in event.get("response", {})
        else event
        for event in events_of(frames_of(live))
    ]


def test_the_id_is_known_from_the_first_frame_on():
    """The engine replaces ids in every frame: it cannot wait for the end."""
    watcher = RESPONSES.watch(Mode.STREAM)
    assert watcher.response_id is None
    watcher.feed([b": comment\n\n", frame("response.created", response={"id": "resp_1", "model": "m"})])
    assert watcher.response_id == "resp_1"
    assert not watcher.ended
    assert watcher.close(clean=True).model == "m"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("head", [b"", b"event: response.completed%b", b"id: 7%bevent:x%b", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("field", [b"data: ", b"data:"])
def test_a_frame_is_read_in_every_shape_that_sse_allows(line_end, head, field):
    """Line ends, other fields, a missing space or a byte order mark change nothing."""
    head = head.replace(b"%b", line_end)
    data = b'{"type":"response.completed","response":{"id":"r","user":"u"}}'
    single = b"%b%b%b%b%b" % (head, field, data, line_end, line_end)
    assert watched([single]).response_id == "r"
    assert asked_by(single, Mode.STREAM, {"user": b"null"}) == single.replace(b'"u"', b"null")
    assert template([single], Mode.STREAM).fill(b"s", b"0") == single.replace(b'"r"', b'"s"')


@pytest.mark.parametrize(
    ("data", "state", "reason"),
    [
        ('{"response": {"id":"r"}, "type": "response.completed"}', State.COMPLETED, None),
        ('{"type":"response.failed","response":{}}', State.FAILED, "upstream_error"),
        ('{"type":"response.failed","response":{"error":{"code":"c"}}}', State.FAILED, "c"),
        ('{"type":"response.cancelled","response":{}}', State.CANCELLED, None),
        ('{"type":"response.incomplete","response":{}}', State.INCOMPLETE, None),
        (
            '{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}',
            State.INCOMPLETE,
            "content_filter",
        ),
        ('{"type":"response.completed","response":{"status":"failed"}}', State.FAILED, "upstream_error"),
        ('{"type":"response.completed","response":{"status":"odd"}}', State.COMPLETED, None),
        ('{"type":"error","code":"rate_limit_exceeded","message":"m"}', State.FAILED, "rate_limit_exceeded"),
        ('{"type":"error","error":{"code":429}}', State.FAILED, "429"),
        ('{"error":"overloaded"}', State.FAILED, "upstream_error"),
        ('{"type":"response.completed","response":{"id":', State.FAILED, "invalid_json"),
        ('{"type":"response.completed","response":[]}', State.FAILED, "invalid_json"),
        ('{"type":"response.completed"  ,"no":"response"}', State.FAILED, "invalid_json"),
        ('{"type":"response.output_text.delta","delta":"response"', State.FAILED, "invalid_json"),
        ('{"type":"response.output_text.delta","delta":"error"}', State.FAILED, "no_terminal_event"),
        ("[DONE]", State.FAILED, "no_terminal_event"),
    ],
)
def test_terminal_events_decide(data, state, reason):
    """The status of the embedded response, or that of the event's type where it has none; errors fail."""
    outcome = watched([f"data: {data}\n\n".encode(), DONE])
    assert (outcome.state, outcome.reason) == (state, reason)


def test_the_event_field_stands_in_for_a_missing_type():
    """Some upstreams name an event only in its `event:` field."""
    assert watched([b'event: response.completed\r\ndata: {"response":{}}\r\n\r\n']).state is State.COMPLETED
    assert watched([b'event: error\ndata: {"code":"c","message":"m"}\n\n']).reason == "c"
    assert watched([b'event: response.completed\ndata: {"response":\n\n']).reason == "invalid_json"


def test_the_first_verdict_stands():
    """Nothing after a terminal event, or after an error, makes another answer of it."""
    completed = frame("response.completed", response={"id": "r"})
    failed = frame("response.failed", response={"id": "r"})
    assert watched([completed, failed, frame("error", code="c")]).state is State.COMPLETED
    assert watched([frame("error", code="c"), completed]).reason == "c"
    assert watched([b'data: {"type":"response.created","response":{\n\n', completed]).reason == "invalid_json"


def test_usage_is_read_with_its_details():
    """Cached, cache-written and reasoning tokens are counted; what is no number is none."""
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2, "audio_tokens": "many"},
    }
    outcome = watched([frame("response.completed", response={"usage": usage})])
    assert outcome.usage == Usage(10, 5, 15, 4, 3, 2)
    assert watched([frame("response.completed", response={"usage": [1]})]).usage == Usage()


@pytest.mark.parametrize(
    ("body", "state", "reason"),
    [
        ({"object": "response", "status": "completed"}, State.COMPLETED, None),
        ({"object": "response"}, State.COMPLETED, None),
        ({"object": "response", "error": {"code": "c"}}, State.FAILED, "c"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            State.INCOMPLETE,
            "max_output_tokens",
        ),
        ({"object": "response", "status": "queued"}, State.FAILED, "not_terminal"),
        ({"object": "response", "status": "complete"}, State.FAILED, "not_a_response"),
        ({"object": "chat.completion"}, State.FAILED, "not_a_response"),
        ({"error": "no", "status": "completed"}, State.FAILED, "upstream_error"),
        ({"object": "response", "status": "cancelled"}, State.CANCELLED, None),
        ([], State.FAILED, "invalid_json"),
    ],
)
def test_the_status_of_a_json_answer_decides(body, state, reason):
    """What is not a finished response is never completed."""
    outcome = watched([json.dumps(body).encode()], Mode.JSON)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_the_id_of_another_object_is_not_the_responses():
    """An upstream that answers with a chat completion is passed on as it is: there is no id to replace."""
    watcher = RESPONSES.watch(Mode.JSON)
    watcher.feed([b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'])
    assert watcher.response_id is None
    assert watcher.close(clean=True).response_id is None


def test_a_truncated_json_answer_has_failed():
    """Half a body is no answer, and neither is none."""
    watcher = RESPONSES.watch(Mode.JSON)
    watcher.feed([b'{"id":"r","object":"response","status":"completed"'])
    assert not watcher.ended
    assert watcher.close(clean=False).reason == "invalid_json"
    assert RESPONSES.watch(Mode.JSON).close(clean=True).state is State.FAILED


@pytest.mark.parametrize("output", [{}, {"output": None}, {"output": []}])
def test_a_fold_without_output_takes_the_streamed_items(output):
    """An upstream may leave the output out at the end: the finished items are the answer, in index order."""
    frames = [
        frame("response.output_item.done", output_index=1, item={"id": "b"}),
        frame("response.output_item.done", output_index=0, item={"id": "a", "n": 1.0}),
        b'data: {"type":"response.output_item.done" broken\n\n',
        frame("response.completed", response={"id": "r", **output}),
    ]
    folded = RESPONSES.fold(frames)
    assert json.loads(folded) == {
        "id": "r",
        "status": "completed",
        "output": [{"id": "a", "n": 1.0}, {"id": "b"}],
    }
    assert json.loads(RESPONSES.fold(frames[-1:]))["output"] == []


def test_a_fold_keeps_numbers_and_spaces():
    """The response is sliced out of its frame, not written again."""
    response = b'{ "id": "r", "status": "completed", "output": [{"x": 1.50}], "n": 1e2, "s": "\\u00e9" }'
    frames = [b'data: {"type": "response.completed", "response": %b}\n\n' % response]
    assert RESPONSES.fold(frames) == response


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"status":"in_progress"}'])
def test_only_finished_responses_unfold(body):
    """Everything else is refused as a value that is wrong."""
    with pytest.raises(ValueError):
        RESPONSES.unfold(body)


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
        max_size=4,
    ),
    st.booleans(),
)
def test_unknown_members_survive_unfolding_and_folding(extra, pretty):
    """fold(unfold(x)) is x, with unknown members at every level and in any layout."""
    item = {
        **extra,
        "id": "m",
        "type": "message",
        "status": "completed",
        "content": [{**extra, "type": "output_text", "text": "Hi"}],
    }
    answer = {**extra, "id": "r", "object": "response", "status": "completed", "output": [item]}
    frames = RESPONSES.unfold(json.dumps(answer, indent=2 if pretty else None).encode())
    assert json.loads(RESPONSES.fold(frames)) == answer
    assert violations(events_of(frames)) == []


BEGUN = {"id": "resp_1", "status": "in_progress", "output": [], "usage": None, "model": "m"}
CALL = {
    "id": "f",
    "type": "function_call",
    "call_id": "c",
    "name": "n",
    "arguments": "",
    "status": "in_progress",
}


def begun(*events):
    told = [("response.created", {"response": BEGUN}), ("response.in_progress", {"response": BEGUN}), *events]
    return [frame(kind, sequence_number=number, **members) for number, (kind, members) in enumerate(told)]


ITEM_EVENTS = [
    ("response.output_item.added", {"output_index": 0, "item": CALL}),
    ("response.function_call_arguments.done", {"item_id": "f", "output_index": 0, "arguments": ""}),
    ("response.output_item.done", {"output_index": 0, "item": CALL}),
    ("response.output_item.added", {"output_index": 1, "item": {**CALL, "id": "g"}}),
]


@pytest.mark.parametrize("count", range(len(ITEM_EVENTS) + 1))
def test_a_broken_stream_ends_with_error_and_failed(count):
    """Wherever it breaks: the grammar holds, what there is so far is kept, and nothing says completed."""
    seen = begun(*ITEM_EVENTS[:count])
    ending = RESPONSES.break_off("the upstream left", "upstream_closed", seen)
    events = events_of([*seen, *ending])
    assert violations(events) == []
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["code"] == events[-2]["code"] == "upstream_closed"
    failed = events[-1]["response"]
    assert (failed["id"], failed["model"], failed["status"]) == ("resp_1", "m", "failed")
    assert failed["error"] == {"code": "upstream_closed", "message": "the upstream left"}
    assert failed["output"] == [CALL, {**CALL, "id": "g"}][: {0: 0, 4: 2}.get(count, 1)]
    assert ending[-1] == DONE
    assert watched([*seen, *ending]).state is State.FAILED


def test_breaking_off_before_anything_was_said_makes_a_response():
    """Clients need `response.created` first; its id is the caller's to put in."""
    ending = RESPONSES.break_off("m", "c", [])
    events = events_of(ending)
    assert violations(events) == []
    assert [event["type"] for event in events] == ["response.created", "error", "response.failed"]
    named = [asked_by(single, Mode.STREAM, {"id": b'"resp_x"'}) for single in ending]
    assert {event["response"]["id"] for event in events_of(named) if "response" in event} == {"resp_x"}


def test_an_error_of_the_upstream_is_not_told_twice():
    """Only `response.failed` was missing; it says what the upstream said."""
    seen = begun(("error", {"message": "quota", "code": "insufficient_quota"}))
    events = events_of([*seen, *RESPONSES.break_off("m", "c", seen)])
    assert violations(events) == []
    assert events[-1]["response"]["error"] == {"code": "insufficient_quota", "message": "quota"}


def test_a_stream_that_ended_is_not_broken_off():
    """There are no two terminal events."""
    assert RESPONSES.break_off("m", "c", [frame("response.completed", response=BEGUN)]) == []


def test_events_are_counted_where_the_upstream_numbers_none():
    """Old upstreams have no sequence numbers: ours start after what was sent."""
    seen = [frame("response.created", response=BEGUN), frame("response.in_progress", response=BEGUN)]
    assert events_of(RESPONSES.break_off("m", "c", seen))[0]["sequence_number"] == 2


def test_a_replay_echoes_the_request_that_asks():
    """Members that only echo are those of the asking request; null means the default."""
    body = b'{"model": "m", "metadata": {"a":\n "b"}, "store": false, "user": null, "input": "x"}'
    asked = {**ECHOED, **read_request("responses", body).echo}
    assert asked == {**ECHOED, "metadata": b'{"a":"b"}', "store": b"false"}
    body = b'{ "metadata": null, "store": true, "output": [{"metadata": 1}], "service_tier": "flex" }'
    expected = (
        b'{ "metadata": {"a":"b"}, "store": false, "output": [{"metadata": 1}], "service_tier": "flex" }'
    )
    assert asked_by(body, Mode.JSON, asked) == expected


def test_only_frames_with_a_response_echo():
    """Other frames are handed back as they are, whatever they contain."""
    delta = frame("response.output_text.delta", delta='"metadata":', metadata=1)
    assert asked_by(delta, Mode.STREAM, ECHOED) is delta
    lifecycle = b'event: e\r\ndata: {"metadata":1,"response":{"metadata":{"a":1}}}\r\n\r\n'
    assert asked_by(lifecycle, Mode.STREAM, ECHOED) == lifecycle.replace(b'{"a":1}', b"{}")
    split = b'data: {"response":\ndata: {"user":"u"}}\n\n'
    assert events_of([asked_by(split, Mode.STREAM, ECHOED)]) == [{"response": {"user": None}}]
    comment = b': "response"\n\n'
    assert asked_by(comment, Mode.STREAM, ECHOED) is comment


def test_a_template_of_a_body_replaces_id_and_time():
    """In JSON mode the members stand at the top; the id is replaced only where it is a whole string."""
    body = (
        b'{"id":"resp_1","created_at": 17.5,"output":[{"id":"msg_resp_1","created_at":1}],"again":"resp_1"}'
    )
    assert template([body], Mode.JSON).fill(b"resp_2", b"99") == (
        b'{"id":"resp_2","created_at": 99,"output":[{"id":"msg_resp_1","created_at":1}],"again":"resp_2"}'
    )


def test_an_id_that_changes_on_the_way_is_replaced_each_time():
    """GitHub Copilot gives each event another id: a client sees one."""
    frames = [
        frame("response.created", response={"id": "a"}),
        frame("response.completed", response={"id": "b"}),
    ]
    told = [
        event["response"]["id"] for event in events_of([under_id(single, b"a", b"c") for single in frames])
    ]
    assert told == ["c", "c"]
    assert events_of(frames_of(template(frames, Mode.STREAM).fill(b"c", b"0")))[1]["response"]["id"] == "c"


def test_an_id_inside_replaced_metadata_goes_with_it():
    """Slots do not overlap: the metadata of the first request is no part of the answer to the second."""
    body = b'{"metadata":{"of":"resp_1"},"id":"resp_1"}'
    cut = template([body], Mode.JSON)
    assert cut.fill(b"resp_2", b"0", {"metadata": b"{}"}) == b'{"metadata":{},"id":"resp_2"}'


def test_a_template_of_one_frame_takes_the_id_from_outside():
    """Paced replays fill each frame by itself."""
    delta = b'data: {"type":"x","response_id":"resp_1"}\n\n'
    assert template([delta], Mode.STREAM, "resp_1").fill(b"resp_2", b"0") == delta.replace(
        b"resp_1", b"resp_2"
    )
    nameless = b'{"id":null,"created_at":1}'
    assert template([nameless], Mode.JSON).fill(b"resp_2", b"2") == b'{"id":null,"created_at":2}'
