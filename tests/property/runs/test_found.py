"""Sequences that once broke a promise; the machine that found them checks it after every step."""

import contextlib
from collections.abc import Iterator

from drivers.stores.place import Place
from property.runs.test_runs import Machine


@contextlib.contextmanager
def played(place: Place) -> Iterator[Machine]:
    playing = Machine(place)
    try:
        yield playing
        playing.hold()
    finally:
        playing.teardown()


def test_a_worker_that_wakes_up_shows_nothing_of_its_own_attempt(place):
    """What it remembers was taken back, and somebody else has written more since."""
    with played(place) as at:
        at.create(pick=0, stream=False)
        at.say(pick=0, pieces=1)
        at.freeze_for_long(pick=0)
        at.say(pick=1, pieces=3)
        at.thaw_and_follow(pick=0, which=0, after=-1)


def test_an_answer_that_was_just_promised_is_not_begun_again(place):
    """Somebody follows a run between the look at it, whose worker is gone, and the decision to begin it again."""
    with played(place) as at:
        at.start_worker()
        at.create(pick=0, stream=False)
        at.say(pick=0, pieces=2)
        at.kill(pick=0)
        for pick in range(2):
            at.stop_later(pick=pick, place=("restart", "before"))
        while not at.frozen:
            at.clock.passed += 0.02  # of the two that look after it, the first alone
            at.rest()
        at.follow(pick=0, which=0, after=-1)
        assert at.listeners[0].last == 6
        at.thaw(pick=0)


def test_what_a_worker_writes_that_has_lost_its_run_is_refused(place):
    """It wakes up with more to say, where the one that has the run now has said less."""
    with played(place) as at:
        at.create(pick=0, stream=False)
        at.say(pick=0, pieces=2)
        at.come_back_from_the_dead(pick=0, pieces=1, others=0)
