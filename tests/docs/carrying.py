"""Writes the tables of `docs/dialects.md`: `python tests/docs/carrying.py`.

Nothing on them is claimed. Each request sample is read and written as the gateway does it, and what the upstream is
told is compared with what it is told without the feature; each answer sample is translated, and looked for in what
the client gets.
"""

import base64
import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script: the tests' own modules

from antiphon.dialects.files import unreachable_files
from antiphon.dialects.providers import PROVIDERS
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.translation import Download
from antiphon.engine.source import Source
from antiphon.engine.translating import Translating
from antiphon.settings import Provider
from antiphon.wire.errors import ClientFault
from antiphon.wire.sealing import Sealer
from docs.answer_features import ANSWERS
from docs.answered import Answered, answer_of, find_again
from docs.feature import BASES, MARK, Feature
from docs.features import FEATURES

PAGE = Path(__file__).resolve().parents[2] / "docs/dialects.md"
BEGIN = "<!-- written by tests/docs/carrying.py -->\n"
END = "<!-- end -->\n"

NAMES = {
    "responses": "Responses",
    "chat": "Chat completions",
    "messages": "Anthropic Messages",
    "completions": "Text completions",
    "gemini": "Gemini",
    "ollama": "Ollama",
}
ASKED = {
    "responses": ("openai", "gpt-5.2"),
    "chat": ("openai-chat", "llama-3.1-8b"),
    "messages": ("anthropic", "claude-sonnet-4-6"),
    "gemini": ("gemini", "gemini-3-pro"),
    "ollama": ("ollama", "llama3.2"),
    "completions": ("openai-completions", "davinci"),
}
"""Who is asked in each dialect: the provider type, and a model that can do most."""
SAME = "="
LEFT_OUT = "-"
FETCHED = base64.b64decode(MARK)
"""What a fetched file holds: as base64 it is the mark."""


@dataclass(frozen=True)
class Cell:
    """What becomes of a feature at one upstream."""

    text: str
    is_left_out: bool = False
    note: str = ""


