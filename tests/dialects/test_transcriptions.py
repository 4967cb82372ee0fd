"""Transcriptions: watched in every form, and streams and JSON made from each other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.transcriptions import TRANSCRIPTIONS, is_text, watch_text
from antiphon.recording import Mode, Outcome, State
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.sse import DONE
from official_library import events_of, frames_of
from recorded import Exchange, exchanges, needs_recordings

PLAIN = exchanges("openai.audio.transcriptions", "plain")
STREAMS = exchanges("openai.audio.transcriptions", "stream")
NO_ANSWERS = {"groq-openai-audio-transcriptions-p-04705100ac": "the recorder has put it into JSON of its own"}
USAGE = {
    "type": "tokens",
    "input_tokens": 37,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 37},
    "output_tokens": 5,
    "total_tokens": 42,
}


def frame(event: Any, end: bytes = b"\n\n", kind: str = "") -> bytes:
    named = b"event: %b\n" % kind.encode() if kind else b""
    return named + b"data: " + json.dumps(event).encode() + end


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text, **more}


def done(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, **more}


def segment(text: str) -> dict[str, Any]:
    return {
        "type": "transcript.text.segment",
        "text": text,
        "speaker": "A",
        "start": 0.0,
        "end": 1.5,
        "id": "s",
    }


def chunk(text: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]
    return {
        "id": "trsc-1",
        "object": "transcription.chunk",
        "created": 1,
        "model": "w",
        "choices": choices,
        **more,
    }


def streamed(frames: list[bytes], *, clean: bool = True) -> Outcome:
    watcher = TRANSCRIPTIONS.watch(Mode.STREAM)
    watcher.feed(frames)
    return watcher.close(clean=clean)


def whole(body: bytes, *, clean: bool = True) -> Outcome:
    watcher = TRANSCRIPTIONS.watch(Mode.JSON)
    watcher.feed([body])
    return watcher.close(clean=clean)


# ------------------------------------------------------------------------------------------- watching


@needs_recordings
@pytest.mark.parametrize("exchange", PLAIN, ids=lambda exchange: exchange.id)
def test_recorded_answers_are_complete_and_tell_their_tokens(exchange: Exchange):
    """In each of the three ways to name them; what is billed by the second has none."""
    outcome = whole(exchange.body)
    usage = json.loads(exchange.body).get("usage", {})
    tokens = (
        usage.get("input_tokens", usage.get("prompt_tokens", 0)),
        usage.get("output_tokens", usage.get("completion_tokens", 0)),
        usage.get("total_tokens", 0),
    )

    assert (outcome.state is State.COMPLETED) is (exchange.id not in NO_ANSWERS)
    assert tokens == (outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.usage.total_tokens)
    assert outcome.model == json.loads(exchange.body).get("model")


@needs_recordings
@pytest.mark.parametrize("exchange", STREAMS, ids=lambda exchange: exchange.id)
def test_recorded_streams_are_whole_at_their_terminal_event(exchange: Exchange):
    """With the last frames left out one by one."""
    frames = frames_of(exchange.body)
    ends = [streamed(frames[:count]) for count in range(len(frames) + 1)]

    assert [outcome.state for outcome in ends] == [
        State.FAILED,
        State.FAILED,
        State.COMPLETED,
        State.COMPLETED,
    ]
    assert ends[-1].usage == Usage(37, 145, 182, audio_input_tokens=37)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    ("frames", "state", "reason"),
    [
        ([frame(delta("a")), frame(done("a"))], State.COMPLETED, None),
        ([b": ping\n\n", frame(done("a"), b"\r\n\r\n"), DONE], State.COMPLETED, None),
        ([frame(done("a")), frame({"error": {"message": "late"}})], State.COMPLETED, None),
        (
            [frame({"type": "transcription.done", "text": "a"}, kind="transcription.done")],
            State.COMPLETED,
            None,
        ),
        ([frame(delta("a"))], State.FAILED, "no_terminal_event"),
        ([frame(delta("a")), DONE], State.FAILED, "no_terminal_event"),
        ([], State.FAILED, "no_terminal_event"),
        ([frame({"error": {"message": "no"}}), frame(done("a"))], State.FAILED, "upstream_error"),
        ([frame({"type": "error", "message": "no"})], State.FAILED, "upstream_error"),
        ([frame({"message": "no"}, kind="error")], State.FAILED, "upstream_error"),
        ([b"data: {\n\n", frame(done("a"))], State.FAILED, "invalid_json"),
        ([frame(chunk("a")), frame(chunk("", "stop")), DONE], State.COMPLETED, None),
        ([frame(chunk("a")), frame(chunk("", "length")), DONE], State.INCOMPLETE, "max_output_tokens"),
        ([frame(chunk("a"))], State.FAILED, "no_terminal_event"),
        ([frame(chunk("a")), frame({"error": {"message": "no"}})], State.FAILED, "upstream_error"),
    ],
)
def test_a_stream_is_whole_only_at_its_own_end(
    frames: list[bytes], state: State, reason: str | None, clean: bool
):
    """However HTTP ended, and whatever follows; vLLM's chunks end as a chat does."""
    outcome = streamed(frames, clean=clean)

    assert (state, reason) == (outcome.state, outcome.reason)


