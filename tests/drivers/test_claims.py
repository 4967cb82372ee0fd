"""The stored form of an outcome."""

from hypothesis import given
from hypothesis import strategies as st

from antiphon.drivers.claims import read_outcome, write_outcome
from antiphon.ports.idempotency import Outcome

HEADERS = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=4).map(tuple)


@given(st.integers(100, 599), HEADERS, st.binary(max_size=64), st.integers(1, 200))
def test_what_was_written_is_read(status, headers, body, times):
    """Large and repetitive, or not."""
    outcome = Outcome(status, headers, body * times)
    assert read_outcome(write_outcome(outcome)) == outcome


@given(st.integers(0, 400), st.binary(max_size=4))
def test_what_is_damaged_is_none_or_says_something(place, put):
    """It never raises."""
    data = write_outcome(Outcome(200, ((b"a", b"b"),), b"body" * 1000))
    found = read_outcome(data[: place % len(data)] + put)
    assert found is None or isinstance(found, Outcome)


def test_what_repeats_itself_is_stored_small():
    assert len(write_outcome(Outcome(200, (), b"body" * 1000))) < 200
