"""Sources that an answer names by number: Perplexity lists them beside the answer, whose text says `[1]`.

Each mark in the text becomes a citation of its source; sources without a mark are cited where the text ends, so
that none is lost.
"""

import re
from typing import Any, Final

from antiphon.turn.events import Item
from antiphon.wire.objects import JsonObject

_MARK: Final = re.compile(r"\[(\d{1,3})\]")


def read_sources(chunk: JsonObject) -> list[Item]:
    """Return what a chunk lists as `search_results`, or as `citations`, which are URLs alone."""
    results = chunk.get("search_results")
    if isinstance(results, list) and results:
        return [_source(each.get("url"), each.get("title")) for each in results if isinstance(each, dict)]
    urls = chunk.get("citations")
    return [_source(url, None) for url in urls] if isinstance(urls, list) else []


def _source(url: Any, title: Any) -> Item:
    return {"type": "url_citation", "url": str(url or ""), "title": str(title or "")}


def cited(text: str, sources: list[Item]) -> list[Item]:
    """Return the citations of `text`, in its order; a source without an address only keeps its number."""
    found = []
    unmarked = set(range(len(sources)))
    for mark in _MARK.finditer(text):
        place = int(mark[1]) - 1
        if 0 <= place < len(sources):
            found.append({**sources[place], "start_index": mark.start(), "end_index": mark.end()})
            unmarked.discard(place)
    end = {"start_index": len(text), "end_index": len(text)}
    found += [{**sources[place], **end} for place in sorted(unmarked)]
    return [citation for citation in found if citation["url"]]
