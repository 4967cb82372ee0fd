"""The table of probes: what is asked, and how answers and lists are read, those of real providers among them."""

import json

import pytest

from antiphon.dialects.probe_models import Listed, guesses, is_listed, near
from antiphon.dialects.probes import PROBES, other_base_urls
from antiphon.recording import State
from recorded import exchanges, needs_recordings

RECORDED = {
    "openai": "openai.responses",
    "openai-chat": "openai.chat",
    "anthropic": "anthropic.messages",
    "gemini": "gemini.generateContent",
    "ollama": "ollama.chat",
}
ENDED = {State.COMPLETED, State.INCOMPLETE}


def read(kind, body, *, clean=True, step=0):
    """Read a stream as the first question of a type does; `step` is how many bytes come at a time."""
    reading = PROBES[kind].ask("m", True)[0].reading()
    step = step or len(body) or 1
    for index in range(0, len(body), step):
        reading.feed(body[index : index + step], float(index))
    return reading, reading.close(float(len(body)), clean=clean)


def is_cut_in_the_recording(exchange):
    """Streams that tell an error, or that are no events: Gemini's without `alt=sse` are one JSON array."""
    return "stream-error" in exchange.kinds or b"error:" in exchange.body or exchange.body.startswith(b"[")


@needs_recordings
@pytest.mark.parametrize("kind", RECORDED)
def test_recorded_streams_are_seen_to_end(kind):
    """Whole streams of real providers are whole, have text or a reason to have none, and count tokens or do not."""
    seen = [read(kind, exchange.body) for exchange in whole(kind)]

    assert seen
    assert [outcome for _, outcome in seen if outcome.state not in ENDED] == []
    assert sum(reading.first_text_at is not None for reading, _ in seen) > 0.9 * len(seen)
    assert sum(outcome.usage.total_tokens > 0 for _, outcome in seen) > 0.8 * len(seen)


