"""What `/metrics` says, in Prometheus' text form.

Nothing is counted while a request is served: the rows of the ledger are counted here in batches, one list of
numbers for each combination of labels. Workers hand each other snapshots, so that any of them can answer for all.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from antiphon.ports.ledger import SAVING, UsageRow

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds of the histograms in seconds: hits take fractions of a millisecond, reasoning takes minutes."""

MODEL_LIMIT: Final = 500
"""Model names that are told apart; clients may send any, so those that come later are counted as `other`."""

OTHER: Final = "other"

_LONGEST_NAME: Final = 128
_NONE: Final[Mapping[str, int]] = {}
_BOUNDS_US: Final = tuple(round(bound * 1_000_000) for bound in BOUNDS)
_BUCKETS: Final = len(BOUNDS) + 1

_Labels = tuple[str, str, str, int, str]
"""Provider, model, dialect, status, cache result."""

_Cell = list[float]
"""All numbers of one combination in one flat list: adding to a list is what Python does fastest."""

_KINDS: Final = ("input", "output", "cached", "cache_write", "reasoning", "audio_input", "audio_output")

# Places in a cell.
_REQUESTS: Final = 0
_TOKENS: Final = 1
_COST: Final = 8
_SAVED: Final = 9
_FIRST_SUM: Final = 10
_WHOLE_SUM: Final = 11
_FIRST: Final = 12
_WHOLE: Final = _FIRST + _BUCKETS
_PARTLY: Final = _WHOLE + _BUCKETS
"""Input tokens of answers of which only the rest was paid for."""
_END: Final = _PARTLY + 1


class Gauge(msgspec.Struct, frozen=True):
    """Something that is so much now, rather than so often until now."""

    name: str
    """With its unit, without the prefix `antiphon_`: `live_streams`, `cache_memory_bytes`."""
    help: str
    value: float
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    across: Literal["sum", "max", "min"] = "sum"
    """How the values of several workers make one: what they share is not to be added up."""


class Snapshot(msgspec.Struct, array_like=True):
    """What one worker has counted."""

    cells: list[tuple[_Labels, _Cell]]
    gauges: list[Gauge]


_MERGES: Final[dict[str, Callable[[tuple[float, float]], float]]] = {"sum": sum, "max": max, "min": min}
_SNAPSHOTS: Final = msgspec.msgpack.Decoder(Snapshot)


class Metrics:
    """The counts of one worker; `observe` belongs to one thread, `snapshot` and `render` to any."""

    def __init__(self, gauges: Callable[[], Iterable[Gauge]] = tuple) -> None:
        """Count from zero; `gauges` is asked whenever somebody looks."""
        self._gauges = gauges
        self._counts = _Counts()

    def observe(self, rows: Sequence[UsageRow], saved_tokens: Mapping[str, int] = _NONE) -> None:
        """Count rows, each of them once; of those named in `saved_tokens` also the input that was not paid for."""
        cells = self._counts.cells
        for row in rows:
            # fmt: off
            (
                id_, _time, _key, _project, _owner, _alias, provider, model, dialect, _route, _stream, status, cache,
                input_, output, _total, cached, cache_write, reasoning, audio_input, audio_output,
                cost, saved, first_us, whole_us, _error, _answer_id,
            ) = row
            # fmt: on
            labels = (provider, model, dialect, status, cache)
            cell = cells.get(labels) or self._counts.cell(labels)
            cell[_REQUESTS] += 1
            cell[_TOKENS] += input_
            cell[_TOKENS + 1] += output
            if cached:
                cell[_TOKENS + 2] += cached
            if cache_write:
                cell[_TOKENS + 3] += cache_write
            if reasoning:
                cell[_TOKENS + 4] += reasoning
            if audio_input or audio_output:
                cell[_TOKENS + 5] += audio_input
                cell[_TOKENS + 6] += audio_output
            if cost:
                cell[_COST] += cost
            if saved:
                cell[_SAVED] += saved
            if first_us is not None:
                cell[_FIRST_SUM] += first_us
                cell[_FIRST + bisect_left(_BOUNDS_US, first_us)] += 1
            cell[_WHOLE_SUM] += whole_us
            cell[_WHOLE + bisect_left(_BOUNDS_US, whole_us)] += 1
            if saved_tokens:
                cell[_PARTLY] += saved_tokens.get(id_, 0)

    def snapshot(self) -> bytes:
        """Hand over everything that was counted until now, and the gauges, for another worker to render."""
        return msgspec.msgpack.encode(Snapshot(list(self._counts.cells.items()), list(self._gauges())))

    def render(self, others: Sequence[bytes] = ()) -> bytes:
        """Write the page for this worker and the snapshots of the others."""
        return render([self.snapshot(), *others])


def render(snapshots: Sequence[bytes]) -> bytes:
    """Write the page for several workers as if they were one."""
    # The library is loaded when somebody first looks: it brings an HTTP server that nobody here needs.
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import Collector

    counts = _Counts()
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], Gauge] = {}
    for snapshot in map(_SNAPSHOTS.decode, snapshots):
        for labels, cell in snapshot.cells:
            counts.add(labels, cell)
        for gauge in snapshot.gauges:
            key = (gauge.name, tuple(sorted(gauge.labels.items())))
            gauges[key] = _merged(gauges[key], gauge) if key in gauges else gauge

    class Families(Collector):
        def collect(self) -> "Iterator[Metric]":
            yield from _counters(counts)
            yield from _histograms(counts)
            yield from _gauge_families(gauges.values())

    return generate_latest(Families())