def test_what_is_known_of_a_stream_is_known_at_once():
    """Its end, and what makes a good end impossible."""
    watcher = TRANSCRIPTIONS.watch(Mode.STREAM)
    seen = []
    for each in (delta("a"), done("a")):
        watcher.feed([frame(each)])
        seen.append((watcher.ended, watcher.failure, watcher.response_id))
    failing, chunks = TRANSCRIPTIONS.watch(Mode.STREAM), TRANSCRIPTIONS.watch(Mode.STREAM)
    failing.feed([frame({"error": {}, "type": "error"})])
    chunks.feed([frame(chunk("a")), frame(chunk("", "stop")), DONE])

    assert seen == [(False, None, None), (True, None, None)]
    assert (failing.ended, failing.failure) == (True, "upstream_error")
    assert (chunks.ended, chunks.failure) == (True, None)


@pytest.mark.parametrize(
    ("body", "clean", "reason"),
    [
        (b'{"error":{"message":"no"}}', True, "upstream_error"),
        (b'{"object":"error"}', True, "upstream_error"),
        (b'{"segments":[]}', True, "no_text"),
        (b'{"text":null}', True, "no_text"),
        (b"Hello", True, "invalid_json"),
        (b'{"text":"a"}', False, "truncated"),
    ],
)
def test_what_is_no_transcription_has_failed(body: bytes, clean: bool, reason: str):
    """Errors, other objects and torn bodies."""
    outcome = whole(body, clean=clean)

    assert (State.FAILED, reason) == (outcome.state, outcome.reason)


@pytest.mark.parametrize(
    ("body", "clean", "state"),
    [
        (b" Hello.\n", True, State.COMPLETED),
        (b"", True, State.COMPLETED),
        (b"{laughs} Hello", True, State.COMPLETED),
        (b"data: the new oil", True, State.COMPLETED),
        (b'{"text":"Hello"}', True, State.COMPLETED),
        (b'{"error":{"message":"no"}}', True, State.FAILED),
        (b"WEBVTT\n\n00", False, State.FAILED),
    ],
)
def test_a_text_is_whole_when_its_body_is(body: bytes, clean: bool, state: State):
    """Silence too; but JSON under a wrong name is judged as JSON."""
    watcher = watch_text()
    watcher.feed([body])

    assert state is watcher.close(clean=clean).state


def test_texts_are_known_by_their_type():
    """And a login page is none."""
    types = (b"text/plain; charset=utf-8", b"Text/VTT", b"application/x-subrip", b"text/srt")

    assert [is_text(each) for each in types] == [True] * 4
    assert not is_text(b"text/html")
    assert not is_text(b"application/json")


# ------------------------------------------------------------------------------------------- fold and unfold


def folded(*events: Any) -> Any:
    return json.loads(TRANSCRIPTIONS.fold([*map(frame, events), DONE]))


def unfolded(answer: Any) -> list[Any]:
    return events_of(TRANSCRIPTIONS.unfold(json.dumps(answer).encode(), include_usage=False))


