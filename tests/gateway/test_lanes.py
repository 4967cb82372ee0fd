"""The order of turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.gateway.lanes import MOST_ACTIVE, MOST_STREAM_IDS, MOST_WAITING, Lanes
from antiphon.wire.errors import ClientFault


def test_a_lane_is_first_in_first_out_while_lanes_interleave():
    """The second of a lane waits for the first; other lanes do not."""
    lanes = Lanes(100)
    for stream_id, name in ((None, "a1"), (None, "a2"), ("b", "b1"), ("b", "b2")):
        lanes.add(stream_id, name, 1)
    assert [lanes.next(), lanes.next(), lanes.next()] == ["a1", "b1", None]
    lanes.over("b")
    assert lanes.next() == "b2"
    lanes.over(None)
    assert lanes.next() == "a2"
    lanes.over("b")
    lanes.over(None)
    assert lanes.is_idle


def test_no_more_than_sixteen_are_under_way():
    """The others wait, in the order in which they came."""
    lanes = Lanes(1000)
    for number in range(MOST_ACTIVE + 2):
        lanes.add(str(number), number, 1)
    assert [lanes.next() for _ in range(MOST_ACTIVE + 1)] == [*range(MOST_ACTIVE), None]
    lanes.over("3")
    assert lanes.next() == MOST_ACTIVE
    assert lanes.next() is None


def test_a_connection_has_thirty_two_lanes():
    """Known ones go on; requests without a lane need none."""
    lanes = Lanes(1000)
    lanes.add(None, "x", 1)
    for number in range(MOST_STREAM_IDS):
        lanes.add(str(number), "x", 1)
    with pytest.raises(ClientFault) as refused:
        lanes.add("one more", "x", 1)
    assert refused.value.code == "websocket_stream_limit_reached"
    lanes.add("0", "x", 1)
    lanes.add(None, "x", 1)


def test_what_waits_is_bounded():
    """In number and in bytes; one may always wait, however large."""
    lanes = Lanes(10)
    lanes.add(None, "x", 1000)
    with pytest.raises(ClientFault, match="wait") as refused:
        lanes.add(None, "x", 1)
    assert refused.value.status == 429
    assert lanes.next() == "x"
    for _ in range(10):
        lanes.add(None, "x", 1)
    with pytest.raises(ClientFault, match="wait"):
        lanes.add(None, "x", 1)
    lanes = Lanes(10)
    for _ in range(MOST_WAITING):
        lanes.add(None, "x", 0)
    with pytest.raises(ClientFault, match="wait"):
        lanes.add(None, "x", 0)


def test_what_waits_can_be_taken_back():
    """What is under way stays."""
    lanes = Lanes(100)
    for name in ("a", "b", "c"):
        lanes.add(None, name, 1)
    lanes.next()
    assert lanes.clear() == ["b", "c"]
    lanes.over(None)
    assert lanes.next() is None
    assert lanes.is_idle


@given(st.lists(st.one_of(st.sampled_from(["a", "b", "c"]), st.none()), max_size=60))
def test_whatever_happens_each_lane_keeps_its_order(steps):
    """`None` ends the oldest turn under way; nothing is lost, nothing comes twice, nothing overtakes in its lane."""
    lanes, added, begun, active = Lanes(10_000), [], [], []
    for number, step in enumerate(steps):
        if step is not None:
            lanes.add(step, (step, number), 1)
            added.append((step, number))
        elif active:
            lanes.over(active.pop(0)[0])
        while (each := lanes.next()) is not None:
            begun.append(each)
            active.append(each)
            assert len({lane for lane, _ in active}) == len(active)
    while active:
        lanes.over(active.pop(0)[0])
        while (each := lanes.next()) is not None:
            begun.append(each)
            active.append(each)
    assert sorted(begun) == sorted(added)
    for lane in "abc":
        assert [each for each in begun if each[0] == lane] == [each for each in added if each[0] == lane]
    assert lanes.is_idle
