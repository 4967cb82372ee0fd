"""The report: what was measured, as Markdown for a terminal and for docs/benchmarks.md."""
# ruff: noqa: RUF001 - the dashes and crosses of the report are meant

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.figures import Ratio, Result, median_range, ratio, verdict
from bench.processes import Memory
from bench.tables import Table

KEPT_BELOW = "<!-- Written by hand: `make bench` leaves everything below this line as it is. -->"
_MB = 1_000_000
_SILENCE_BUDGET = 1.0

# Design, section 4.
_IDLE_BUDGET_MB = 60.0
_START_BUDGET = 1.0
_INSTALL_BUDGET = (20, 60.0)
_STREAMS_BUDGET_MB = 100.0


@dataclass(frozen=True, slots=True)
class Row:
    """A contender measured against a reference."""

    label: str
    budget: float | None
    unit: str
    """What CPU is counted for: `request` or `frame`."""
    result: Result
    reference: Result | None
    reference_label: str = ""
    pair: tuple[str, str] | None = None
    """The dialects of client and upstream, where it stands in the table of pairs alone."""


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """Memory of a server idle, and with many streams open; how the streams went."""

    server: str
    streams: int
    idle: Memory
    open: Memory
    longest_silence: float
    usual_silence: float


@dataclass(frozen=True, slots=True)
class Installed:
    """A fresh install without extras."""

    packages: int
    bytes: int