def test_a_stream_folds_into_its_last_event():
    """With what only the events before it have told."""
    first, second = {"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.2}

    assert folded(delta("a"), done("a", usage=USAGE, languages=[])) == {
        "text": "a",
        "usage": USAGE,
        "languages": [],
    }
    assert folded(segment("a"), segment("b"), done("a b")) == {
        "text": "a b",
        "segments": [segment("a"), segment("b")],
    }
    assert folded(delta("a", logprobs=[first]), delta("b", logprobs=[second]), done("ab")) == {
        "text": "ab",
        "logprobs": [first, second],
    }
    assert folded(delta("a", logprobs=[first]), done("a", logprobs=[second]))["logprobs"] == [second]


def test_the_streams_of_others_fold_too():
    """Mistral's end tells everything; vLLM's text is that of its chunks."""
    spoken = {"type": "transcription.segment", "text": "a", "start": 0.0, "end": 1.0}
    ending = {"type": "transcription.done", "model": "voxtral", "text": "a", "language": "en"}
    counted = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

    assert folded({"type": "transcription.language", "audio_language": "en"}, spoken, ending) == {
        "model": "voxtral",
        "text": "a",
        "language": "en",
        "segments": [spoken],
    }
    assert folded(chunk("a"), chunk(" b"), chunk("", "stop"), chunk("", usage=counted)) == {
        "text": "a b",
        "usage": counted,
    }
    assert folded(chunk("a"), chunk("", "stop")) == {"text": "a"}


def test_an_answer_unfolds_into_events():
    """A delta, or the segments of a diarized one, and all else in the last; nothing is lost."""
    verbose = {"task": "transcribe", "text": "a", "segments": [{"id": 0, "text": "a"}], "words": []}

    assert unfolded({"text": "a", "usage": USAGE}) == [delta("a"), done("a", usage=USAGE)]
    assert unfolded({"text": "a", "logprobs": [1]}) == [delta("a", logprobs=[1]), done("a", logprobs=[1])]
    assert unfolded({"text": "a", "duration": 2, "segments": [segment("a")]}) == [
        segment("a"),
        done("a", duration=2),
    ]
    assert unfolded(verbose) == [delta("a"), {"type": "transcript.text.done", **verbose}]
    assert unfolded({"text": "a", "segments": []}) == [delta("a"), done("a", segments=[])]


def test_a_plain_text_unfolds_as_it_is():
    """Whoever asked for a stream gets one, from an upstream that has none."""
    frames = TRANSCRIPTIONS.unfold(b" Hello\n", include_usage=False)

    assert events_of(frames) == [delta(" Hello\n"), done(" Hello\n")]
    assert frames[-1] == DONE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4), st.lists, max_leaves=4
)
answers = st.fixed_dictionaries(
    {"text": st.text(max_size=8)},
    optional={
        "usage": json_values,
        "logprobs": st.lists(json_values, max_size=2),
        "words": json_values,
        "segments": st.lists(st.builds(segment, st.text(max_size=4)), max_size=3) | json_values,
    },
)


@given(answers)
def test_unfolding_and_folding_leads_back(answer: dict[str, Any]):
    """Whatever members an answer has."""
    frames = TRANSCRIPTIONS.unfold(json.dumps(answer).encode(), include_usage=False)

    assert answer == json.loads(TRANSCRIPTIONS.fold(frames))
    assert streamed(frames).state is State.COMPLETED


@needs_recordings
@pytest.mark.parametrize(
    "exchange", [each for each in PLAIN if each.id not in NO_ANSWERS], ids=lambda each: each.id
)
def test_recorded_answers_survive_the_way_there_and_back(exchange: Exchange):
    """Every provider's members are in the stream."""
    frames = TRANSCRIPTIONS.unfold(exchange.body, include_usage=False)

    assert json.loads(exchange.body) == json.loads(TRANSCRIPTIONS.fold(frames))


def test_a_broken_stream_ends_with_an_error():
    """Told once: where the upstream has told its own, ours is left out."""
    (added,) = TRANSCRIPTIONS.break_off("It broke.", "upstream_truncated", [frame(delta("a"))])

    assert json.loads(added.removeprefix(b"data: "))["error"]["code"] == "upstream_truncated"
    assert TRANSCRIPTIONS.break_off("It broke.", "x", [frame({"error": {"message": "no"}})]) == []


def test_usage_that_is_no_usage_counts_nothing():
    """Negative counts, texts and lists are somebody's defect, and not a reason to lose an answer."""
    for usage in ({"input_tokens": -1}, {"input_tokens": "3"}, [], None, {"type": "duration", "seconds": 4}):
        assert whole(json.dumps({"text": "a", "usage": usage}).encode()).usage == NO_USAGE