class _Counts:
    """Cells by their labels, with a bound on the model names."""

    def __init__(self) -> None:
        self.cells: dict[_Labels, _Cell] = {}
        self._models: set[str] = {OTHER}

    def cell(self, labels: _Labels) -> _Cell:
        provider, model, dialect, status, cache = labels
        # JSON can bring halves of characters, which no page can show.
        model = model.encode(errors="replace").decode()
        if model not in self._models:
            if len(self._models) > MODEL_LIMIT or len(model) > _LONGEST_NAME:
                model = OTHER
            self._models.add(model)
        return self.cells.setdefault((provider, model, dialect, status, cache), [0] * _END)

    def add(self, labels: _Labels, numbers: _Cell) -> None:
        cell = self.cell(labels)
        # A worker of another release counts more or less than this one.
        cell[:] = [a + b for a, b in zip_longest(cell, numbers, fillvalue=0)][:_END]


def _merged(one: Gauge, other: Gauge) -> Gauge:
    values = one.value, other.value
    return msgspec.structs.replace(one, value=_MERGES[one.across](values))


def _counters(counts: _Counts) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import CounterMetricFamily

    requests = CounterMetricFamily(
        "antiphon_requests",
        "Turns, each counted when it was answered.",
        labels=("provider", "model", "dialect", "status", "cache"),
    )
    tokens: defaultdict[tuple[str, ...], float] = defaultdict(float)
    saved_tokens: defaultdict[tuple[str, ...], float] = defaultdict(float)
    cost: defaultdict[tuple[str, ...], float] = defaultdict(float)
    saved: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for (provider, model, dialect, status, cache), cell in counts.cells.items():
        requests.add_metric((provider, model, dialect, str(status), cache), cell[_REQUESTS])
        for place, kind in enumerate(_KINDS, _TOKENS):
            if cell[place]:
                tokens[provider, model, kind, cache] += cell[place]
                if cache in SAVING:
                    saved_tokens[provider, model, kind] += cell[place]
        if cell[_PARTLY]:
            saved_tokens[provider, model, "input"] += cell[_PARTLY]
        cost[provider, model] += cell[_COST]
        saved[provider, model] += cell[_SAVED]
    yield requests
    for name, help_, names, values in (
        (
            "antiphon_tokens",
            "Tokens of all answers; those of hits as recorded. input and output include the other kinds.",
            ("provider", "model", "kind", "cache"),
            tokens,
        ),
        (
            "antiphon_saved_tokens",
            "Tokens of answers for which no upstream was asked.",
            ("provider", "model", "kind"),
            saved_tokens,
        ),
        (
            "antiphon_cost_usd",
            "US dollars paid to upstreams, where prices are known.",
            ("provider", "model"),
            cost,
        ),
        (
            "antiphon_saved_usd",
            "US dollars not paid, because answers were recorded.",
            ("provider", "model"),
            saved,
        ),
    ):
        family = CounterMetricFamily(name, help_, labels=names)
        for labels, value in values.items():
            family.add_metric(labels, value)
        yield family


def _histograms(counts: _Counts) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import HistogramMetricFamily

    for name, help_, total, first in (
        (
            "antiphon_first_byte_seconds",
            "From the request to the first byte of its answer.",
            _FIRST_SUM,
            _FIRST,
        ),
        ("antiphon_request_seconds", "From the request to the last byte of its answer.", _WHOLE_SUM, _WHOLE),
    ):
        cells: defaultdict[tuple[str, ...], _Cell] = defaultdict(lambda: [0] * (_BUCKETS + 1))
        for (provider, model, dialect, _, cache), cell in counts.cells.items():
            merged = cells[provider, model, dialect, cache]
            numbers = [cell[total], *cell[first : first + _BUCKETS]]
            merged[:] = [a + b for a, b in zip(merged, numbers, strict=True)]
        family = HistogramMetricFamily(name, help_, labels=("provider", "model", "dialect", "cache"))
        for labels, (sum_us, *buckets) in cells.items():
            family.add_metric(labels, list(_cumulative(buckets)), sum_us / 1_000_000)
        yield family


def _cumulative(buckets: Sequence[float]) -> Iterator[tuple[str, float]]:
    count = 0.0
    for bound, number in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        count += number
        yield bound, count


def _gauge_families(gauges: Iterable[Gauge]) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import GaugeMetricFamily

    families: dict[str, tuple[GaugeMetricFamily, tuple[str, ...]]] = {}
    for gauge in gauges:
        if gauge.name not in families:
            names = tuple(gauge.labels)
            families[gauge.name] = (
                GaugeMetricFamily(f"antiphon_{gauge.name}", gauge.help, labels=names),
                names,
            )
        family, names = families[gauge.name]
        family.add_metric([gauge.labels.get(name, "") for name in names], gauge.value)
    for family, _ in families.values():
        yield family
