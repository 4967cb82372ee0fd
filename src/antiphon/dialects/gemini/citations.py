"""Where an answer of Gemini comes from: web searches and the sources of passages, as the hub has them.

Gemini counts places in bytes of UTF-8, from the beginning of the answer's text; annotations count characters from
the beginning of their part. A passage that Gemini quotes is looked for where the bytes do not lead to it.
"""

from collections.abc import Iterator
from typing import Any

from antiphon.turn.events import Item
from antiphon.wire.objects import JsonObject


def searched(grounding: JsonObject) -> Item | None:
    """Return the `web_search_call` that grounding tells of, without an id; None where nothing was searched."""
    queries = [query for query in _list(grounding, "webSearchQueries") if isinstance(query, str)]
    if not queries:
        return None
    sources = [{"type": "url", "url": source["url"]} for source in _sources(grounding) if source is not None]
    return {
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": queries[0], "queries": queries, "sources": sources},
    }


def cited(candidate: JsonObject, text: str, before: int) -> Iterator[Item]:
    """Yield the annotations of `text`, the open part; `before` it there were so many bytes of other text."""
    grounding = candidate.get("groundingMetadata")
    if isinstance(grounding, dict) and grounding.get("groundingSupports"):
        sources = _sources(grounding)
        for support in _objects(grounding, "groundingSupports"):
            place = _place(support.get("segment"), text, before)
            for index in _list(support, "groundingChunkIndices"):
                source = sources[index] if isinstance(index, int) and 0 <= index < len(sources) else None
                if source is not None:
                    yield {"type": "url_citation", **source, **place}
    citations = candidate.get("citationMetadata")
    if isinstance(citations, dict):
        for each in _objects(citations, "citationSources") + _objects(citations, "citations"):
            if isinstance(each.get("uri"), str):
                source = _source(each["uri"], each.get("title"))
                yield {"type": "url_citation", **source, **_place(each, text, before)}


def _sources(grounding: JsonObject) -> list[Item | None]:
    """Return what each chunk is from; None keeps the place of one without an address."""
    sources: list[Item | None] = []
    for chunk in _list(grounding, "groundingChunks"):
        found = None
        for kind in ("web", "retrievedContext", "maps"):
            origin = chunk.get(kind) if isinstance(chunk, dict) else None
            if isinstance(origin, dict) and isinstance(origin.get("uri"), str):
                found = _source(origin["uri"], origin.get("title"))
        sources.append(found)
    return sources


def _source(url: str, title: Any) -> Item:
    return {"url": url, "title": title if isinstance(title, str) else ""}


def _place(segment: Any, text: str, before: int) -> Item:
    segment = segment if isinstance(segment, dict) else {}
    data = text.encode("utf-8", "surrogatepass")
    start, end = (
        len(data[: max(0, _int(segment, name) - before)].decode("utf-8", "ignore"))
        for name in ("startIndex", "endIndex")
    )
    quoted = segment.get("text")
    if isinstance(quoted, str) and text[start:end] != quoted:
        found = text.find(quoted)
        start, end = (found, found + len(quoted)) if found >= 0 else (len(text), len(text))
    return {"start_index": start, "end_index": max(start, end)}


def _int(holder: JsonObject, member: str) -> int:
    value = holder.get(member)
    return value if isinstance(value, int) else 0


def _list(holder: JsonObject, member: str) -> list[Any]:
    value = holder.get(member)
    return value if isinstance(value, list) else []


def _objects(holder: JsonObject, member: str) -> list[JsonObject]:
    return [value for value in _list(holder, member) if isinstance(value, dict)]
