"""What the metrics page says."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon.gateway.metrics import MODEL_LIMIT, OTHER, Gauge, Metrics, render
from usage_rows import ROW

HIT = ROW._replace(cache="hit", cost=None, cost_saved=0.25, first_byte_us=100, last_byte_us=100)


def samples(page):
    """Every sample of a page by name and labels; labels that do not matter here are left out."""
    return {
        (
            sample.name,
            *(value for name, value in sorted(sample.labels.items()) if name != "provider"),
        ): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def page_of(*rows, others=(), gauges=()):
    metrics = Metrics(lambda: gauges)
    metrics.observe(rows)
    return samples(metrics.render(others))


def test_turns_are_counted_by_status_and_cache_result():
    """Each row counts once, under its own labels."""
    page = page_of(ROW, ROW, HIT, ROW._replace(status=502, error="upstream_error", first_byte_us=None))
    assert page["antiphon_requests_total", "miss", "responses", "gpt-5", "200"] == 2
    assert page["antiphon_requests_total", "hit", "responses", "gpt-5", "200"] == 1
    assert page["antiphon_requests_total", "miss", "responses", "gpt-5", "502"] == 1


def test_tokens_are_counted_by_kind():
    """Every kind that was used has a sample; those of hits are the recorded ones, and saved."""
    page = page_of(ROW, HIT, HIT, ROW._replace(cache="collapsed"))
    kinds = {
        "input": 100,
        "output": 20,
        "cached": 30,
        "cache_write": 4,
        "reasoning": 5,
        "audio_input": 6,
        "audio_output": 7,
    }
    assert {kind: page["antiphon_tokens_total", "miss", kind, "gpt-5"] for kind in kinds} == kinds
    assert page["antiphon_tokens_total", "hit", "input", "gpt-5"] == 200
    assert {kind: page["antiphon_saved_tokens_total", kind, "gpt-5"] for kind in kinds} == {
        kind: 3 * count for kind, count in kinds.items()
    }


def test_a_miss_saves_nothing():
    """Answers that an upstream was asked for are not in the saved tokens."""
    assert not [key for key in page_of(ROW) if key[0] == "antiphon_saved_tokens_total"]


def test_costs_are_summed_where_they_are_known():
    """An unknown cost adds nothing."""
    page = page_of(ROW, ROW, HIT, ROW._replace(cost=None))
    assert page["antiphon_cost_usd_total", "gpt-5"] == 0.5
    assert page["antiphon_saved_usd_total", "gpt-5"] == 0.25


def test_times_are_histograms():
    """A time on a bound is inside it; statuses share a histogram; no first byte, no time to it."""
    page = page_of(ROW, HIT, ROW._replace(status=504, first_byte_us=None, last_byte_us=999_000_000))
    first = ("antiphon_first_byte_seconds_bucket", "miss", "responses")
    assert page[(*first, "0.001", "gpt-5")] == 0
    assert page[(*first, "0.0025", "gpt-5")] == 1
    assert page[(*first, "+Inf", "gpt-5")] == 1
    assert page["antiphon_first_byte_seconds_bucket", "hit", "responses", "0.0001", "gpt-5"] == 1
    assert page["antiphon_first_byte_seconds_sum", "miss", "responses", "gpt-5"] == 0.0015
    whole = ("antiphon_request_seconds_bucket", "miss", "responses")
    assert page[(*whole, "2.5", "gpt-5")] == 1
    assert page[(*whole, "300.0", "gpt-5")] == 1
    assert page[(*whole, "+Inf", "gpt-5")] == 2
    assert page["antiphon_request_seconds_count", "miss", "responses", "gpt-5"] == 2


def test_workers_are_added_up():
    """The page of several workers is that of one worker that has seen every row."""
    one, two = Metrics(), Metrics()
    one.observe([ROW, HIT])
    two.observe([ROW, ROW._replace(model="gpt-4o")])
    together = page_of(ROW, HIT, ROW, ROW._replace(model="gpt-4o"))
    assert samples(render([one.snapshot(), two.snapshot()])) == together
    assert samples(one.render([two.snapshot()])) == together


def test_gauges_are_asked_for_when_somebody_looks():
    """What differs by worker is added up, what they share is not."""
    live = Gauge("live_streams", "Streams that are open.", 3.0)
    stored = Gauge("cache_entries", "Entries.", 7.0, {"level": "storage"}, across="max")
    depth = Gauge("queue_depth", "Rows that wait.", 1.0, {"queue": "ledger"})
    other = Metrics(lambda: [live, stored])
    page = page_of(others=[other.snapshot()], gauges=[live, stored, depth])
    assert page == {
        ("antiphon_live_streams",): 6,
        ("antiphon_cache_entries", "storage"): 7,
        ("antiphon_queue_depth", "ledger"): 1,
    }


def test_model_names_are_bounded():
    """Clients may send any number of names, in one worker or spread over several."""
    rows = [ROW._replace(model=f"model-{n}") for n in range(MODEL_LIMIT + 50)]
    one, two = Metrics(), Metrics()
    one.observe(rows)
    two.observe([row._replace(model=row.model + "-b") for row in rows])
    page = samples(render([one.snapshot(), two.snapshot()]))
    models = {key[3] for key in page if key[0] == "antiphon_requests_total"}
    assert len(models) == MODEL_LIMIT + 1
    assert sum(value for key, value in page.items() if key[0] == "antiphon_requests_total") == 2 * len(rows)
    assert page["antiphon_requests_total", "miss", "responses", OTHER, "200"] == 50 + len(rows)


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a\nb", "é", '"} 1\nfake{a="b'])
def test_label_values_are_escaped(model):
    """A model name cannot write lines of its own."""
    page = page_of(ROW._replace(model=model))
    assert page["antiphon_requests_total", "miss", "responses", model, "200"] == 1


def test_names_that_cannot_be_shown_do_not_break_the_page():
    """Half a surrogate pair is replaced, a name without end is counted as other."""
    page = page_of(ROW._replace(model="a\ud800b"), ROW._replace(model="x" * 10_000))
    assert page["antiphon_requests_total", "miss", "responses", "a?b", "200"] == 1
    assert page["antiphon_requests_total", "miss", "responses", OTHER, "200"] == 1


def test_an_idle_gateway_has_a_page():
    """Nothing counted yet is not an error."""
    assert page_of() == {}
