import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.recording.pace import INSTANT, RECORDED, Pace, parse_pace
from antiphon.wire.errors import ClientFault

TIMES = [500_000, 600_000, 600_000, 2_000_000]


@pytest.mark.parametrize(
    ("text", "dues"),
    [
        ("instant", [0, 0, 0, 0]),
        ("recorded", [0.5, 0.6, 0.6, 2.0]),
        ("x2", [0.25, 0.3, 0.3, 1.0]),
        ("x0.5", [1.0, 1.2, 1.2, 4.0]),
        (" X2 ", [0.25, 0.3, 0.3, 1.0]),
        ("50/s", [0, 0.02, 0.04, 0.06]),
    ],
)
def test_each_pace_says_when_frames_are_due(text, dues):
    """Every form that is documented, with the times that it gives."""
    pace = parse_pace(text)
    assert [pace.due(TIMES, index) for index in range(4)] == pytest.approx(dues)


def test_only_instant_is_instant():
    """`is_instant` spares the timers."""
    assert INSTANT.is_instant
    assert not RECORDED.is_instant
    assert not Pace(rate=50).is_instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "x",
        "x0",
        "x-1",
        "x1e9",
        "xinf",
        "xnan",
        "x0.001",
        "x1001",
        "0/s",
        "/s",
        "50/m",
        "1e9/s",
        "x٣",
    ],
)
def test_anything_else_is_the_clients_fault(text):
    """The fault names the header and what can be written."""
    with pytest.raises(ClientFault) as caught:
        parse_pace(text)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "X-Antiphon-Replay")


@given(st.text(max_size=20))
def test_no_text_gives_an_endless_wait(text):
    """Whatever is accepted has finite dues."""
    try:
        pace = parse_pace(text)
    except ClientFault:
        return
    assert all(math.isfinite(pace.due(TIMES, index)) for index in range(4))


@given(st.sampled_from(["instant", "recorded", "x3", "7/s"]), st.lists(st.integers(0, 10**9), min_size=2))
def test_frames_keep_their_order(text, gaps):
    """A later frame is never due before an earlier one."""
    times = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    dues = [parse_pace(text).due(times, index) for index in range(len(times))]
    assert dues == sorted(dues)
