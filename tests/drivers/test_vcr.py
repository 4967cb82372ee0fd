import gzip
import json
import subprocess
import sys

import pytest
import yaml

import antiphon.cassettes
from antiphon.drivers.vcr import read_vcr
from antiphon.recording import Mode, State
from antiphon.recording.cassette import Exchange, UnreadableCassetteError

URI = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
MESSAGE = {"role": "assistant", "content": "Hello from 2024."}
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 5, "total_tokens": 13},
}
STREAM = "".join(
    f"data: {data}\n\n"
    for data in (
        json.dumps({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}),
        json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        "[DONE]",
    )
)
HEADERS = {"Content-Type": ["application/json"], "x-request-id": ["req_1"], "Set-Cookie": ["secret"]}


def interaction(body=BODY, answer=None, uri=URI, **response):
    answered = {"status": {"code": 200, "message": "OK"}, "headers": HEADERS} | response
    if answer is not None or not {"parsed_body", "content"} & response.keys():
        answered["body"] = {"string": json.dumps(ANSWER)} if answer is None else answer
    request = {"method": "POST", "uri": uri, "headers": {"authorization": ["Bearer sk-x"]}}
    return {
        "request": request | (body if "parsed_body" in body else {"body": json.dumps(body)}),
        "response": answered,
    }


def written(folder, *interactions, as_json=False):
    document = {"interactions": list(interactions), "version": 1}
    path = folder / ("vcr.json" if as_json else "vcr.yaml")
    path.write_text(json.dumps(document) if as_json else yaml.safe_dump(document))
    return path


ZIPPED = HEADERS | {"Content-Encoding": ["gzip"]}


@pytest.mark.parametrize(
    "one",
    [
        interaction(),
        interaction(answer={"string": json.dumps(ANSWER).encode()}),
        interaction(answer={"string": gzip.compress(json.dumps(ANSWER).encode())}, headers=ZIPPED),
        interaction(headers=ZIPPED),
        interaction(answer={"base64_string": "eyJjaG9pY2VzIjpbXX0="}),
        interaction(content=json.dumps(ANSWER), status_code=200),
        interaction({"parsed_body": BODY}, parsed_body=ANSWER),
    ],
    ids=["text", "binary", "gzip", "gzip undone", "base64", "httpx", "parsed"],
)
def test_bodies_are_read_in_every_form(tmp_path, one):
    """As VCR.py and its plugins have written them over the years."""
    (exchange,) = read_vcr(written(tmp_path, one))

    assert (exchange.path, exchange.body, exchange.method) == ("/chat/completions", BODY, "POST")
    assert (exchange.provider_type, exchange.provider_host) == ("openai", "api.openai.com")
    recording = exchange.recording
    assert (recording.dialect, recording.mode, recording.model) == ("chat", Mode.JSON, "gpt-4o-mini")
    assert recording.head.headers == ()
    if one["response"].get("body") != {"base64_string": "eyJjaG9pY2VzIjpbXX0="}:
        assert json.loads(recording.body()) == ANSWER
        assert (recording.outcome.state, recording.outcome.usage.total_tokens) == (State.COMPLETED, 13)


def test_streams_are_cut_into_frames(tmp_path):
    """Each event is one; the JSON serializer's files are read too."""
    events = {"Content-Type": ["text/event-stream; charset=utf-8"]}
    path = written(
        tmp_path, interaction(BODY | {"stream": True}, {"string": STREAM}, headers=events), as_json=True
    )
    (exchange,) = read_vcr(path)

    assert exchange.recording.mode is Mode.STREAM
    assert len(exchange.recording.frames) == 3
    assert exchange.recording.outcome.state is State.COMPLETED


@pytest.mark.parametrize(
    ("uri", "provider", "dialect"),
    [
        ("https://api.anthropic.com/v1/messages?beta=true", "anthropic", "messages"),
        ("https://api.groq.com/openai/v1/chat/completions", "groq", "chat"),
        ("http://localhost:8000/v1/embeddings", "openai-chat", "embeddings"),
        ("http://localhost:8000/v1/responses", "openai", "responses"),
        ("https://x.openai.azure.com/openai/v1/responses", "azure", "responses"),
    ],
)
def test_the_provider_is_known_by_its_address(tmp_path, uri, provider, dialect):
    """So that a replay asks it as it was asked."""
    (exchange,) = read_vcr(written(tmp_path, interaction(uri=uri)))

    assert (exchange.provider_type, exchange.recording.dialect) == (provider, dialect)


def test_what_is_not_asked_through_a_gateway_is_named(tmp_path):
    """Other hosts and other methods."""
    listed = interaction(uri="https://api.openai.com/v1/models")
    listed["request"]["method"] = "GET"
    other, exchange, models = read_vcr(
        written(tmp_path, interaction(uri="https://x.test/log"), interaction(), listed)
    )

    assert (other, models) == ("POST x.test/log", "GET api.openai.com/v1/models")
    assert isinstance(exchange, Exchange)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "neither YAML nor JSON"),
        ("a: 1", "no `interactions`"),
        ("interactions: [{request: {}}]", "interaction 1 cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, text, why):
    """With its name."""
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UnreadableCassetteError, match=why):
        list(read_vcr(path))


def test_an_imported_cassette_plays(tmp_path):
    """The program gets through the gateway what VCR.py had recorded, and no cookie is in the files."""
    path = written(tmp_path, interaction(), interaction(uri="https://api.openai.com/v1/files"))
    command = ("cassette", "import", "vcr", path, "--into", tmp_path / "tape")
    done = subprocess.run(
        (sys.executable, "-m", "antiphon", *map(str, command)), capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "left out POST api.openai.com/v1/files" in done.stderr
    assert "1 imported" in done.stderr
    (file,) = (tmp_path / "tape").iterdir()
    assert "secret" not in file.read_text()
    with antiphon.cassettes.use(tmp_path / "tape", mode="strict") as gateway:
        answer = gateway.openai().chat.completions.create(**BODY)
    assert answer.choices[0].message.content == "Hello from 2024."
