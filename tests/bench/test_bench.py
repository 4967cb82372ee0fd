"""The benchmark's arithmetic, and the page that it writes."""
# ruff: noqa: RUF001 - the dashes and crosses of the page are meant

import json

from bench.contenders import GROUPS, names
from bench.figures import Result, Round, ratio, verdict
from bench.processes import Memory
from bench.report import KEPT_BELOW, Installed, OpenStreams, Report, Row, save
from bench.requests import chat, completions, messages, responses
from bench.servers import PROVIDERS
from bench.tables import Table


def _result(name, *cpu_seconds, **fields):
    return Result(name, tuple(Round(100, 1000, seconds, 2.0, **fields) for seconds in cpu_seconds))


def _report(*rows, **fields):
    return Report(
        "2030-01-02", [("processor", "2 cores of some kind")], ["Fairly."], rows=list(rows), **fields
    )


def _cells(page, label):
    """The cells of the first table line that begins with `label`."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {label} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_cpu_is_counted_for_each_unit():
    """CPU time is divided by frames where frames are what is counted."""
    one = Round(requests=5, units=1000, cpu_seconds=0.02, wall_seconds=2.0)

    assert (round(one.cpu_us, 6), one.rate, one.busy) == (20.0, 500.0, 0.01)


def test_a_ratio_is_one_of_medians_with_the_range_of_single_rounds():
    """One round that was disturbed widens the range and leaves the ratio alone."""
    compared = ratio(_result("own", 0.03, 0.09, 0.03), _result("nginx", 0.02, 0.02, 0.01))

    assert tuple(round(value, 6) for value in (compared.value, compared.lowest, compared.highest)) == (
        1.5,
        1.5,
        4.5,
    )


def test_a_budget_is_met_by_the_figure_that_is_shown():
    """What reads 1.50 is within 1.5; what reads 1.51 is not; without a budget there is no verdict."""
    assert (verdict(1.5049, 1.5), verdict(1.506, 1.5), verdict(9.0, None)) == ("yes", "**no**", "–")


def test_a_row_shows_both_figures_the_ratio_the_budget_and_the_verdict():
    """A reader can divide one column by the other and come to the same ratio."""
    row = Row("exact hit", 1.0, "request", _result("hit", 0.03), _result("nginx", 0.02), "proxy_cache hit")
    page = _report(row).render()

    assert _cells(page, "exact hit") == [
        "exact hit",
        "request",
        "20.0",
        "30.0",
        "1.50",
        "1.50–1.50",
        "1 ×",
        "**no**",
    ]


def test_a_row_without_a_reference_keeps_its_own_figure():
    """Without nginx the figures are printed, and nothing is said about budgets."""
    row = Row("exact hit", 1.0, "request", _result("hit", 0.03), None)
    page = _report(row).render()

    assert _cells(page, "exact hit") == ["exact hit", "request", "–", "30.0", "–", "–", "1 ×", "–"]


def test_pairs_of_dialects_have_a_table_of_their_own():
    """Client and upstream stand beside the figures, and in no other table."""
    own, nginx = _result("pair", 0.03), _result("nginx", 0.02)
    page = _report(Row("", None, "frame", own, nginx, "frames", ("messages", "gemini"))).render()

    assert _cells(page, "messages") == ["messages", "gemini", "20.0", "30.0", "1.50", "1.50–1.50"]
    assert "## CPU\n" not in page


def test_latencies_are_medians_beside_their_ratio():
    """Each percentile is compared with the same percentile of the reference."""
    own = _result("hit", 0.03, percentiles_ms=(2.0, 3.0, 4.0))
    reference = _result("nginx", 0.02, percentiles_ms=(1.0, 1.0, 2.0))
    page = _report(Row("exact hit", 1.0, "request", own, reference, "proxy_cache hit")).render()
    line = next(line for line in page.splitlines() if line.startswith("| Antiphon | exact hit"))

    assert [cell.strip() for cell in line.split("|")[4:7]] == [
        "2.00 (2.00 ×)",
        "3.00 (3.00 ×)",
        "4.00 (2.00 ×)",
    ]


def test_memory_is_held_against_its_budgets():
    """Idle and additional memory are judged by RSS, streams by the longest silence."""
    idle, many = Memory(20_000_000, 61_000_000), Memory(90_000_000, 150_000_000)
    nginx = OpenStreams("nginx", 1000, Memory(1_000_000, 2_000_000), Memory(3_000_000, 4_000_000), 0.05, 0.05)
    page = _report(streams=[nginx, OpenStreams("Antiphon", 1000, idle, many, 0.1, 0.05)]).render()

    assert _cells(page, "met") == ["met", "", "**no**", "", "", "yes", "yes"]


def test_start_and_install_are_held_against_their_budgets():
    """The median start counts, and packages and size each have a budget of their own."""
    page = _report(
        starts={"Antiphon": [0.5, 3.0, 0.6], "nginx": [0.1, 0.1, 0.1]}, installed=Installed(21, 40_000_000)
    ).render()

    assert [
        _cells(page, label)[-1]
        for label in (
            "from exec to the first answer, s",
            "packages of a fresh install",
            "size of a fresh install, MB",
        )
    ] == ["yes", "**no**", "yes"]


def test_what_was_not_measured_is_named():
    """A page never passes over what is missing."""
    assert "## Not measured\n\n- Ratios: no nginx." in _report(missing=["Ratios: no nginx."]).render()


def test_a_new_page_keeps_what_was_written_by_hand(tmp_path):
    """Profiles and remarks below the mark outlive the next run; figures above it do not."""
    path = tmp_path / "docs" / "benchmarks.md"
    save(path, "# First\n")
    path.write_text(path.read_text() + "\n## Why the second budget is missed\n")
    save(path, "# Second\n")

    assert f"# Second\n\n{KEPT_BELOW}\n\n## Why the second budget is missed\n" == path.read_text()


def test_every_contender_has_a_reference_in_its_own_group():
    """Ratios compare what ran in the same rounds."""
    for make in GROUPS.values():
        contenders = make().contenders
        known = {each.name for each in contenders if each.server == "nginx"}

        assert {each.reference for each in contenders if each.server != "nginx"} <= known


def test_every_pair_that_is_translated_has_a_row():
    """A dialect that passes unchanged to its own kind of provider has none, and who is never asked so neither."""
    pairs = [each.pair for each in GROUPS["pairs"]().contenders if each.server != "nginx"]

    assert {client: [up for one, up in pairs if one == client] for client, _ in pairs} == {
        "responses": ["chat", "messages", "gemini", "ollama"],
        "chat": ["messages", "gemini", "ollama"],
        "messages": ["responses", "chat", "gemini", "ollama"],
        "completions": ["messages", "gemini"],
    }
    assert {up for _, up in pairs} == set(PROVIDERS)


def test_contenders_are_told_apart_by_name():
    """`--profile NAME` means one of them."""
    assert len(names()) == len(set(names()))


def test_requests_are_alike_in_size_and_differ_by_their_serial_number():
    """About 1 KB in each dialect, and two serial numbers make two prompts of one length."""
    bodies = [
        ask(stream=stream) for ask in (chat, responses, messages, completions) for stream in (False, True)
    ]
    for body in bodies:
        one, other = body.text(1), body.text(2)

        assert 900 <= len(one) == len(other) <= 1024
        assert json.loads(one) != json.loads(other)


def test_figures_are_shown_with_each_store_that_they_were_measured_with():
    """A median of rounds with its range, and a dash where a storage was not there."""
    table = Table("Background answers", "Whole requests.")
    for value in (900.0, 1100.0, 1000.4):
        table.note("SQLite", "accepted", "/s", value)
    table.note("PostgreSQL", "accepted", "/s", 12.34)
    table.note("SQLite", "memory", "MB", 1.234)
    page = _report(tables=[table, Table("Never measured", "")]).render()

    assert "Never measured" not in page
    assert _cells(page, "accepted") == ["accepted", "/s", "1,000 (900–1,100)", "12.3"]
    assert _cells(page, "memory") == ["memory", "MB", "1.23", "–"]
