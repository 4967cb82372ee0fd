import re
import tomllib
from collections import Counter

import pytest

from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from docs import answered, carrying, feature, provider_tables
from docs.page import BY_NAME, PAGES, ROOT
from docs.reference import PAGE, page_with_reference

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WRITTEN_ELSEWHERE = {"docs/benchmarks.md"}


def anchors(text):
    """The anchors of a page's headings, as they are made from them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def requirement_names(requirements):
    return [re.split(r"[\[<>=]", requirement)[0] for requirement in requirements]


@pytest.mark.parametrize("name", BY_NAME)
def test_links_between_pages_lead_somewhere(name):
    """Files exist, and headings too."""
    page = BY_NAME[name]
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if str(file.relative_to(ROOT)) in WRITTEN_ELSEWHERE:
            continue
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("name", BY_NAME)
def test_no_path_of_a_machine_is_named(name):
    """What is written here is true everywhere."""
    assert re.findall(r"(?<![\w.])/(?:home|root|work|Users|mnt)/\S*", BY_NAME[name].read_text()) == []


def test_the_reference_of_settings_is_that_of_the_code():
    """Run `python tests/docs/reference.py` when this fails."""
    page = PAGE.read_text()

    assert page_with_reference(page) == page


def test_the_tables_of_dialects_are_what_the_translators_do():
    """Run `python tests/docs/carrying.py` when this fails; it also fails where something is lost without a reason."""
    page = carrying.PAGE.read_text()

    assert carrying.page_with_tables(page) == page


def test_the_tables_of_providers_are_those_of_the_code():
    """Run `python tests/docs/provider_tables.py` when this fails."""
    page = provider_tables.PAGE.read_text()

    assert provider_tables.page_with_tables(page) == page


def test_every_dialect_has_its_samples():
    """A new one is a new column, and a new pair of tables."""
    assert set(CLIENTS) == set(feature.BASES) == set(answered.NEXT)
    assert set(UPSTREAMS) == set(carrying.ASKED) == set(answered.PROVIDER)


def test_the_readme_gives_a_reason_for_each_dependency():
    """The tables name what pyproject.toml names, in the same order."""
    expected = requirement_names(PROJECT["project"]["dependencies"])
    for extra in ("demo", "postgres", "redis", "tokens", "semantic"):
        expected += requirement_names(PROJECT["project"]["optional-dependencies"][extra])
    section = BY_NAME["README.md"].read_text().partition("## Dependencies")[2].partition("\n## ")[0]

    assert expected == re.findall(r"^\| `([\w-]+)` \| \w", section, re.MULTILINE)


def test_the_readme_names_every_make_target():
    """What a developer can do is said where a developer looks."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    readme = BY_NAME["README.md"].read_text()

    assert [target for target in targets if f"make {target}" not in readme] == []


def test_the_picture_has_the_layers_that_are_enforced():
    """The same packages in the same order, and no other."""
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    picture = BY_NAME["architecture.md"].read_text().partition("```text\n")[2].partition("```")[0]
    drawn = [re.findall(r"[a-z]+", line.split("  ")[0]) for line in picture.splitlines()]

    assert [layer.split(" | ") for layer in layers] == [names for names in drawn if names]


def test_every_package_is_on_the_page():
    """The page says of each package what it is for; the folders are those that there are."""
    page = BY_NAME["architecture.md"].read_text()
    folders = {path.parent.name for path in (ROOT / "src/antiphon").glob("*/__init__.py")}

    assert {name for name in folders if f"`{name}" not in page} == set()


def test_the_modules_that_the_pages_name_exist():
    """`engine/turns.py` and the like are found below src/antiphon."""
    named = Counter(
        path
        for page in PAGES
        for path in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*\.(?:py|sql))`", page.read_text())
    )

    assert [
        path for path in named if not any((ROOT / top / path).exists() for top in ("src/antiphon", "."))
    ] == []


def test_the_metrics_that_the_pages_name_exist():
    """`antiphon_…` is what `/metrics` says."""
    named = {name for page in PAGES for name in re.findall(r"\bantiphon_[a-z_]+\b", page.read_text())}
    source = "".join(path.read_text() for path in (ROOT / "src/antiphon").rglob("*.py"))
    made = [name.removeprefix("antiphon_").removesuffix("_total") for name in named - {"antiphon_cassette"}]

    assert [name for name in made if name not in source] == []
