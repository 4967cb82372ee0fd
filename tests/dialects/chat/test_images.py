"""Pictures in answers of chat completions."""

import json

import pytest

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.chat.images import made_image
from antiphon.dialects.chat.request_reader import read_chat_request
from antiphon.dialects.registry import CLIENTS
from translated import read_answer, telling, whole

URL = "data:image/webp;base64,UElD"
ITEM = {"type": "image_generation_call", "status": "completed", "result": "UElD", "output_format": "webp"}


def answer(*urls: str) -> bytes:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    message = {"role": "assistant", "content": "Here.", "images": images}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def test_a_picture_is_an_item():
    """With its format; what is no data URL is none."""
    output = whole(read_answer("chat", telling(), answer(URL, "https://img.example/a"), stream=False))[
        "output"
    ]

    assert [item["type"] for item in output] == ["message", "image_generation_call"]
    assert output[1] == {"id": output[1]["id"], **ITEM}


def test_chat_clients_get_it_back_as_it_came():
    """Through the hub, and from the stream that was written into JSON."""
    told = telling("chat")
    frames = CLIENTS["chat"].writer(told).feed(read_answer("chat", told, answer(URL, URL), stream=False))
    images = json.loads(CHAT.fold(frames))["choices"][0]["message"]["images"]

    assert [image["image_url"] for image in images] == [{"url": URL}] * 2


def test_what_a_client_gives_back_is_the_same_item():
    """So that a model can change what it drew."""
    message = json.loads(answer(URL))["choices"][0]["message"]
    items = read_chat_request({"messages": [message]})["input"]

    assert items[0] == ITEM


@pytest.mark.parametrize(
    "image",
    [
        None,
        3,
        {},
        {"image_url": 3},
        {"image_url": {"url": "https://img.example/a.png"}},
        {"image_url": {"url": "data:text/plain;base64,UElD"}},
    ],
)
def test_other_things_are_no_pictures(image):
    """Nobody could show them."""
    assert made_image(image) is None


def test_a_url_may_stand_alone():
    """Some write it so."""
    assert made_image({"image_url": URL}) == ITEM
