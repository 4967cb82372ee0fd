"""How errors are written for the clients of each dialect, and which need no writing."""

import json

import pytest

from antiphon.wire.error_forms import ANTHROPIC_ERRORS, OPENAI_ERRORS
from antiphon.wire.errors import ClientFault, GatewayError, UpstreamFault


def written(fault: GatewayError, request_id: str = "req_1") -> dict[str, object]:
    return json.loads(ANTHROPIC_ERRORS.write(fault, request_id))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_status_decides_anthropics_type(status, kind):
    """Whoever's fault it is; a type of another family says nothing here."""
    fault = ClientFault if status < 500 else UpstreamFault

    assert written(fault("No.", status=status)) == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
        "request_id": "req_1",
    }


def test_a_type_that_anthropic_has_is_kept():
    """An upstream may know better than its status says."""
    fault = ClientFault("No.", status=400, kind="authentication_error")

    assert written(fault)["error"]["type"] == "authentication_error"


def test_code_and_place_stand_where_anthropics_clients_look():
    """`details.error_code` is Anthropic's own; the place is also told in the message, unless it is there."""
    fault = ClientFault("Expected a string.", code="invalid_type", param="messages[0].content")
    named = ClientFault("'stream' must be a boolean.", param="stream")

    assert written(fault)["error"] == {
        "type": "invalid_request_error",
        "message": "messages[0].content: Expected a string.",
        "details": {"error_code": "invalid_type", "param": "messages[0].content"},
    }
    assert written(named)["error"]["message"] == "'stream' must be a boolean."


def test_without_a_request_there_is_no_id():
    """A request that could not be read has none."""
    assert "request_id" not in written(ClientFault("No."), "")


@pytest.mark.parametrize("form", [OPENAI_ERRORS, ANTHROPIC_ERRORS])
@pytest.mark.parametrize("message", ['"quoted"\n', "é😀", "half \ud83d of an emoji", ""])
def test_any_text_can_be_told_and_is_in_the_form(form, message):
    """What a form has written it also knows again."""
    body = form.write(GatewayError(message), "req_1")

    assert json.loads(body)["error"]["message"] == message
    assert form.holds(body) is ("\ud83d" not in message)


@pytest.mark.parametrize(
    ("body", "openai", "anthropic"),
    [
        (b'{"error":{"message":"no","odd":[1]}}', True, False),
        (b'{"type":"error","error":{"type":"api_error","message":"no"}}', False, True),
        (b'{"type":"error","error":{"message":"no"}}', False, False),
        (b'{"error":{"type":"api_error","message":"no"}}', True, False),
        (b'{"error":{"code":429}}', False, False),
        (b'{"error":"no"}', False, False),
        (b'{"detail":"no"}', False, False),
        (b'[{"error":{"message":"no"}}]', False, False),
        (b"<html>", False, False),
        (b"", False, False),
    ],
)
def test_only_what_is_in_the_form_needs_no_writing(body, openai, anthropic):
    """A client library finds message and type in it."""
    assert (openai, anthropic) == (OPENAI_ERRORS.holds(body), ANTHROPIC_ERRORS.holds(body))