def test_text_completions_are_seen_to_end():
    """With usage at the end, or refused once and then asked without."""
    asked, bare = PROBES["openai-completions"].ask("m", True)
    (only,) = PROBES["openai-completions"].ask("m", False)
    chunks = [
        {"choices": [{"index": 0, "text": "ready", "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}},
    ]
    body = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
    reading, outcome = read("openai-completions", body)

    assert (outcome.state, outcome.usage.total_tokens) == (State.COMPLETED, 10)
    assert reading.first_text_at is not None
    assert b"stream_options" in asked.body
    assert bare.body == only.body
    assert "prompt" in json.loads(only.body)


def test_mistral_is_not_asked_for_usage():
    """It would refuse that, and tells it unasked."""
    assert not any(b"stream_options" in each.body for each in PROBES["mistral"].ask("m", True))


def whole(kind):
    return [each for each in exchanges(RECORDED[kind], "stream") if not is_cut_in_the_recording(each)]


@needs_recordings
@pytest.mark.parametrize("kind", ["anthropic", "gemini", "ollama"])
def test_a_recorded_stream_that_is_cut_is_not_whole(kind):
    """Without what ends it, a stream has failed, however its body ended; split anywhere, it reads the same."""
    for exchange in whole(kind)[:5]:
        shorter = exchange.body[: len(exchange.body) // 3]
        _, outcome = read(kind, shorter, clean=False)
        assert outcome.state is State.FAILED
        assert read(kind, exchange.body, step=7)[1] == read(kind, exchange.body)[1]


@needs_recordings
def test_recorded_lists_of_models_are_read():
    """Each has a model that may be asked."""
    for exchange in exchanges("openai.models", "plain"):
        listed = PROBES["openai"].read_models(exchange.body)
        assert len(listed) >= 10
        assert guesses(listed)


@pytest.mark.parametrize(
    ("kind", "body", "names"),
    [
        ("openai", {"data": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ("openai-chat", [{"id": "a", "type": "chat"}], ["a"]),  # Together
        ("anthropic", {"data": [{"type": "model", "id": "claude"}], "has_more": False}, ["claude"]),
        ("gemini", {"models": [{"name": "models/gemini-2.5-flash"}]}, ["gemini-2.5-flash"]),
        ("ollama", {"models": [{"name": "llama3:latest", "model": "llama3:latest"}]}, ["llama3:latest"]),
        ("openai", {"data": []}, []),
    ],
)
def test_lists_are_read(kind, body, names):
    """In the form of each dialect."""
    assert [model.name for model in PROBES[kind].read_models(json.dumps(body).encode())] == names


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"data": 3}', b'{"models": {}}', b"[3]", b'"a"', b"null"]
)
def test_what_is_no_list_is_refused(kind, body):
    """ValueError, whatever it is."""
    with pytest.raises(ValueError):
        PROBES[kind].read_models(body)


def test_names_that_no_model_has_are_passed_over():
    """A list is a stranger's: nothing of it moves a terminal's cursor, or fills the screen."""
    body = {"data": [{"id": "good"}, {"id": "bad\x1b[2J"}, {"id": "x" * 201}, {"id": ""}, {"id": 3}]}

    assert [model.name for model in PROBES["openai"].read_models(json.dumps(body).encode())] == ["good"]


def test_lists_of_gemini_and_ollama_are_told_apart():
    """Both have `models`."""
    with pytest.raises(ValueError):
        PROBES["gemini"].read_models(b'{"models": [{"name": "llama3:latest"}]}')


def test_models_that_answer_no_chats_are_not_guessed():
    """Small ones come first: they cost least."""
    listed = [
        Listed("gpt-5.2-pro"),
        Listed("text-embedding-3-small"),
        Listed("gpt-4o-mini-transcribe"),
        Listed("odd", may_chat=False),
        Listed("gpt-5-nano"),
        Listed("gpt-5.2"),
    ]

    assert guesses(listed) == ["gpt-5-nano", "gpt-5.2-pro", "gpt-5.2"]
    assert guesses(listed, most=1) == ["gpt-5-nano"]


@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("llama3", True),
        ("llama3:latest", True),
        ("llama3:8b", False),
        ("gemini-x", True),
        ("models/gemini-x", True),
    ],
)
def test_names_are_compared_as_providers_do(model, there):
    """Ollama's `:latest` and Gemini's `models/` may be left out."""
    assert is_listed(model, ["llama3:latest", "gemini-x"]) is there


def test_near_names():
    """At most three, the nearest first."""
    assert near("gpt-5.2-mini", ["gpt-5-mini", "claude", "gpt-5.2"])[0] in {"gpt-5-mini", "gpt-5.2"}


@pytest.mark.parametrize(
    ("base_url", "suffix", "first"),
    [
        ("http://h:1", "/v1", "http://h:1/v1"),
        ("http://h:1/v1/v1", "/v1", "http://h:1/v1"),
        ("http://h:1/v1/chat/completions", "/v1", "http://h:1/v1"),
        ("http://h:1/v1beta/models", "/v1beta", "http://h:1/v1beta"),
        ("http://h:1/api/chat", "", "http://h:1"),
        ("http://h:1/openai", "/v1", "http://h:1/openai/v1"),
        ("http://h:1/v1", "/v1", "http://h:1"),
    ],
)
def test_other_base_urls(base_url, suffix, first):
    """The likeliest comes first, and what was configured is not among them."""
    others = other_base_urls(base_url, suffix)

    assert others[0] == first
    assert base_url not in others
    assert len(others) == len(set(others)) <= 5


@pytest.mark.parametrize("kind", PROBES)
def test_every_question_is_small_and_streamed(kind):
    """It costs next to nothing."""
    for question in PROBES[kind].ask("m/x", True):
        body = json.loads(question.body)
        limits = {"max_tokens", "max_completion_tokens", "max_output_tokens"} & set(body)
        nested = body.get("generationConfig", {}).get("maxOutputTokens") or body.get("options", {}).get(
            "num_predict"
        )
        assert [body[name] for name in limits] + [nested] in ([16, None], [16])
        assert body.get("stream") is True or "streamGenerateContent?alt=sse" in question.path
        assert len(question.body) < 300


def test_a_line_that_never_ends_is_refused():
    """What is held is bounded."""
    _, outcome = read("ollama", b'{"message": "' + b"x" * 2_000_000, step=65536)

    assert (outcome.state, outcome.reason) == (State.FAILED, "frame_too_large")


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("ollama", b'{"error": "no such model"}\n', "upstream_error"),
        ("ollama", b"nonsense\n", "invalid_json"),
        (
            "anthropic",
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
            "upstream_error",
        ),
        (
            "anthropic",
            b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n',
            "no_terminal_event",
        ),
        (
            "gemini",
            b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n',
            "no_terminal_event",
        ),
    ],
)
def test_broken_streams_have_a_reason(kind, body, reason):
    """Errors inside, what is not JSON, and ends that are none."""
    _, outcome = read(kind, body)

    assert (outcome.state, outcome.reason) == (State.FAILED, reason)
