"""Hub requests, written for upstreams that have the Responses API."""

from typing import Any

import pytest

from antiphon.wire.errors import ClientFault
from translated import write


@pytest.mark.parametrize(("member", "value"), [("stop", ["END"]), ("logit_bias", {"7": 1})])
def test_what_the_responses_api_has_no_form_for_is_refused(member: str, value: Any):
    """It would change what is answered."""
    with pytest.raises(ClientFault) as caught:
        write("responses", {"input": "Hi", member: value}, "openai")

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", member)


def test_a_wish_that_it_has_no_form_for_is_left_out():
    """How to sample."""
    assert write("responses", {"input": "Hi", "seed": 7, "top_k": 3}, "openai").keys() == {
        "input",
        "model",
        "store",
    }


def test_tools_that_openai_runs_itself_are_told():
    """Of whatever dialect the client is."""
    body = write("responses", {"input": "Hi", "tools": [{"type": "web_search"}]}, "openai")

    assert body["tools"] == [{"type": "web_search"}]
