"""The JSON in the frames of WebSocket mode."""

import json

import pytest

from antiphon.wire.errors import ClientFault, GatewayError
from antiphon.wire.websocket import error_frame, error_frame_of, read_client_frame, tagged


def test_a_frame_is_read():
    """Its type, its lane, and the members as they stand there."""
    frame = read_client_frame(b'{"type":"response.create","stream_id":"a.b-c_1","input":"x"}')
    assert (frame.type, frame.stream_id, bytes(frame.members["input"])) == (
        "response.create",
        "a.b-c_1",
        b'"x"',
    )


@pytest.mark.parametrize("data", [b"{}", b'{"type":7}', b'{"type":null,"stream_id":null}'])
def test_a_frame_may_say_nothing(data):
    """Who knows types decides about it."""
    frame = read_client_frame(data)
    assert (frame.type, frame.stream_id) == ("", None)


@pytest.mark.parametrize("stream_id", ["", "a b", "é", "x" * 257, 7, ["a"], "a\n"])
def test_a_stream_id_has_a_form(stream_id):
    """Otherwise it could not be put into frames as it is."""
    with pytest.raises(ClientFault) as refused:
        read_client_frame(json.dumps({"stream_id": stream_id}).encode())
    assert (refused.value.code, refused.value.param) == ("invalid_stream_id", "stream_id")


@pytest.mark.parametrize("data", [b"", b"[]", b"nope", b'{"type":"\xff"}'])
def test_what_is_no_object_is_refused(data):
    """With status 400."""
    with pytest.raises(ClientFault) as refused:
        read_client_frame(data)
    assert refused.value.status == 400


@pytest.mark.parametrize("data", [b'{"type":"x","n":1.0}', b'{"type":"x","n":1.0 } \n', b"{}", b"{ }"])
def test_a_lane_is_added_without_writing_the_event_anew(data):
    """What was there is there still."""
    assert json.loads(tagged(data, "lane")) == json.loads(data) | {"stream_id": "lane"}
    assert tagged(data, "lane").startswith(data.rstrip()[:-1].rstrip())
    assert tagged(data, None) is data


def test_a_fault_is_told_with_its_status():
    """And with what the client is to wait."""
    fault = GatewayError("Busy.", code="busy", status=503, headers=((b"retry-after", b"1"),))
    assert json.loads(error_frame(fault, "a")) == {
        "type": "error",
        "status": 503,
        "error": {
            "type": "server_error",
            "code": "busy",
            "message": "Busy.",
            "param": None,
            "headers": {"retry-after": "1"},
        },
        "stream_id": "a",
    }


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, b'{"error":{"message":"No.","code":null,"type":null}}', "invalid_request", "No."),
        (429, b'{"error":{"message":"Slow down.","code":"tokens"}}', "tokens", "Slow down."),
        (404, b'{"message":"Gone.","code":40401}', "40401", "Gone."),
        (503, b'{"error":"Overloaded"}', "server_error", "Overloaded"),
        (502, b"<html>", "server_error", "The answer has status 502."),
        (403, b"[]", "forbidden", "The answer has status 403."),
        (418, b'{"error":7}', "invalid_request_error", "The answer has status 418."),
    ],
)
def test_an_error_of_any_form_gets_a_code(status, body, code, message):
    """A code is a string, and never null."""
    told = json.loads(error_frame_of(status, body))
    assert (told["status"], told["error"]["code"], told["error"]["message"]) == (status, code, message)


def test_half_an_emoji_does_not_stop_an_error():
    """It came from the client."""
    assert json.loads(error_frame(ClientFault("\ud83d")))["error"]["message"] == "\ud83d"
