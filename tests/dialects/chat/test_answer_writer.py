"""Answers of any upstream, written as chunks of Chat Completions."""

import json
from typing import Any

from antiphon.dialects.chat.answer_writer import ChatAnswerWriter
from antiphon.turn.making import EventMaker
from antiphon.wire.objects import read_chunks
from official_library import chat_snapshot
from translated import telling

USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def maker() -> EventMaker:
    told = telling("chat")
    begun = EventMaker(told.response, told.make_id)
    begun.begin()
    return begun


def written(made: EventMaker) -> list[bytes]:
    made.finish("completed", usage=USAGE, completed_at=1)
    return ChatAnswerWriter(telling("chat")).feed(made.drain())


def deltas(frames: list[bytes]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in read_chunks(frames) for choice in chunk["choices"]]


def citation(url: str, start: int, end: int) -> dict[str, Any]:
    return {"type": "url_citation", "url": url, "title": "", "start_index": start, "end_index": end}


def test_sources_come_in_one_delta_at_the_end():
    """openai-python raises at a second delta of a list without places, openai-node forgets the first."""
    made = maker()
    made.text("Sunny")
    for url in ("https://a", "https://b"):
        made.annotate(citation(url, 0, 5))
    frames = written(made)

    annotations = [
        {"type": "url_citation", "url_citation": {"url": url, "title": "", "start_index": 0, "end_index": 5}}
        for url in ("https://a", "https://b")
    ]
    assert deltas(frames)[1:] == [{"content": "Sunny"}, {"annotations": annotations}, {}]
    assert chat_snapshot(frames)["choices"][0]["message"]["annotations"] == annotations


def test_places_are_counted_in_the_whole_content():
    """It is the texts of all parts and messages, one after the other."""
    made = maker()
    made.text("Wet. ")
    made.next_part()
    made.text("Sunny")
    made.annotate(citation("https://a", 0, 5))
    made.item({"type": "web_search_call", "status": "completed", "action": {"type": "search"}})
    made.text(" Warm")
    made.annotate({"type": "file_citation", "file_id": "f", "filename": "a", "index": 5})

    *_, told, _ = deltas(written(made))
    first, second = told["annotations"]
    assert (first["url_citation"]["start_index"], first["url_citation"]["end_index"]) == (5, 10)
    assert second["file_citation"]["index"] == 15


def test_what_must_be_given_back_comes_in_one_delta_at_the_end():
    """From all reasoning items of the answer, and each names its own."""
    made = maker()
    for sealed in ("A", "B"):
        made.reasoning("Hm")
        made.seal(sealed)
        made.close_item()
    frames = written(made)

    told = deltas(frames)
    details = [
        {"type": "reasoning.encrypted", "id": f"rs_{place}", "data": sealed}
        for place, sealed in enumerate(("A", "B"))
    ]
    assert told[1:] == [{"reasoning_content": "Hm"}] * 2 + [{"reasoning_details": details}, {}]
    message = chat_snapshot(frames)["choices"][0]["message"]
    assert json.dumps(message["reasoning_details"]) == json.dumps(details)
