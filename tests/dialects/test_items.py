"""Answers that are lists: taken apart by item, and put together again."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.embedding_items import EMBEDDING_ITEMS
from antiphon.dialects.items import NotSeparableError, alone, put_together, take_apart
from antiphon.dialects.rerank_items import RERANK_ITEMS
from antiphon.turn.usage import Usage
from antiphon.wire.json import read_members
from recorded import exchanges, needs_recordings
from wire.spelling import objects, values

EMBEDDINGS = [each for each in exchanges("openai.embeddings", "plain", None) if each.status == 200]
RANKINGS = [each for each in exchanges("rerank", "plain", None) if "top_n" not in (each.request or {})]

vectors = st.lists(st.floats(-1, 1), min_size=1, max_size=3) | st.text("abc+/=", max_size=4)
extras = st.dictionaries(st.sampled_from(["object", "text", "x"]), values, max_size=2)


def read(body):
    return EMBEDDING_ITEMS.read(read_members(json.dumps(body).encode()))


def answer_of(count, **changes):
    entries = [{"object": "embedding", "index": index, "embedding": [float(index)]} for index in range(count)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return {"object": "list", "data": entries, "model": "m", "usage": usage} | changes


def whole(parts, around=None):
    return json.loads(put_together(parts, range(len(parts)), around))


def apart(answer, weights):
    return take_apart(json.dumps(answer).encode(), weights)


@given(st.lists(st.tuples(vectors, extras), min_size=1, max_size=5), objects, st.randoms(), st.data())
def test_what_was_taken_apart_and_put_together_is_the_same(entries, around, chance, data):
    """In the order of the items, whatever order the upstream chose; unknown members stand where they stood."""
    around = {name: value for name, value in around.items() if name not in {"data", "results", "meta"}}
    told = [{**extra, "index": index, "embedding": vector} for index, (vector, extra) in enumerate(entries)]
    usage = data.draw(st.dictionaries(st.sampled_from(["prompt_tokens", "total_tokens"]), st.integers(0, 99)))
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(told), max_size=len(told)))
    shuffled = chance.sample(told, len(told))
    answer = {**around, "data": shuffled, "usage": usage}

    parts = apart(answer, weights)
    again = [take_apart(alone(part), (1,))[0] for part in parts]

    for made in (parts, again):
        assert whole(made) == {**answer, "data": told}
        assert list(whole(made)) == list(answer)
        assert [list(entry) for entry in whole(made)["data"]] == [list(entry) for entry in told]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_shares_add_up_and_are_as_fair_as_whole_numbers_can_be(count, weights):
    """By largest remainder: no share is one off what it should be."""
    parts = apart(answer_of(len(weights), usage={"prompt_tokens": count}), weights)
    shares = [part.counted["usage"]["prompt_tokens"] for part in parts]
    total = sum(weights)

    assert sum(shares) == count
    if total:
        assert all(abs(got - count * weight / total) < 1 for got, weight in zip(shares, weights, strict=True))


def test_what_does_not_count_is_copied():
    """Also what only looks as if it did; what is nested counts too."""
    usage = {
        "prompt_tokens": 3,
        "cost": 0.5,
        "is_byok": False,
        "unit": None,
        "details": {"text": 3, "kind": "x"},
    }
    parts = apart(answer_of(2, usage=usage), (1, 2))

    assert parts[1].counted["usage"] == usage | {
        "prompt_tokens": 2,
        "cost": pytest.approx(1 / 3),
        "details": {"text": 2, "kind": "x"},
    }
    assert whole(parts) == answer_of(2, usage=usage | {"cost": pytest.approx(0.5)})


def test_what_stands_around_is_that_of_one_answer_and_the_usage_of_all():
    """An answer without usage adds nothing to it, and takes none away."""
    old, new = apart(answer_of(1, id="old"), (1,)), apart(answer_of(2, id="new", model="n"), (1, 1))
    bare = apart(answer_of(1, usage=None, model=None), (1,))

    merged = whole([*old, *new, *bare], new[0])
    assert (merged["id"], merged["model"]) == ("new", "n")
    assert merged["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    assert [entry["index"] for entry in merged["data"]] == [0, 1, 2, 3]


MISFITS = {
    "too few": answer_of(2),
    "too many": answer_of(4),
    "none": answer_of(0),
    "no list": {"object": "list", "model": "m"},
    "a list of something else": answer_of(0, data=[1, 2, 3]),
    "an index twice": answer_of(3, data=[{"index": 0}, {"index": 1}, {"index": 1}]),
    "an index out of range": answer_of(3, data=[{"index": 1}, {"index": 2}, {"index": 3}]),
    "a negative index": answer_of(3, data=[{"index": -1}, {"index": 0}, {"index": 1}]),
    "an index that is a text": answer_of(3, data=[{"index": "0"}, {"index": 1}, {"index": 2}]),
    "an index that is null": answer_of(3, data=[{"index": None}, {"index": 1}, {"index": 2}]),
    "an index left out": answer_of(3, data=[{}, {"index": 1}, {"index": 2}]),
    "an error": {"error": {"message": "no"}},
    "a list": [],
}


@pytest.mark.parametrize("answer", MISFITS.values(), ids=MISFITS)
def test_an_answer_that_does_not_fit_is_not_taken_apart(answer):
    with pytest.raises(NotSeparableError):
        apart(answer, (1, 1, 1))


@pytest.mark.parametrize("body", [b"", b"{", b'{"data":[{"index":0}]', b"\xff", b'{"data":[{"index":0},}'])
def test_what_cannot_be_read_is_not_taken_apart(body):
    with pytest.raises(NotSeparableError):
        take_apart(body, (1,))


loose = st.one_of(values, st.sampled_from([10**30, 1e308, float("1e-320"), "\ud83d", {"a": {"b": 1.5}}]))
answers = st.fixed_dictionaries(
    {
        "data": st.lists(
            st.fixed_dictionaries(
                {}, optional={"index": st.sampled_from([0, 1, 2, -1, 0.0, "0"]), "x": loose}
            ),
            max_size=3,
        )
    },
    optional={"usage": st.dictionaries(st.sampled_from(["a", "b"]), loose), "meta": loose, "model": loose},
)


@given(st.lists(answers, min_size=1, max_size=3), st.lists(st.integers(0, 10**12), max_size=3))
def test_whatever_upstreams_answer_it_is_put_together_or_refused(bodies, weights):
    """Numbers beyond any count, halves of characters, usage of any shape: no other fault comes out of it."""
    parts = []
    for body in bodies:
        with contextlib.suppress(NotSeparableError):
            parts += apart(body, weights)
    if parts:
        assert len(whole(parts, parts[-1])["data"]) == len(parts)


@pytest.mark.parametrize("depth", [20, 300, 970, 5000])
def test_usage_may_be_nested_as_deeply_as_anybody_likes(depth):
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    body = b'{"data":[{"index":0},{"index":1}],"usage":%b}' % nested
    try:
        parts = take_apart(body, (1, 1))
    except NotSeparableError:
        assert depth > 300
    else:
        assert nested in put_together(parts, (0, 1))


def test_entries_without_any_index_are_in_the_order_of_the_items():
    """And are given none."""
    for entries in (
        [{"embedding": [1]}, {"embedding": [2]}],
        [{}, {}],
        [{"embedding": "A" * 999, "x": 1}] * 2,
    ):
        answer = answer_of(2, data=entries)
        assert whole(apart(answer, (1, 1))) == answer


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (["a", "bé"], [1, 3]),
        (["a"], [1]),
        ([[1, 2], [3]], [2, 1]),
        ([["1"], ["2"]], None),
        ([1, 2], None),
        ("a", None),
        ([], None),
        ([{"text": "a"}, {"text": "b"}], None),
        (["a", [1]], None),
        ([[1], "a"], None),
        ([None], None),
        (["a"] * 2048, [1] * 2048),
        (["a"] * 2049, None),
        (None, None),
    ],
)
def test_which_inputs_are_items(given, weights):
    """Texts, and lists of tokens: a list of numbers is one input, and of other things it is not known."""
    listed = read({"model": "m", "input": given})
    assert (listed.weights if listed else None) == weights


@pytest.mark.parametrize(
    ("members", "is_separable"),
    [
        ({"dimensions": 3, "user": "u", "input_type": "query"}, True),
        ({"late_chunking": True}, False),
        ({"x": 1}, False),
    ],
)
def test_with_members_that_nobody_knows_the_list_is_one_thing(members, is_separable):
    """Jina's `late_chunking`, for one, makes each vector depend on all inputs."""
    assert (read({"model": "m", "input": ["a", "b"], **members}) is not None) == is_separable