def page_with_tables(page: str) -> str:
    """The page with its tables written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(tables()) + "\n" + END + after


def tables() -> Iterator[str]:
    for client in CLIENTS:
        yield f"## {NAMES[client]}: what the upstream is told\n"
        asked = [row for row in FEATURES if client in row.samples]
        yield from table([(row.name, row.left_out, request_cells(row, client)) for row in asked])
        yield f"## {NAMES[client]}: what the client gets\n"
        told = [row for row in ANSWERS if client in (row.clients or CLIENTS)]
        yield from table([(row.name, row.missing, answer_cells(row, client)) for row in told])


def table(rows: list[tuple[str, str, dict[str, Cell]]]) -> Iterator[str]:
    notes: list[str] = []
    yield "| | " + " | ".join(NAMES[upstream] for upstream in UPSTREAMS) + " |"
    yield "|---" * (len(UPSTREAMS) + 1) + "|"
    for name, why, cells in rows:
        mark = ""
        if any(cell.is_left_out for cell in cells.values()):
            assert why, f"{name} is lost, and nothing says why that does not matter"
            if why not in notes:
                notes.append(why)
            mark = f" ({notes.index(why) + 1})"
        yield f"| {name}{mark} | " + " | ".join(cells[upstream].text for upstream in UPSTREAMS) + " |"
    yield ""
    for number, why in enumerate(notes, 1):
        yield f"{number}. {why[:1].upper()}{why[1:]}."
    if notes:
        yield ""


# Requests.


def request_cells(feature: Feature, client: str) -> dict[str, Cell]:
    return {
        upstream: Cell(SAME) if upstream == client else request_cell(feature, client, upstream)
        for upstream in UPSTREAMS
    }


def request_cell(feature: Feature, client: str, upstream: str) -> Cell:
    plain = BASES[client] | feature.beside.get(client, {})
    try:
        body, fetched = written(plain | feature.samples[client], client, upstream)
        before = written_before(plain, client, upstream)
    except ClientFault as fault:
        if fault.status != 400:
            raise
        return Cell(f"400 `{fault.param}`")
    compact = json.dumps(body, separators=(",", ":"))
    how = next((said for pattern, said in feature.forms if re.search(pattern, compact)), "")
    if feature.marked:
        known = places_of(before, MARK)
        places = [place for place in places_of(body, MARK) if place not in known]
    else:
        places = differences(before, body)
    if not places and not how:
        return Cell(LEFT_OUT, is_left_out=True)
    told = ", ".join(f"`{place}`" for place in places[:2])
    return Cell("; ".join(filter(None, [how, "fetched" if fetched else "", told])))


def written_before(plain: dict[str, Any], client: str, upstream: str) -> Any:
    """What the upstream is sent without the feature; where that is refused, without what is beside it too."""
    try:
        return written(plain, client, upstream)[0]
    except ClientFault:
        return written(BASES[client], client, upstream)[0]


def written(
    body: dict[str, Any],
    client: str,
    upstream: str,
    *,
    asked: tuple[str, str] | None = None,
    stream: bool = False,
) -> tuple[Any, bool]:
    """What the upstream is sent for a client's request, and whether files were fetched for it.

    `asked` are the provider's type and the model, where they are not the usual ones.
    """
    kind, model = asked or ASKED[upstream]
    request = CLIENTS[client].read(json.loads(json.dumps(body)))
    source = Source("p", Provider(type=kind, base_url="http://upstream.example"), upstream=None)  # type: ignore[arg-type]
    files = unreachable_files(request, source.profile)
    fetched = {
        file.url: Download("image/png" if file.kind == "image" else "application/pdf", FETCHED)
        for file in files
    }
    asking = TRANSLATING.asking(source, model, request, "nobody", stream=stream, downloads=fetched)
    return json.loads(json.dumps(UPSTREAMS[upstream].write(request, asking))), bool(files)


TRANSLATING = Translating(
    sealer=Sealer([b"a secret"], itertools.repeat(b"n" * 24).__next__),
    downloader=None,  # type: ignore[arg-type]
    tasks=None,  # type: ignore[arg-type]
    now=lambda: 0.0,
)


def places_of(value: Any, mark: str, path: str = "") -> list[str]:
    """Where strings, or names of members, hold the mark: paths without numbers, each once, in order."""
    found: list[str] = []
    match value:
        case str() if mark in value:
            found.append(path)
        case list():
            found += [place for each in value for place in places_of(each, mark, f"{path}[]")]
        case dict():
            for name, inner in value.items():
                if mark in name:
                    found.append(path)
                else:
                    found += places_of(inner, mark, f"{path}.{name}" if path else name)
    return list(dict.fromkeys(found))


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two values differ: paths without numbers, as deep as both have them, each once."""
    if before == after:
        return []
    found: list[str] = []
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*after, *before]):
            place = f"{path}.{name}" if path else name
            if name in before and name in after:
                found += differences(before[name], after[name], place)
            else:
                found.append(inmost(after.get(name), place))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for old, new in zip(before, after, strict=True):
            found += differences(old, new, f"{path}[]")
    else:
        found = [path]
    return list(dict.fromkeys(found))


def inmost(value: Any, path: str) -> str:
    """The path of what an object holds, as far as it holds one thing."""
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        path += f".{name}"
    return path


# Answers.


def answer_cells(answered: Answered, client: str) -> dict[str, Cell]:
    return {
        upstream: Cell(SAME) if upstream == client else answer_cell(answered, client, upstream)
        for upstream in UPSTREAMS
    }


def answer_cell(answered: Answered, client: str, upstream: str) -> Cell:
    if upstream not in answered.samples:
        return Cell("")  # the upstream never says such a thing
    answer = answer_of(answered, client, upstream)
    places = find_again(answered, answer)
    if not places:
        return Cell(LEFT_OUT, is_left_out=True)
    return Cell(", ".join(f"`{place}`" for place in places[:2]))


if __name__ == "__main__":
    assert set(ASKED) == set(UPSTREAMS)
    assert set(BASES) == set(CLIENTS)
    assert {kind for kind, _ in ASKED.values()} <= set(PROVIDERS)
    PAGE.write_text(page_with_tables(PAGE.read_text()))
