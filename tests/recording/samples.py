"""Recordings made by hypothesis."""

from hypothesis import strategies as st

from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.turn.usage import Usage

any_bytes = st.binary(max_size=60)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
seconds = st.integers(0, 4 * 10**15).map(lambda microseconds: microseconds / 10**6)
counts = st.integers(0, 10**9)
outcomes = st.builds(
    Outcome,
    state=st.sampled_from(State),
    reason=st.none() | texts,
    usage=st.builds(Usage, *[counts] * 8),
    response_id=st.none() | texts,
    model=st.none() | texts,
)
heads = st.builds(
    Head,
    status=st.integers(100, 599),
    content_type=st.sampled_from([b"application/json", b"text/event-stream; charset=utf-8"]),
    headers=st.lists(
        st.tuples(st.sampled_from([b"x-request-id", b"openai-model"]), st.binary(max_size=9))
    ).map(tuple),
)


@st.composite
def recordings(draw, frames=any_bytes):
    recording = Recording(
        id=draw(texts),
        dialect=draw(texts),
        mode=draw(st.sampled_from(Mode)),
        provider=draw(texts),
        model=draw(texts),
        started_at=draw(seconds),
        head=draw(heads),
        outcome=draw(outcomes),
        ended_at=draw(seconds),
    )
    at = 0
    for arrived in draw(st.lists(st.tuples(st.integers(0, 10**7), st.lists(frames, max_size=3)), max_size=8)):
        at += arrived[0]
        recording.extend(arrived[1], at)
    return recording
