"""What a connection remembers."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon.gateway.recent import RecentResponses
from antiphon.turn.chain import Parent


def parent(*items):
    return Parent(tuple(items[:-1]), tuple(items[-1:]))


def test_a_response_is_remembered_until_it_is_dropped():
    """And then it is as if it had never been."""
    recent = RecentResponses(100)
    recent.put("a", parent(b"12", b"345"), "lane")
    assert recent.get("a").parent == parent(b"12", b"345")
    assert recent.get("a").stream_id == "lane"
    assert (len(recent), recent.size) == (1, 5)
    recent.drop("a")
    recent.drop("a")
    assert (recent.get("a"), len(recent), recent.size) == (None, 0, 0)


def test_what_contexts_have_in_common_counts_once():
    """A long chain costs what its last context costs."""
    recent = RecentResponses(12)
    recent.put("a", parent(b"1234", b"5678"), None)
    recent.put("b", parent(b"1234", b"5678", b"abcd"), None)
    assert (len(recent), recent.size) == (2, 12)


def test_the_oldest_goes_first_but_the_latest_of_each_lane_last():
    """A quiet lane is not forgotten because another one talks."""
    recent = RecentResponses(8)
    recent.put("quiet", parent(b"qqqq"), "q")
    recent.put("1", parent(b"1111"), None)
    recent.put("2", parent(b"2222"), None)
    assert [recent.get(name) is not None for name in ("quiet", "1", "2")] == [True, False, True]
    recent.put("3", parent(b"33333333"), None)
    assert [recent.get(name) is not None for name in ("quiet", "2", "3")] == [False, False, True]


def test_what_is_larger_than_all_there_may_be_is_not_kept():
    """Continuing it finds nothing, which is an answer too."""
    recent = RecentResponses(8)
    recent.put("a", parent(b"123456789"), None)
    assert (len(recent), recent.size) == (0, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.lists(st.binary(max_size=4), max_size=4), st.sampled_from("xy")
        ),
        max_size=30,
    )
)
def test_the_bound_holds_and_the_size_is_that_of_what_is_there(steps):
    """Whatever is remembered and forgotten."""
    recent = RecentResponses(10)
    for name, items, lane in steps:
        if items:
            recent.put(name, parent(*items), lane)
        else:
            recent.drop(name)
        held = {
            item for each in recent._recent.values() for item in (*each.parent.input, *each.parent.output)
        }
        assert recent.size == sum(map(len, held)) <= 10
    recent.clear()
    assert (len(recent), recent.size) == (0, 0)
