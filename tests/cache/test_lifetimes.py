"""Which windows hold for a request, and what follows for an entry: compared with the RFCs, written down plainly."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cache.controls import PLAIN, Controls
from antiphon.cache.entry import Verdict, judge
from antiphon.cache.lifetimes import NONE, Lifetime, Lifetimes, error_window
from antiphon.settings import Cache, Duration, Model, ModelCache
from cache.test_entry import STORED_AT, entry

SECONDS = st.integers(0, 40).map(float)
TTL = 10.0


@dataclass(frozen=True)
class Answer:
    """What an entry is good for."""

    now: bool
    """Whether it answers without asking anybody first."""
    is_refreshed: bool
    on_error: bool


def plain_model(age, controls, lifetime):
    """Say what RFC 9111, sections 4.2.4 and 5.2.1, and RFC 5861 say, rule by rule."""
    staleness = age - TTL
    allowed = []
    """Whether each rule that speaks lets the entry answer at once."""
    if controls.max_age is not None:
        allowed.append(age <= controls.max_age)
    if staleness < 0:
        allowed.append(-staleness >= controls.min_fresh)
        is_refreshed = False
    else:
        told = controls.stale_while_revalidate
        limits = controls.max_age is not None or controls.min_fresh > 0 or controls.max_stale > 0
        window = told if told is not None else 0.0 if limits else lifetime.stale_while_revalidate
        is_refreshed = window > 0 and staleness <= window
        takes_stale = controls.max_stale > 0 and staleness <= controls.max_stale
        allowed.append(is_refreshed or takes_stale)
    now = all(allowed)
    told = controls.stale_if_error
    window = lifetime.stale_if_error if told is None else told
    return Answer(now, now and is_refreshed, window > 0 and staleness <= window)


@given(
    age=SECONDS,
    controls=st.builds(
        Controls,
        max_age=st.none() | SECONDS,
        min_fresh=st.just(0.0) | SECONDS,
        max_stale=st.just(0.0) | SECONDS | st.just(float("inf")),
        stale_while_revalidate=st.none() | SECONDS,
        stale_if_error=st.none() | SECONDS,
    ),
    lifetime=st.builds(Lifetime, st.just(TTL), SECONDS, SECONDS),
)
def test_an_entry_answers_as_the_rules_say(age, controls, lifetime):
    """All controls together, at all ages."""
    kept = entry(expires_at=STORED_AT + TTL)
    now = STORED_AT + age
    verdict = judge(kept, controls, now, lifetime)
    window = error_window(controls, lifetime)
    on_error = window > 0 and now - kept.expires_at <= window

    assert plain_model(age, controls, lifetime) == Answer(
        verdict.answers, verdict is Verdict.REFRESH, on_error
    )


@pytest.mark.parametrize("controls", [PLAIN, Controls(max_stale=5.0), Controls(max_age=5.0)])
def test_where_nothing_is_configured_and_asked_for_nothing_is_stale_but_by_request(controls):
    """The windows are zero."""
    assert judge(entry(), controls, STORED_AT + 1000.0) in {Verdict.STALE, Verdict.REQUEST}
    assert error_window(controls, NONE) == 0.0


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (Controls(bypass="no-cache"), 0.0),
        (Controls(bypass="no-cache", stale_if_error=7.0), 7.0),
        (Controls(bypass="no-store", write=False, stale_if_error=7.0), 0.0),
        (Controls(bypass="opt-out", write=False), 0.0),
        (PLAIN, 30.0),
        (Controls(stale_if_error=0.0), 0.0),
    ],
)
def test_who_by_passes_the_cache_gets_nothing_from_it_but_on_request(controls, expected):
    """`no-cache, stale-if-error=7` is a wish for a fresh answer, if there can be one."""
    assert expected == error_window(controls, Lifetime(60.0, 0.0, 30.0))


def test_a_model_says_what_is_otherwise_for_it():
    """And nothing else changes."""
    cache = Cache(ttl=Duration(60), stale_while_revalidate=Duration(5), stale_if_error=Duration(600))
    models = {
        "a": Model(target="up/m", cache=ModelCache(ttl=Duration(0))),
        "b": Model(target="up/m", cache=ModelCache(stale_while_revalidate=Duration(0))),
        "c": Model(target="up/m"),
    }
    lifetimes = Lifetimes(cache, models)

    assert Lifetime(0.0, 5.0, 600.0) == lifetimes.of("a")
    assert Lifetime(60.0, 0.0, 600.0) == lifetimes.of("b")
    assert lifetimes.of("c") == lifetimes.of("up/m") == Lifetime(60.0, 5.0, 600.0)
    assert Lifetimes(None, models).of("a") == NONE


def test_an_answer_is_of_use_until_the_longer_window_is_over():
    """The two windows both begin where the lifetime ends."""
    assert Lifetime(60.0, 5.0, 600.0).longest == 660.0
    assert Lifetime(60.0, 500.0, 6.0).longest == 560.0