def test_a_request_for_some_of_the_items_is_a_list_even_of_one():
    listed = read({"input": ["a", "b", "c"], "model": "m", "dimensions": 3})
    assert json.loads(listed.asking_for([1])) == {"model": "m", "dimensions": 3, "input": ["b"]}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [1, 2, 0]),
        ({"top_n": 2}, [1, 2]),
        ({"top_k": 1}, [1]),
        ({"top_n": None}, [1, 2, 0]),
        ({"top_n": 9}, [1, 2, 0]),
    ],
)
def test_rankings_are_in_the_order_of_their_scores(members, expected):
    """As many as were asked for."""
    scores = [0.25, 0.75, 0.5]
    results = [{"index": index, "relevance_score": each} for index, each in enumerate(scores)]
    parts = apart({"results": results}, (1, 1, 1))
    raw = read_members(json.dumps(members).encode())
    places = RERANK_ITEMS.order(parts, raw)

    assert list(places) == expected
    assert [each["index"] for each in json.loads(put_together(parts, places))["results"]] == expected


@pytest.mark.parametrize("top_n", [0, -1, "2", 1.5, True])
def test_a_wrong_number_of_documents_is_the_upstreams_to_refuse(top_n):
    body = json.dumps({"query": "q", "documents": ["a"], "top_n": top_n}).encode()
    assert RERANK_ITEMS.read(read_members(body)) is None


@needs_recordings
@pytest.mark.parametrize("exchange", [*EMBEDDINGS, *RANKINGS], ids=lambda exchange: exchange.id)
def test_recorded_answers_survive(exchange):
    """Taken apart, kept one by one, and put together: the same JSON, numbers and all."""
    answer = json.loads(exchange.body)
    results = answer.get("data") or answer["results"]
    form = RERANK_ITEMS if "results" in answer else EMBEDDING_ITEMS
    parts = [take_apart(alone(part), (1,))[0] for part in take_apart(exchange.body, [1] * len(results))]

    assert json.loads(put_together(parts, form.order(parts, {}))) == answer


def test_usage_is_read_as_each_provider_tells_it():
    assert EMBEDDING_ITEMS.usage({"usage": {"total_tokens": 3}}) == Usage(input_tokens=3, total_tokens=3)
    assert EMBEDDING_ITEMS.usage({}) == Usage()
    meta = {"billed_units": {"input_tokens": 2}}
    assert RERANK_ITEMS.usage({"meta": meta}) == Usage(input_tokens=2, total_tokens=2)
