"""Whether an entry may answer a request now, and whether an answer may become one."""

import math

import pytest

from antiphon.cache.controls import PLAIN, Controls
from antiphon.cache.entry import Entry, Verdict, is_storable, judge
from antiphon.recording import Mode, Outcome, Recording, State

STORED_AT = 1_000_000.0
TTL = 100.0
JUST = 1 / 1024


def entry(**changes):
    recording = Recording("r", "chat", Mode.JSON, "up", "m", STORED_AT)
    recording.extend([b"{}"], 0)
    fields = {
        "digest": b"d" * 16,
        "identity": b"identity",
        "recording": recording,
        "public_id": "",
        "echo": {},
        "stored_at": STORED_AT,
        "expires_at": STORED_AT + TTL,
    }
    return Entry(**{**fields, **changes})


def verdict(age, controls=PLAIN):
    return judge(entry(), controls, STORED_AT + age)


def test_without_an_entry_there_is_nothing_to_judge():
    """Whatever was asked for."""
    assert judge(None, PLAIN, 0.0) is Verdict.MISS
    assert judge(None, Controls(max_stale=math.inf), 0.0) is Verdict.MISS


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, Verdict.HIT),
        (TTL - JUST, Verdict.HIT),
        (TTL, Verdict.STALE),
        (TTL + 1e9, Verdict.STALE),
        (-5, Verdict.HIT),
    ],
)
def test_an_answer_is_fresh_while_its_lifetime_exceeds_its_age(age, expected):
    """RFC 9111, section 4.2: `freshness_lifetime > current_age`. A clock that was set back does no harm."""
    assert expected is verdict(age)


@pytest.mark.parametrize(
    ("age", "max_age", "expected"),
    [
        (10, 10, Verdict.HIT),
        (10 + JUST, 10, Verdict.REQUEST),
        (0, 0, Verdict.HIT),
        (JUST, 0, Verdict.REQUEST),
        (TTL, 2 * TTL, Verdict.STALE),
    ],
)
def test_max_age_limits_the_age(age, max_age, expected):
    """RFC 9111, section 5.2.1.1: an age of at most so many seconds, and no stale answer either."""
    assert expected is verdict(age, Controls(max_age=max_age))


@pytest.mark.parametrize(
    ("age", "max_stale", "expected"),
    [
        (TTL, 0, Verdict.STALE),
        (TTL, 10, Verdict.HIT),
        (TTL + 10, 10, Verdict.HIT),
        (TTL + 10 + JUST, 10, Verdict.STALE),
        (TTL + 1e9, math.inf, Verdict.HIT),
        (1, 10, Verdict.HIT),
    ],
)
def test_max_stale_accepts_what_expired_not_too_long_ago(age, max_stale, expected):
    """RFC 9111, section 5.2.1.2: no more than so many seconds beyond its lifetime; without a number, any."""
    assert expected is verdict(age, Controls(max_stale=max_stale))


@pytest.mark.parametrize(
    ("age", "min_fresh", "expected"),
    [
        (TTL - 10, 10, Verdict.HIT),
        (TTL - 10 + JUST, 10, Verdict.REQUEST),
        (0, TTL, Verdict.HIT),
        (0, TTL + JUST, Verdict.REQUEST),
        (TTL, 10, Verdict.STALE),
    ],
)
def test_min_fresh_wants_some_lifetime_left(age, min_fresh, expected):
    """RFC 9111, section 5.2.1.3: a lifetime of no less than the age and so many seconds."""
    assert expected is verdict(age, Controls(min_fresh=min_fresh))


def test_limits_hold_together():
    """RFC 9111, section 5.2.1.1: max-stale widens the lifetime, not the age that max-age allows."""
    assert verdict(TTL + 5, Controls(max_age=TTL + 5, max_stale=10)) is Verdict.HIT
    assert verdict(TTL + 5, Controls(max_age=TTL, max_stale=10)) is Verdict.REQUEST
    assert verdict(50, Controls(max_age=60, min_fresh=60)) is Verdict.REQUEST


@pytest.mark.parametrize(
    ("state", "reason", "limited", "expected"),
    [
        (State.COMPLETED, None, False, True),
        (State.COMPLETED, None, True, True),
        (State.INCOMPLETE, "max_output_tokens", True, True),
        (State.INCOMPLETE, "max_output_tokens", False, False),
        (State.INCOMPLETE, "content_filter", True, False),
        (State.INCOMPLETE, None, True, False),
        (State.FAILED, None, True, False),
        (State.FAILED, "max_output_tokens", True, False),
        (State.CANCELLED, None, True, False),
        (State.LIVE, None, True, False),
    ],
)
def test_only_whole_answers_are_kept(state, reason, limited, expected):
    """Or such as ended at a limit that the request itself had set."""
    assert expected == is_storable(Outcome(state, reason), limited=limited)


def test_the_size_is_that_of_all_its_parts():
    """More identity, more frames or more renditions make an entry larger."""
    plain = entry().size
    rendered = entry()
    rendered.rendition_bytes = 500
    longer = entry()
    longer.recording.extend([b"x" * 300], 1)
    assert plain + 500 == rendered.size
    assert plain + 300 == longer.size
    assert plain + 100 == entry(identity=b"identity" + b"x" * 100).size
