"""Forms as requests: what counts for the key, what goes on to the upstream, and what is refused."""

import hashlib
import json

import pytest

from antiphon.cache.key import Circumstance, cache_key
from antiphon.dialects.forms import FormRequest, described, read_transcription
from antiphon.wire.errors import ClientFault
from antiphon.wire.multipart import read_form
from forms import BOUNDARY, content_type, form

AUDIO = ("speech.mp3", b"ID3\r\n\x00\xff", "audio/mpeg")
PLAIN = [("model", "up/whisper"), ("file", AUDIO)]
HERE = Circumstance("transcriptions", "/audio/transcriptions", "up/whisper", "", "", "")


def read(*fields, boundary=BOUNDARY):
    return read_transcription({b"content-type": content_type(boundary).encode()}, form(fields, boundary))


def sent(request: FormRequest, model: str = "whisper") -> bytes:
    return request.upstream_body(model, keep_state=True, ask_usage=True)


def identity(request: FormRequest) -> bytes:
    return cache_key(HERE, request.members, own_cache=request.cache_member is not None).identity


# ------------------------------------------------------------------------------------------- what is read


def test_a_form_has_the_members_of_json():
    """Texts as texts, repeated ones as lists, and the file as its digest."""
    request = read(*PLAIN, ("temperature", "0.0"), ("include[]", "a"), ("include[]", "b"))
    members = {name: json.loads(bytes(value)) for name, value in request.members.items()}
    digest = hashlib.sha256(AUDIO[1]).hexdigest()

    assert members == {
        "model": "up/whisper",
        "file": {"format": "mp3", "sha256": digest, "size": 7},
        "temperature": "0.0",
        "include[]": ["a", "b"],
    }
    assert (request.model, request.stream, request.cache_member) == ("up/whisper", False, None)


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("true", True),
        ("True", True),
        ("1", True),
        ("false", False),
        ("False", False),
        ("0", False),
        ("", False),
    ],
)
def test_a_stream_is_asked_for_in_words(text, stream):
    """Each library has its own way to write a boolean."""
    assert read(*PLAIN, ("stream", text)).stream is stream


@pytest.mark.parametrize(
    ("response_format", "stream", "is_apart"),
    [
        ("json", True, False),
        ("verbose_json", True, False),
        ("diarized_json", True, False),
        ("text", True, True),
        ("srt", False, False),
        ("vtt", False, False),
    ],
)
def test_subtitles_are_never_streamed_and_a_text_is_no_fold(response_format, stream, is_apart):
    """Whoever asks for a stream of subtitles gets them whole, as from the upstream."""
    request = read(*PLAIN, ("stream", "true"), ("response_format", response_format))

    assert (stream, is_apart, True) == (request.stream, request.is_apart, request.takes_text)


@pytest.mark.parametrize("name", ["url", "file_url", "file_id"])
def test_what_is_to_be_transcribed_may_lie_elsewhere(name):
    """Groq and Mistral take an address or an id in place of a file."""
    assert read(("model", "m"), (name, "https://example.org/a.mp3")).model == "m"


# ------------------------------------------------------------------------------------------- what counts


