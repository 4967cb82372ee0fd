"""Who gave an answer that nobody expected, and what it says."""

import json

import pytest

from antiphon.dialects.signs import Speaker, message_in, one_line, says_bad_key, speaker_of
from recorded import exchanges, needs_recordings

WHO = {
    "openai.chat": {Speaker.OPENAI, Speaker.OTHER},
    "openai.responses": {Speaker.OPENAI},
    "anthropic.messages": {Speaker.ANTHROPIC, Speaker.OTHER},
    "gemini.generateContent": {Speaker.GEMINI},
    "cohere.chat": {Speaker.OTHER},
}


def refusals(api):
    return [
        (exchange.status, dict(exchange.headers).get("content-type", "").encode(), exchange.body)
        for mode in ("plain", "stream")
        for exchange in exchanges(api, mode, None)
        if exchange.status != 200
    ]


@needs_recordings
@pytest.mark.parametrize("api", WHO)
def test_recorded_errors_tell_who_speaks(api):
    """No error of one provider is taken for another's, and each says something on one short line."""
    told = refusals(api)

    assert told
    assert {speaker_of(content_type, body) for _, content_type, body in told} <= WHO[api]
    for _, content_type, body in told:
        message = message_in(content_type, body)
        assert message
        assert len(message) <= 200
        assert message.isprintable()


@needs_recordings
def test_recorded_errors_of_bad_keys():
    """Gemini's have status 400; nothing else that it refuses is taken for one."""
    told = refusals("gemini.generateContent")

    assert {status for status, _, body in told if says_bad_key(body)} == {400}
    assert any(status == 400 and not says_bad_key(body) for status, _, body in told)


@pytest.mark.parametrize(
    ("content_type", "body", "speaker"),
    [
        (b"text/html; charset=utf-8", b"", Speaker.WEB),
        (b"application/json", b"\xef\xbb\xbf <!DOCTYPE html>", Speaker.WEB),
        (b"application/json", b'{"models": [{"name": "llama3:latest"}]}', Speaker.OLLAMA),
        (b"application/json", b'{"models": [{"name": "models/gemini"}]}', Speaker.GEMINI),
        (b"application/json", b'{"data": []}', Speaker.OPENAI),
        (b"text/plain", b"404 page not found", Speaker.OTHER),
        (b"", b"", Speaker.OTHER),
        (b"", b"[1]", Speaker.OTHER),
    ],
)
def test_who_speaks(content_type, body, speaker):
    """By shape, never by words."""
    assert speaker_of(content_type, body) is speaker


@pytest.mark.parametrize(
    ("content_type", "answer", "said"),
    [
        (b"application/json", {"error": {"message": "a"}}, "a"),
        (b"application/json", {"error": "a"}, "a"),  # xAI, Ollama
        (b"application/json", {"detail": "a"}, "a"),  # Mistral, Voyage
        (b"application/json", {"detail": [{"msg": "a"}]}, "a"),  # FastAPI
        (b"application/json", {"message": "a"}, "a"),  # Cohere
        (b"application/json", {"error": {}}, ""),
        (b"application/json", {"detail": [[[[["deep"]]]]]}, ""),
    ],
)
def test_what_is_said(content_type, answer, said):
    """Errors have over twenty shapes."""
    assert message_in(content_type, json.dumps(answer).encode()) == said


def test_plain_text_is_said_and_other_text_is_not():
    """A web page is none of it."""
    assert message_in(b"text/plain", b"no\r\nroute") == "no route"
    assert message_in(b"text/html", b"<p>no route</p>") == ""


def test_what_a_stranger_wrote_cannot_move_the_cursor():
    """No escape codes, no line ends, no length."""
    assert one_line("a\x1b[2Jb\r\nc\u202e") == "a [2Jb c"
    assert len(one_line("x" * 10_000)) == 200
