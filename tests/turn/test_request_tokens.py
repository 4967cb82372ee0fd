"""What a whole request comes to, by rules that can be counted by hand."""

import base64
import json

import pytest

from antiphon.turn.request_tokens import (
    LOW_DETAIL_TOKENS,
    UNKNOWN_FILE_TOKENS,
    UNKNOWN_IMAGE_TOKENS,
    count_request,
    image_tokens,
)
from antiphon.turn.tokens import Template
from wire.test_images import jpeg, png

PLAIN = Template(1.0, 0, 0, 1.0, 0)


def words(text):
    return len(text.split())


def tokens(*items, template=PLAIN, **request):
    return count_request({"input": list(items), **request}, words, template)


def user(*parts):
    return {"type": "message", "role": "user", "content": list(parts)}


def data_url(data, media_type="image/png"):
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def test_text_is_counted_wherever_it_stands():
    """Instructions, plain input, easy and full messages, of both sides."""
    assert count_request({"input": "one two"}, words, PLAIN) == 2
    assert tokens({"role": "user", "content": "one two"}, instructions="three four five") == 5
    assert (
        tokens(user({"type": "input_text", "text": "one two"}, {"type": "input_text", "text": "three"})) == 3
    )
    answered = {
        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "one two", "annotations": [{"url": "x y z"}]}, {"type": "refusal", "refusal": "no"}],
    }  # fmt: skip
    assert tokens(answered) == 3


def test_calls_and_their_outputs_are_counted():
    """Names, arguments, outputs as text and as parts, reasoning; not ids."""
    assert (
        tokens(
            {"type": "function_call", "call_id": "a b", "id": "c d", "name": "get", "arguments": '{"x": 1}'}
        )
        == 3
    )
    assert tokens({"type": "function_call_output", "call_id": "a b", "output": "one two"}) == 2
    assert (
        tokens(
            {
                "type": "function_call_output",
                "call_id": "a",
                "output": [{"type": "input_text", "text": "one"}],
            }
        )
        == 1
    )
    assert tokens({"type": "custom_tool_call", "call_id": "a", "name": "run", "input": "one two"}) == 3
    assert (
        tokens({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "one two"}]})
        == 2
    )
    assert tokens({"type": "compaction", "encrypted_content": "x" * 160}) == 30
    assert tokens({"type": "web_search_call", "action": {"query": "one two", "type": "search"}}) == 2


def test_the_template_adds_its_own():
    """For the request, for each message, for instructions as for one."""
    template = Template(1.0, 100, 10, 0.5, 1000)
    assert tokens(user(), user(), instructions="x", template=template) == 131
    assert count_request({"input": "x"}, words, template) == 111
    assert count_request({}, words, template) == 100
    tools = [{"type": "function", "name": "a b c d"}, {"type": "function", "name": "e f g h"}]
    assert count_request({"tools": tools}, words, template) == 100 + 1000 + 4
    assert count_request({"tools": []}, words, template) == 100


def test_definitions_are_counted_as_json():
    """Of tools, and of the schema of an answer; plain text formats are nothing."""
    seen = []

    def count(text):
        seen.append(text)
        return 1

    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object", "é": 1}, "strict": True}
    assert (
        count_request(
            {"tools": [{"type": "function", "name": "f"}], "text": {"format": schema}}, count, PLAIN
        )
        == 2
    )
    assert [json.loads(text) for text in seen] == [
        {"type": "function", "name": "f"},
        {"name": "n", "schema": {"type": "object", "é": 1}},
    ]
    assert seen[0] == '{"type":"function","name":"f"}'
    assert count_request({"text": {"format": {"type": "text"}}}, count, PLAIN) == 0


@pytest.mark.parametrize(
    ("width", "height", "detail", "expected"),
    [
        (1024, 1024, "high", 765),
        (2048, 4096, "high", 1105),
        (4096, 8192, "low", 85),
        (512, 512, "auto", 255),
        (513, 512, "auto", 425),
        (1, 1, "high", 255),
        (0, 0, "high", UNKNOWN_IMAGE_TOKENS),
        (65535, 1, "high", 85 + 4 * 170),
    ],
)
def test_images_are_counted_by_tiles(width, height, detail, expected):
    """OpenAI's own examples among them."""
    assert image_tokens(width, height, detail) == expected


def test_the_size_of_an_image_is_read_from_its_data_url():
    """Where it cannot be read it is a constant."""

    def image(**members):
        return tokens(user({"type": "input_image", **members}))

    assert image(image_url=data_url(png(512, 512))) == 255
    assert image(image_url=data_url(jpeg(2048, 4096), "image/jpeg"), detail="high") == 1105
    assert image(image_url=data_url(png(4096, 4096)), detail="low") == LOW_DETAIL_TOKENS
    for url in (
        "https://host.test/a.png",
        "data:image/png;base64,????",
        "data:image/png;base64,",
        "data:",
        7,
        None,
    ):
        assert image(image_url=url) == UNKNOWN_IMAGE_TOKENS
    assert image(file_id="file_1") == UNKNOWN_IMAGE_TOKENS
    assert tokens({"type": "image_generation_call", "result": "A" * 1000}) == UNKNOWN_IMAGE_TOKENS


def test_files_are_counted_by_their_bytes():
    """Text for what it is, documents for much less; those that are elsewhere are a constant."""

    def file(**members):
        return tokens(user({"type": "input_file", **members}))

    assert file(file_data=data_url(bytes(6000), "application/pdf"), filename="a b.pdf") == 2 + 300
    assert file(file_data=data_url(bytes(6000), "text/csv")) == 1500
    assert file(file_data=base64.b64encode(bytes(6000)).decode()) == 300
    assert file(file_url="https://host.test/a.pdf") == UNKNOWN_FILE_TOKENS
    wav = base64.b64encode(bytes(48_000)).decode()
    assert tokens(user({"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}})) == 10


@pytest.mark.parametrize(
    "request_",
    [
        {"input": 7, "tools": "x", "text": [], "instructions": []},
        {"input": [None, 7, [], {}, {"content": 7}, {"content": [None, {"text": 7}]}]},
        {
            "input": [
                {"type": "input_audio"},
                {"type": "input_audio", "input_audio": {"data": 7}},
                {"type": []},
            ]
        },
        {"tools": [None, 7], "text": {"format": 7}},
    ],
)
def test_what_has_the_wrong_type_is_not_refused_here(request_):
    """Whoever reads the request says what is wrong with it."""
    assert count_request(request_, words, PLAIN) <= 3


def test_nesting_is_bounded():
    """Parts within parts without end are not followed."""
    nested = "deep"
    for _ in range(500):
        nested = [nested]
    assert tokens({"content": nested}) == 0
