"""The faults that a client may be told about."""

import json

import pytest

from antiphon.wire.errors import ClientFault, GatewayError, StoreFault, UpstreamFault, error_body


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (GatewayError, 500, "server_error"),
        (ClientFault, 400, "invalid_request_error"),
        (UpstreamFault, 502, "server_error"),
        (StoreFault, 503, "server_error"),
    ],
)
def test_each_fault_has_the_status_of_who_is_to_mend_it(fault, status, kind):
    """And the type that client libraries know; another status may be given for one."""
    assert (fault("x").status, fault("x").type) == (status, kind)
    assert fault("x", status=404).status == 404
    assert fault("x").status == status


def test_the_body_is_openais_envelope():
    """Four members, all of them always there."""
    fault = ClientFault("No such model.", code="model_not_found", param="model")
    assert json.loads(error_body(fault)) == {
        "error": {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert json.loads(error_body(GatewayError("x"))) == {
        "error": {"message": "x", "type": "server_error", "param": None, "code": None}
    }


@pytest.mark.parametrize("message", ['"quoted"\n', "é😀", "half \ud83d of an emoji", "\x00", ""])
def test_any_text_can_be_told(message):
    """Whatever a client or an upstream had put into it."""
    assert json.loads(error_body(GatewayError(message)))["error"]["message"] == message


def test_a_fault_reads_as_its_message():
    """In the log it is the text that the client got."""
    assert str(UpstreamFault("It broke.", code="upstream_truncated")) == "It broke."


def test_headers_go_out_with_the_answer():
    """Such as when to come again."""
    assert StoreFault("x", headers=((b"retry-after", b"5"),)).headers == ((b"retry-after", b"5"),)
    assert StoreFault("x").headers == ()
