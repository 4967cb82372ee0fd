"""The reply that makes frames of what the engine writes for HTTP."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.gateway.websocket_turn import TurnReply
from e2e.samples import responses_frames
from gateway.wire import Watcher

SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)
JSON = ((b"content-type", b"application/json"),)


class Ears:
    """A socket, and who hears of a turn."""

    def __init__(self):
        self.congested = False
        self.sent = []
        self.heard = []

    def send(self, text):
        self.sent.append(json.loads(text))

    def on_response(self, turn, response_id, output):
        self.heard.append(("response", response_id, len(output)))

    def on_failed(self, turn):
        self.heard.append("failed")

    def on_over(self, turn):
        self.heard.append("over")

    @property
    def types(self):
        return [event["type"] for event in self.sent]

    @property
    def codes(self):
        return [event["error"]["code"] for event in self.sent]


def turn(**options):
    ears = Ears()
    return ears, TurnReply(ears, ears, options.get("stream_id"))


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_bytes_may_be_cut_anywhere(places):
    """Events come out whole, whatever pieces they came in."""
    whole = b"".join(responses_frames())
    cuts = sorted({place % len(whole) for place in places})
    ears, reply = turn()
    reply.start(200, SSE)
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        reply.write(whole[start:end])
    reply.end()
    assert len(ears.sent) == len(responses_frames())
    assert ears.heard == [("response", "resp_up1", 1), "over"]


def test_a_last_event_without_its_blank_line_counts():
    """As it does over HTTP."""
    ears, reply = turn()
    reply.start(200, SSE)
    reply.write(b"".join(responses_frames()).rstrip())
    reply.end()
    assert ears.types[-1] == "response.completed"


def test_the_name_of_an_event_stands_in_for_its_type():
    """Some upstreams write it only there."""
    ears, reply = turn(stream_id="a")
    reply.start(200, SSE)
    reply.write(b'event: response.output_text.delta\ndata: {"delta":"x"}\n\n')
    assert ears.sent == [{"type": "response.output_text.delta", "delta": "x", "stream_id": "a"}]


def test_nothing_follows_the_last_event():
    """Whatever the upstream goes on to say."""
    ears, reply = turn()
    reply.start(200, SSE)
    for frame in (*responses_frames(), *responses_frames()):
        reply.write(frame)
    reply.end()
    reply.write(b"data: {}\n\n")
    reply.end()
    reply.abort()
    reply.send(500, JSON, b"{}")
    assert len(ears.sent) == len(responses_frames())
    assert ears.heard.count("over") == 1


def test_an_error_event_is_the_end_where_nothing_else_is():
    """Flat or nested, it becomes an error frame; the failed response after it stands for it."""
    flat = b'data: {"type":"error","code":"overloaded","message":"No.","param":null}\n\n'
    failed = b'data: {"type":"response.failed","response":{"id":"r"}}\n\n'
    ears, reply = turn()
    reply.start(200, SSE)
    reply.write(flat)
    assert ears.sent == []
    reply.end()
    assert (ears.codes, ears.heard) == (["overloaded"], ["failed", "over"])
    ears, reply = turn()
    reply.send(200, SSE, flat + failed)
    assert (ears.types, ears.heard) == (["response.failed"], ["failed", "over"])


@pytest.mark.parametrize(
    ("write", "status"),
    [
        (lambda reply: reply.end(), 502),
        (lambda reply: reply.abort(), 500),
        (lambda reply: reply.send(503, JSON, b"{}"), 500),
    ],
    ids=["ended", "aborted", "answered twice"],
)
def test_a_turn_never_ends_in_silence(write, status):
    """Where there was no last event, there is an error."""
    ears, reply = turn()
    reply.start(200, SSE)
    reply.write(responses_frames()[0])
    write(reply)
    assert ears.types == ["response.created", "error"]
    assert ears.sent[-1]["status"] == status
    assert ears.heard == ["failed", "over"]


def test_an_answer_that_is_no_stream_is_an_error():
    """A client that waits for events would wait for ever."""
    ears, reply = turn()
    reply.send(200, JSON, b"{}")
    assert ears.sent[0]["status"] == 502


def test_an_event_beyond_all_bounds_is_an_error(monkeypatch):
    """It ends the turn, once."""
    monkeypatch.setattr("antiphon.gateway.websocket_turn._MOST_FRAME_BYTES", 100)
    ears, reply = turn()
    reply.start(200, SSE)
    reply.write(b"data: " + b"x" * 200)
    reply.write(b"x" * 200)
    reply.end()
    assert ears.types == ["error"]
    assert ears.heard == ["failed", "over"]


def test_a_slow_client_holds_up_its_turn():
    """What was written waits here; when it has been sent the writer goes on, and at the end the turn is over."""
    ears, reply = turn()
    heard = []
    reply.watch(Watcher(heard, 1))
    reply.start(200, SSE)
    ears.congested = True
    first, *others = responses_frames()
    reply.write(first)
    assert (reply.congested, ears.sent) == (True, [])
    ears.congested = False
    assert reply.congested
    reply.writable()
    assert (reply.congested, ears.types, heard) == (False, ["response.created"], [("writable", 1)])
    ears.congested = True
    reply.write(b"".join(others))
    reply.end()
    assert "over" not in ears.heard
    ears.congested = False
    reply.writable()
    assert ears.types[-1] == "response.completed"
    assert (ears.heard[-1], heard[-1]) == ("over", ("sent", 1))


def test_a_client_that_left_is_told_to_the_writer_once():
    """And to nobody else; what is written later goes nowhere."""
    ears, reply = turn()
    heard = []
    reply.watch(Watcher(heard, 1))
    reply.lost()
    reply.lost()
    reply.send(500, JSON, b"{}")
    assert (heard, ears.sent, ears.heard) == ([("gone", 1)], [], [])


def test_what_is_nested_too_deeply_is_passed_on():
    """It is no reason to break the connection."""
    ears, reply = turn()
    ears.send = ears.sent.append
    reply.start(200, SSE)
    deep = b'{"type":"response.completed","response":%b%b}' % (b"[" * 5000, b"]" * 5000)
    reply.write(b"data: %b\n\n" % deep)
    assert ears.sent == [deep]


def test_what_cannot_be_read_is_passed_on():
    """It is the client's to judge; only a response that cannot be read is not remembered."""
    ears, reply = turn()
    reply.start(200, SSE)
    reply.write(b'data: {"type":"response.completed","response":{"id":7}}\n\n')
    reply.end()
    assert ears.types == ["response.completed"]
    assert ears.heard == ["over"]