@dataclass(slots=True)
class Report:
    """Everything that one run has measured."""

    date: str
    machine: Sequence[tuple[str, str]]
    method: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    streams: list[OpenStreams] = field(default_factory=list)
    starts: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from exec to the first answer, by server."""
    installed: Installed | None = None
    tables: list[Table] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What was not measured, and why."""

    def render(self) -> str:
        """Write the whole page."""
        parts = [
            "# Benchmarks",
            f"Measured on {self.date} by `make bench`, which wrote this page.",
            _table(("Machine", ""), self.machine),
            _READING,
        ]
        if self._paths:
            parts += ["## CPU", self._cpu()]
        if self._pairs:
            parts += ["## CPU per translated frame", _PAIRS, self._translated()]
        if self._paths:
            parts += ["## Throughput and latency", _LATENCY, self._throughput()]
        for table in self.tables:
            if table.rows:
                parts += [f"## {table.title}", table.explanation, _figures(table)]
        if self.streams:
            parts += ["## Memory", self._memory()]
        if self.starts or self.installed is not None:
            parts += ["## Start and install", self._start_and_install()]
        parts += ["## How it is measured", *(f"- {line}" for line in (*self.method, *self._observed()))]
        if self.missing:
            parts += ["## Not measured", *(f"- {line}" for line in self.missing)]
        return _joined(parts)

    def _observed(self) -> list[str]:
        """Say how the rounds themselves went."""
        results = [each for row in self.rows for each in (row.result, row.reference) if each is not None]
        rounds = [one for each in results for one in each.rounds]
        if not rounds:
            return []
        others = [one.others for one in rounds]
        told: list[str] = []
        used = f"{median(others):.0%} of the time in the median round and for {max(others):.0%} in the worst"
        told.append(
            f"Beside the server, its core was used for {used}; from a few percent on, something else was running "
            "on the machine."
        )
        reads = [one.frames_per_read for one in rounds if one.frames_per_read]
        if reads:
            together = f"{min(reads):.2f} to {max(reads):.2f} frames at a time"
            told.append(
                f"In paced streams the client read {together}; above 1 some had travelled together, and cost less."
            )
        return told

    @property
    def _paths(self) -> list[Row]:
        return [row for row in self.rows if row.pair is None]

    @property
    def _pairs(self) -> list[Row]:
        return [row for row in self.rows if row.pair is not None]

    def _cpu(self) -> str:
        head = ("Path", "of", "nginx µs", "Antiphon µs", "× nginx", "range", "budget", "met")
        return _table(head, [_cpu_cells(row) for row in self._paths])

    def _translated(self) -> str:
        head = ("Client", "Upstream", "nginx µs", "Antiphon µs", "× nginx", "range")
        return _table(head, [(*(row.pair or ()), *_cpu_cells(row)[2:6]) for row in self._pairs])

    def _throughput(self) -> str:
        head = ("", "Path", "per second", "p50 ms", "p90 ms", "p99 ms", "busy")
        cells: list[Sequence[str]] = []
        shown: set[str] = set()
        for row in self._paths:
            reference = row.reference
            if reference is not None and reference.name not in shown:
                shown.add(reference.name)
                cells.append(("nginx", row.reference_label, *_speed(reference, None, row.unit)))
            cells.append(("Antiphon", row.label, *_speed(row.result, reference, row.unit)))
        return _table(head, cells)

    def _memory(self) -> str:
        head = ("Server", "idle PSS", "idle RSS", "open PSS", "open RSS", "more (RSS)", "longest silence")
        by_name = {each.server: each for each in self.streams}
        cells: list[Sequence[str]] = [
            (
                each.server,
                _mb(each.idle.pss),
                _mb(each.idle.rss),
                _mb(each.open.pss),
                _mb(each.open.rss),
                _mb(each.open.rss - each.idle.rss),
                f"{each.longest_silence * 1000:.0f} ms",
            )
            for each in self.streams
        ]
        nginx, own = by_name.get("nginx"), by_name.get("Antiphon")
        if nginx is not None and own is not None:
            pairs = (
                (own.idle.pss, nginx.idle.pss),
                (own.idle.rss, nginx.idle.rss),
                (own.open.pss, nginx.open.pss),
                (own.open.rss, nginx.open.rss),
                (own.open.rss - own.idle.rss, nginx.open.rss - nginx.idle.rss),
                (own.longest_silence, nginx.longest_silence),
            )
            cells.append(("× nginx", *(_times(mine, other) for mine, other in pairs)))
        if own is not None:
            more = (own.open.rss - own.idle.rss) / _MB
            silent = own.longest_silence
            budgets = (
                "budget",
                "",
                f"{_IDLE_BUDGET_MB:g} MB",
                "",
                "",
                f"{_STREAMS_BUDGET_MB:g} MB",
                "no stall",
            )
            met = (
                "met",
                "",
                verdict(own.idle.rss / _MB, _IDLE_BUDGET_MB),
                "",
                "",
                verdict(more, _STREAMS_BUDGET_MB),
                verdict(silent, _SILENCE_BUDGET),
            )
            cells += [budgets, met]
        some = self.streams[0]
        told = (
            f"Idle: one worker that has answered one request. Open: {some.streams} streams, just before the "
            f"first of them ended; the upstream sends each a frame every {some.usual_silence * 1000:.0f} ms. All "
            "streams came to their end. The longest silence on any stream counts as a stall from "
            f"{_SILENCE_BUDGET:g} s on. PSS divides what processes share among them, RSS counts it in full (and "
            "for nginx once for each of its processes); the budgets are held against RSS, the larger figure."
        )
        return f"{told}\n\n{_table(head, cells)}"

    def _start_and_install(self) -> str:
        cells: list[Sequence[str]] = []
        own, nginx = self.starts.get("Antiphon"), self.starts.get("nginx")
        if own:
            cells.append(
                (
                    "from exec to the first answer, s",
                    median_range(nginx) if nginx else "–",
                    median_range(own),
                    _times(sum(own) / len(own), sum(nginx) / len(nginx)) if nginx else "–",
                    f"{_START_BUDGET:g}",
                    verdict(sorted(own)[len(own) // 2], _START_BUDGET),
                )
            )
        if self.installed is not None:
            packages, size = self.installed.packages, self.installed.bytes / _MB
            most_packages, most_size = _INSTALL_BUDGET
            cells += [
                (
                    "packages of a fresh install",
                    "–",
                    str(packages),
                    "–",
                    f"{most_packages}",
                    verdict(packages, most_packages),
                ),
                (
                    "size of a fresh install, MB",
                    "–",
                    f"{size:.1f}",
                    "–",
                    f"{most_size:g}",
                    verdict(size, most_size),
                ),
            ]
        told = (
            "The first answer is one to a chat completion that goes to the upstream. A fresh install is "
            "`pip install .` into a new virtualenv without extras, compiled files included, pip and setuptools "
            "not counted."
        )
        return f"{told}\n\n{_table(('', 'nginx', 'Antiphon', '× nginx', 'budget', 'met'), cells)}"


def save(path: Path, page: str) -> None:
    """Write the page, and leave what was written by hand below it."""
    kept = ""
    if path.exists():
        _, found, below = path.read_text().partition(KEPT_BELOW)
        kept = below if found else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{page.rstrip()}\n\n{KEPT_BELOW}\n\n{kept.strip()}".rstrip() + "\n")


def _cpu_cells(row: Row) -> Sequence[str]:
    own = f"{row.result.cpu_us:.1f}"
    label = row.label
    budget = "–" if row.budget is None else f"{row.budget:g} ×"
    if row.reference is None:
        return (label, row.unit, "–", own, "–", "–", budget, "–")
    compared: Ratio = ratio(row.result, row.reference)
    return (
        label,
        row.unit,
        f"{row.reference.cpu_us:.1f}",
        own,
        f"{compared.value:.2f}",
        f"{compared.lowest:.2f}–{compared.highest:.2f}",
        budget,
        verdict(compared.value, row.budget),
    )


def _speed(result: Result, reference: Result | None, unit: str) -> Sequence[str]:
    def shown(value: float, other: float | None, digits: int) -> str:
        text = f"{value:,.{digits}f}"
        return text if other is None else f"{text} ({value / other:.2f} ×)"

    rate = result.median(lambda one: one.rate)
    other_rate = None if reference is None else reference.median(lambda one: one.rate)
    own = result.percentiles_ms or ()
    others: Sequence[float | None] = (reference.percentiles_ms if reference else None) or (None, None, None)
    latencies = [shown(mine, other, 2) for mine, other in zip(own, others, strict=False)]
    busy = result.median(lambda one: one.busy)
    return (f"{shown(rate, other_rate, 0)} {unit}s", *(latencies or ("–", "–", "–")), f"{busy:.0%}")


def _mb(size: float) -> str:
    return f"{size / _MB:.1f} MB"


def _times(value: float, other: float) -> str:
    return f"{value / other:.1f} ×" if other > 0 else "–"


def _figures(table: Table) -> str:
    cases = table.cases
    lines = [
        (*named, *(_rounds(cells.get(case, [])) for case in cases)) for named, cells in table.rows.items()
    ]
    return _table(("", "unit", *cases), lines)


def _rounds(values: Sequence[float]) -> str:
    """Write a median with its range, with three figures that say something."""
    if not values:
        return "–"
    digits = 0 if median(values) >= 100 else 1 if median(values) >= 10 else 2
    told = [f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))]
    return told[0] if len(values) == 1 else f"{told[0]} ({told[1]}–{told[2]})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table that is also a table to the eye."""
    table = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _joined(parts: Sequence[str]) -> str:
    """Join paragraphs with blank lines, the points of a list without."""
    page = ""
    for part in parts:
        follows = part.startswith("- ") and page.rpartition("\n")[2].startswith("- ")
        page += ("\n" if follows else "\n\n") + part if page else part
    return page + "\n"


_READING = """\
CPU is user and system time of the server's processes, from `/proc`, divided by what was served. It is the figure \
to look at: it hardly depends on the load, while requests per second and latencies are those of one core kept \
busy by a few connections. `× nginx` compares the medians of interleaved rounds (A B C A B C …); the range is that of \
single rounds and shows how much the machine's own noise matters. Budgets are those of the design; they are goals, \
not limits in a test. Rows without a budget are there to compare."""
_PAIRS = """\
A stream of each dialect, translated for clients of each other; pairs that are missing pass unchanged, or no kind of \
provider is asked so. nginx passes on the frames of chat as they are."""

_LATENCY = """\
From the request to the whole answer, with all connections kept busy: mostly the time of waiting behind \
the others, so the inverse of the throughput. `busy` is the share of the server's core that was used, work done after the \
answer included; where it is below 90 %, throughput is bounded by the load or by the pace of the upstream, \
not by the server. Streams of live frames are paced by the upstream; their latency is the time to the first byte. In brackets: × nginx."""
