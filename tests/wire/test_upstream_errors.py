"""What is read out of the errors that upstreams write."""

import json

import pytest

from antiphon.wire.upstream_errors import UpstreamError, read_error
from recorded import FOLDER, Exchange, exchanges, needs_recordings

SHAPES = {
    "OpenAI": (
        {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
        UpstreamError("m", "c", "t", "p"),
    ),
    "Anthropic": (
        {"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "r"},
        UpstreamError("m", None, "t"),
    ),
    "Anthropic with a code": (
        {"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "c"}}},
        UpstreamError("m", "c", "t"),
    ),
    "Gemini": (
        {"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}},
        UpstreamError("m", "NOT_FOUND"),
    ),
    "Gemini in a list": ([{"error": {"code": 404, "message": "m"}}], UpstreamError("m", "404")),
    "xAI": ({"code": "c", "error": "m"}, UpstreamError("m", "c")),
    "Ollama": ({"error": "m"}, UpstreamError("m")),
    "Mistral": ({"detail": "m"}, UpstreamError("m")),
    "FastAPI": (
        {"detail": [{"type": "missing", "loc": ["body", "messages", 0], "msg": "m"}]},
        UpstreamError("m", None, "missing", "messages.0"),
    ),
    "Mistral's own": (
        {"object": "error", "message": {"detail": [{"loc": ["body", "x"], "msg": "m"}]}, "type": "t"},
        UpstreamError("m", None, "t", "x"),
    ),
    "Cohere": ({"id": "1", "message": "m", "error_type": "c"}, UpstreamError("m", "c")),
    "vLLM": (
        {"object": "error", "message": "m", "type": "t", "param": None, "code": 400},
        UpstreamError("m", "400", "t"),
    ),
    "a list of texts": ({"errors": ["m", "n"]}, UpstreamError("m")),
    "no message": ({"error": {"code": 429}}, UpstreamError("", "429")),
    "nothing": ({}, UpstreamError()),
    "no object": ([], UpstreamError()),
    "a blank": ({"message": " ", "error": "m"}, UpstreamError("m")),
}


@pytest.mark.parametrize(("body", "told"), SHAPES.values(), ids=SHAPES)
def test_each_shape_is_understood(body, told):
    """Message, code, type and place are found where this upstream puts them."""
    assert told == read_error(json.dumps(body).encode(), b"application/json")


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"busy\n", b"text/plain; charset=utf-8", "busy"),
        (b"x" * 5000, b"text/plain", "x" * 1000),
        (b"\xff", b"Text/Plain", "\N{REPLACEMENT CHARACTER}"),
        (b"<html>Bad Gateway</html>", b"text/html", ""),
        (b'{"error":{"mess', b"application/json", ""),
        (b"[" * 100_000, b"application/json", ""),
        (b"", b"", ""),
    ],
)
def test_of_what_is_no_json_only_plain_text_is_shown(body, content_type, message):
    """The page of a proxy is of no use to a program."""
    assert UpstreamError(message) == read_error(body, content_type)


def recorded_errors() -> list[Exchange]:
    apis = sorted({path.parents[1].name for path in FOLDER.glob("*/plain/*.json")})
    return [each for api in apis for each in exchanges(api, "plain", None) if each.status >= 400]


@needs_recordings
def test_every_recorded_error_tells_something():
    """Of all errors that were recorded, the message is found."""
    found = recorded_errors()
    types = {each.id: dict(each.headers).get("content-type", "") for each in found}

    assert len(found) > 60
    assert [each.id for each in found if not read_error(each.body, types[each.id].encode()).message] == []
