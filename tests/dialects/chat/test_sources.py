"""Sources that Perplexity lists beside an answer become citations of its text."""

import json

import pytest

from antiphon.dialects.chat.sources import cited, read_sources
from antiphon.turn.grammar import violations
from recorded import exchanges, needs_recordings
from translated import read_answer, read_recording, telling, whole

A, B = ({"type": "url_citation", "url": url, "title": ""} for url in ("https://a", "https://b"))


def test_marks_are_cited_where_they_stand():
    """In the order of the text; a number without a source is text."""
    assert cited("x [2] y [1][9]", [A, B]) == [
        {**B, "start_index": 2, "end_index": 5},
        {**A, "start_index": 8, "end_index": 11},
    ]


def test_what_has_no_mark_is_cited_at_the_end():
    """So that no source is lost."""
    assert cited("xy", [A]) == [{**A, "start_index": 2, "end_index": 2}]


@pytest.mark.parametrize(
    ("chunk", "titles"),
    [
        ({"citations": ["https://a"]}, [""]),
        ({"citations": ["https://a"], "search_results": [{"url": "https://a", "title": "A"}]}, ["A"]),
        ({"citations": None, "search_results": []}, []),
    ],
)
def test_results_say_more_than_urls(chunk, titles):
    """The list of URLs is the older form."""
    assert [source["title"] for source in read_sources(chunk)] == titles


@needs_recordings
def test_recorded_sources_are_all_cited():
    """Streamed and whole."""
    found = 0
    for mode in ("stream", "plain"):
        for exchange in exchanges("openai.chat", mode):
            if exchange.provider != "perplexity" or b'"citations"' not in exchange.body:
                continue
            found += 1
            (part,) = whole(read_recording("chat", exchange))["output"][-1]["content"]
            urls = {each["url"] for each in part["annotations"]}
            for url in urls:
                assert json.dumps(url).encode()[1:-1] in exchange.body.replace(b"\\/", b"/")
            assert urls
    assert found


def test_a_picture_that_was_made_is_an_item():
    """OpenRouter writes it beside the content."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    message = {"role": "assistant", "content": "Here.", "images": [image]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    events = read_answer("chat", telling(), json.dumps(answer).encode(), stream=False)
    assert violations(events) == []
    assert [(item["type"], item.get("result")) for item in whole(events)["output"]] == [
        ("message", None),
        ("image_generation_call", "AAAA"),
    ]