SAME = {
    "another boundary": read(*PLAIN, boundary="x"),
    "another order": read(*reversed(PLAIN)),
    "another name": read(PLAIN[0], ("file", ("other.MP3", *AUDIO[1:]))),
    "another type": read(PLAIN[0], ("file", (*AUDIO[:2], "application/octet-stream"))),
    "a stream": read(*PLAIN, ("stream", "true")),
    "a user": read(*PLAIN, ("user", "me")),
    "controls": read(*PLAIN, ("cache[ttl]", "60"), ("nomyo[cache]", "true")),
}
OTHER = {
    "another file": read(PLAIN[0], ("file", ("speech.mp3", b"ID3\n\x00\xff", "audio/mpeg"))),
    "another format": read(PLAIN[0], ("file", ("speech.wav", *AUDIO[1:]))),
    "two files": read(*PLAIN, ("file", AUDIO)),
    "another model": read(("model", "up/other"), PLAIN[1]),
    "a response format": read(*PLAIN, ("response_format", "json")),
    "a language": read(*PLAIN, ("language", "de")),
    "a list of one": read(*PLAIN, ("timestamp_granularities[]", "word")),
    "a cache that is not ours": read(*PLAIN, ("cache", "yes")),
    "the file as a text": read(PLAIN[0], ("file_id", AUDIO[1].decode("latin-1"))),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_change_the_answer_does_not_count(what):
    """Nothing of the framing, and nothing that JSON leaves out either."""
    assert identity(read(*PLAIN)) == identity(SAME[what])


@pytest.mark.parametrize("what", OTHER)
def test_everything_else_counts(what):
    """Two files never share an entry, nor do two formats of one."""
    assert identity(read(*PLAIN)) != identity(OTHER[what])


def test_without_an_end_the_type_tells_the_format():
    """A name without an end says nothing, and a file without a name is one all the same."""
    named = read_form(content_type().encode(), form([("file", ("speech", b"a", "Audio/WAV"))])).parts
    nameless = read_form(content_type().encode(), form([("file", "a")])).parts
    binary = read_form(content_type().encode(), form([("other", ("a.b", b"\xff"))])).parts

    assert described(named)["file"]["format"] == "audio/wav"
    assert described(nameless)["file"] == described(named)["file"] | {"format": ""}
    assert described(binary)["other"]["format"] == "b"


def test_a_text_that_is_none_counts_by_its_digest():
    """Bytes that are not UTF-8 have no other form in JSON."""
    body = form([*PLAIN, ("prompt", "PROMPT")]).replace(b"PROMPT", b"\xff\xfe")
    request = read_transcription({b"content-type": content_type().encode()}, body)

    assert json.loads(bytes(request.members["prompt"])) == {
        "format": "",
        "sha256": hashlib.sha256(b"\xff\xfe").hexdigest(),
        "size": 2,
    }


def test_the_file_is_not_in_the_identity():
    """A digest stands for it, however large it is."""
    request = read(PLAIN[0], ("file", ("a.mp3", b"\x00" * 1_000_000)))

    assert len(identity(request)) < 300


# ------------------------------------------------------------------------------------------- what goes on


def test_only_the_model_is_rewritten():
    """All other parts stay as they came, in their order, between the same boundary."""
    fields = [("prompt", "up/whisper"), ("model", "up/whisper"), ("file", AUDIO), ("stream", "true")]
    expected = form([("prompt", "up/whisper"), ("model", "whisper"), ("file", AUDIO), ("stream", "true")])

    assert expected == sent(read(*fields))


def test_what_needs_no_change_is_passed_as_it_is():
    """Preamble, epilogue and all."""
    body = b"\r\n" + form([("model", "whisper"), ("file", AUDIO)]) + b"epilogue"
    request = read_transcription({b"content-type": content_type().encode()}, body)

    assert body is sent(request)


def test_our_own_controls_are_taken_out():
    """In both spellings; a `cache` that is not ours passes on."""
    controls = [
        ("cache", '{"ttl": 60}'),
        ("cache[namespace]", "60"),
        ("cache[no-cache]", "True"),
        ("nomyo[cache]", "true"),
    ]
    request = read(*PLAIN, *controls)

    assert request.cache_member == {"ttl": 60, "namespace": "60", "no-cache": True}
    assert request.opted_in
    assert form([("model", "whisper"), ("file", AUDIO)]) == sent(request)
    foreign = read(*PLAIN, ("cache", "yes"))
    assert foreign.cache_member is None
    assert form([("model", "whisper"), ("file", AUDIO), ("cache", "yes")]) == sent(foreign)


def test_the_upstream_is_told_the_boundary():
    """And that it may answer with text, unless a stream was asked for."""
    typed = (b"content-type", content_type().encode())

    assert (typed, (b"accept", b"*/*")) == read(*PLAIN).upstream_headers
    assert (typed,) == read(*PLAIN, ("stream", "1")).upstream_headers


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ([("file", AUDIO)], "missing_required_parameter", "model"),
        ([("model", ""), ("file", AUDIO)], "missing_required_parameter", "model"),
        ([("model", "a"), ("model", "b"), ("file", AUDIO)], "invalid_type", "model"),
        ([("model", ("a", b"b")), ("file", AUDIO)], "invalid_type", "model"),
        ([("model", "up/--x\r\nContent-Disposition: y"), ("file", AUDIO)], "invalid_value", "model"),
        ([("model", "m")], "missing_required_parameter", "file"),
        ([("model", "m"), ("url", "")], "missing_required_parameter", "file"),
        ([*PLAIN, ("stream", "yes")], "invalid_type", "stream"),
        ([*PLAIN, ("stream", "true"), ("stream", "true")], "invalid_type", "stream"),
        (
            [*PLAIN, ("response_format", "srt"), ("response_format", "json")],
            "invalid_type",
            "response_format",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused(fields, code, param):
    """With the field that is wrong or missing."""
    with pytest.raises(ClientFault) as caught:
        read(*fields)

    assert (400, code, param) == (caught.value.status, caught.value.code, caught.value.param)
