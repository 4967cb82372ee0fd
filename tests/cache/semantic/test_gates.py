"""What two texts must agree in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cache.semantic.facts import read_facts
from antiphon.cache.semantic.gates import GATES, refused_by
from cache.semantic.page import PAGE, page_with_tables
from cache.semantic.pairs import read_pairs

TEXTS = st.one_of(
    st.text(max_size=80),
    st.sampled_from([pair.one for pair in read_pairs("pairs")]),
    st.text("ab A1.`'\"\n", max_size=40),
)


def gate(one, other):
    return refused_by(read_facts(one), read_facts(other))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("What is 15% of 80?", "What is 15% of 90?", "numbers"),
        ("Is Python 3.1 old?", "Is Python 3.10 old?", "numbers"),
        ("Plan for two people", "Plan for three people", "numbers"),
        ("Events in May 2024", "Events in May 2025", "numbers"),
        ("Events in January", "Events in June", "numbers"),
        ("5 km run", "5 mile run", "numbers"),
        ("How far is it in miles?", "How far is it in kilometers?", "numbers"),
        ("The capital of France", "The capital of Germany", "names"),
        ("Flights from Paris to London", "Flights from London to Paris", "names"),
        ("Which foods are healthy?", "Which foods are not healthy?", "negation"),
        ("Why does it work?", "Why doesn't it work?", "negation"),
        ("Is this valid?", "Is this invalid?", "negation"),
        ("How to enable it", "How to disable it", "opposites"),
        ("before the war", "after the war", "opposites"),
        ("What does `a + b` do?", "What does `a - b` do?", "code"),
        ("What is in /etc/passwd?", "What is in /etc/shadow?", "code"),
        ('Translate "dog"', 'Translate "cat"', "quotes"),
        ("Why do dogs chase cats?", "Why do cats chase dogs?", "order"),
        ("flights from rome to oslo", "flights from oslo to rome", "order"),
        ("What is the speed of light?", "Какова скорость света?", "language"),
        ("How does a refrigerator work?", "Wie funktioniert ein Kühlschrank?", "language"),
        ("When did the war end?", "Why did the war end?", "question"),
        ("list the planets as json", "list the planets as csv", "form"),
        ("weather in paris", "weather in london", "substitution"),
    ],
)
def test_each_gate_refuses_what_it_is_for(one, other, expected):
    assert gate(one, other) == expected
    assert gate(other, one) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "How can I reset my password?"),
        ("What is 15% of 80?", "How much is 15 percent of 80?"),
        ("I'd like 1,000 ideas", "Please give me 1000 ideas"),
        ("What does HTTP 404 mean?", "what does http 404 mean"),
        ("Who is the author of Pride and Prejudice?", "Who wrote Pride and Prejudice?"),
        ("France's capital?", "The capital of France?"),
        ("Give me five tips", "Give me 5 tips"),
    ],
)
def test_the_same_in_other_words_passes(one, other):
    assert gate(one, other) is None


def test_of_the_pairs_that_differ_hardly_any_pass():
    for name, most_passed, most_lost in (("pairs", 0, 6), ("pairs_unseen", 1, 5)):
        pairs = read_pairs(name)
        passed = [pair for pair in pairs if not pair.is_same and pair.gate is None]
        lost = [pair for pair in pairs if pair.is_same and pair.gate is not None]
        assert len(passed) <= most_passed, passed
        assert len(lost) <= most_lost, lost


def test_every_gate_is_of_use():
    refused = {pair.gate for name in ("pairs", "pairs_unseen") for pair in read_pairs(name)}
    assert refused >= set(GATES)


@given(TEXTS)
def test_a_text_agrees_with_itself(text):
    assert gate(text, text) is None


@given(TEXTS, TEXTS)
def test_it_does_not_matter_which_was_asked_first(one, other):
    assert (gate(one, other) is None) == (gate(other, one) is None)


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.sampled_from(["What is {} plus one?", "Order {}", "{} km"]),
)
def test_another_number_never_passes(one, other, text):
    assert (gate(text.format(one), text.format(other)) is None) == (one == other)


@given(st.permutations(["Anna", "Bert", "Carla"]))
def test_names_in_another_order_never_pass(names):
    text = "Does {} like {} more than {}?"
    is_same = list(names) == ["Anna", "Bert", "Carla"]
    assert (gate(text.format(*names), text.format("Anna", "Bert", "Carla")) is None) == is_same


def test_the_tables_of_the_page_are_those_of_the_gates():
    """Run `python -m cache.semantic.page` in the folder `tests` when this fails."""
    page = PAGE.read_text()
    assert page_with_tables(page) == page


@pytest.mark.parametrize(
    "piece", ["a.", "a-", "a(", "a_", "1.", "a+", "aB", "a@", "/a", "`a", "'a ", "a b c "]
)
def test_a_long_text_is_read_in_time_that_grows_with_its_length(piece):
    """A hundred times the length may take a few hundred times as long, not ten thousand."""

    def seconds(length):
        text = (piece * length)[:length]
        times = []
        for _ in range(3):
            read_facts.cache_clear()
            began = time.process_time()
            read_facts(text)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(20_000) < 600 * max(seconds(200), 0.0002)
