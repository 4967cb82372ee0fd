"""Requests for text completions, read into the hub."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault
from recorded import Exchange, exchanges, needs_recordings
from translated import asking

RECORDED = [
    exchange
    for mode in ("stream", "plain")
    for exchange in exchanges("openai.completions", mode)
    if exchange.request and exchange.request.get("n", 1) in (None, 1)
]


def read(body: dict[str, Any]) -> HubRequest:
    return CLIENTS["completions"].read({"model": "p/m", **body})


def hub(text: str, **members: Any) -> HubRequest:
    content = [{"type": "input_text", "text": text}]
    return {"input": [{"type": "message", "role": "user", "content": content}], **members}


@pytest.mark.parametrize(
    ("body", "members"),
    [
        ({}, {}),
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_tokens": None, "temperature": None, "n": None, "suffix": None, "echo": None}, {}),
        (
            {"temperature": 0, "top_p": 0.5, "seed": 1, "user": "me"},
            {"temperature": 0, "top_p": 0.5, "seed": 1, "user": "me"},
        ),
        (
            {"presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"5": 1}},
            {"presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"5": 1}},
        ),
        ({"stop": "."}, {"stop": "."}),
        ({"stop": [".", "!"]}, {"stop": [".", "!"]}),
        ({"logprobs": 0}, {"include": ["message.output_text.logprobs"], "top_logprobs": 0}),
        ({"logprobs": 3}, {"include": ["message.output_text.logprobs"], "top_logprobs": 3}),
        ({"n": 1, "best_of": 1, "echo": False, "suffix": ""}, {}),
        ({"top_k": 4, "min_p": 0.1}, {"top_k": 4, "min_p": 0.1}),
        ({"keep_alive": -1, "options": {"num_ctx": 9}}, {"keep_alive": -1, "options": {"num_ctx": 9}}),
        ({"stream": True, "stream_options": {"include_usage": True}, "nobody_knows": 1}, {}),
    ],
)
def test_a_prompt_is_what_a_user_says(body: dict[str, Any], members: dict[str, Any]):
    """Settings have the hub's names; what is absent stays absent, the limit of tokens too."""
    assert read({"prompt": "Once", **body}) == hub("Once", **members)


@pytest.mark.parametrize(("prompt", "text"), [(["Once"], "Once"), ("", ""), ([""], "")])
def test_a_list_of_one_prompt_is_that_prompt(prompt: Any, text: str):
    """Some libraries always send a list."""
    assert read({"prompt": prompt}) == hub(text)


@needs_recordings
@pytest.mark.parametrize("exchange", RECORDED, ids=lambda exchange: exchange.id)
def test_recorded_requests_are_read(exchange: Exchange):
    """Each of them that asks for one answer to one text."""
    (prompt,) = (
        [exchange.request["prompt"]]
        if isinstance(exchange.request["prompt"], str)
        else exchange.request["prompt"]
    )
    request = read(exchange.request)

    assert request["input"] == hub(prompt)["input"]
    assert request.get("max_output_tokens") == exchange.request.get("max_tokens")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": ["a", "b"]}, "prompt", "unsupported_parameter"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_parameter"),
        ({"prompt": [1]}, "prompt", "unsupported_parameter"),
        ({"prompt": [[1, 2], [3]]}, "prompt", "unsupported_parameter"),
        ({"prompt": [[1, 2]]}, "prompt", "unsupported_parameter"),
        ({"prompt": []}, "prompt", "invalid_type"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_type"),
        ({"prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": ["a", 1]}, "prompt", "invalid_type"),
        ({}, "prompt", "missing_required_parameter"),
        ({"prompt": "a", "n": 2}, "n", "unsupported_parameter"),
        ({"prompt": "a", "best_of": 3}, "best_of", "unsupported_parameter"),
        ({"prompt": "a", "suffix": "z"}, "suffix", "unsupported_parameter"),
        ({"prompt": "a", "echo": True}, "echo", "unsupported_parameter"),
        ({"prompt": "a", "max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"prompt": "a", "logprobs": True}, "logprobs", "invalid_type"),
        ({"prompt": "a", "temperature": "hot"}, "temperature", "invalid_type"),
        ({"prompt": "a", "stop": 1}, "stop", "invalid_type"),
        ({"prompt": "a", "logit_bias": []}, "logit_bias", "invalid_type"),
    ],
)
def test_what_has_no_form_or_no_sense_is_refused_by_name(body: dict[str, Any], param: str, code: str):
    """In the client's own words."""
    with pytest.raises(ClientFault) as caught:
        read(body)

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


numbers = st.floats(0, 2) | st.integers(0, 2)
requests = st.fixed_dictionaries(
    {"prompt": st.text()},
    optional={
        "max_tokens": st.integers(1, 99),
        "temperature": numbers,
        "top_p": numbers,
        "presence_penalty": numbers,
        "frequency_penalty": numbers,
        "seed": st.integers(),
        "stop": st.text() | st.lists(st.text(), min_size=1, max_size=4),
        "logprobs": st.integers(0, 5),
        "logit_bias": st.dictionaries(st.text(), st.integers(), max_size=2),
        "user": st.text(),
        "top_k": st.integers(0, 9),
        "min_p": numbers,
    },
)


@given(requests)
def test_a_request_comes_back_as_it_was(body: dict[str, Any]):
    """Read into the hub and written for an upstream of completions, nothing is lost or added."""
    if not body.get("stop", True):
        del body["stop"]  # an empty one stops nothing
    request = read(body)

    assert UPSTREAMS["completions"].write(request, asking(request, "openai-completions")) == {
        "model": "m",
        **body,
    }
