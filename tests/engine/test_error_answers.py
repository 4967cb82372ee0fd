"""What counts as a secret, and errors in whole; the rest is seen through `test_live.py` and `faults/test_faults.py`."""

import json

import pytest

from antiphon.engine.error_answers import error_answer, redact, secrets_of
from antiphon.recording import Head
from antiphon.wire.error_forms import OPENAI_ERRORS


@pytest.mark.parametrize(
    ("api_key", "headers", "secrets"),
    [
        (None, {}, ()),
        ("", {}, ()),
        ("ollama", {"x-title": "mine"}, ()),
        ("sk-0123456789", {}, (b"sk-0123456789",)),
        (
            None,
            {"authorization": "Bearer 0123456789", "x-odd": "k\N{LATIN SMALL LETTER E WITH ACUTE}y-012345"},
            (b"Bearer 0123456789", "k\N{LATIN SMALL LETTER E WITH ACUTE}y-012345".encode(), b"0123456789"),
        ),
    ],
)
def test_keys_and_header_values_are_secrets(api_key, headers, secrets):
    """Also what stands behind a scheme; short words are none, since they may stand in any message."""
    assert secrets == secrets_of(api_key, headers)


def test_secrets_are_blanked_out_everywhere():
    """The longest first, so that no end of one is left over."""
    secrets = secrets_of("0123456789", {"authorization": "Key 0123456789abc"})

    assert redact(b'"0123456789abc", Key 0123456789abc, 0123456789', secrets) == (
        b'"[redacted]", [redacted], [redacted]'
    )


def test_an_error_of_another_dialect_is_written_anew():
    """Gemini's has the members that OpenAI's cannot do without, and others under their names."""
    told = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
    answer = error_answer(Head(429), json.dumps(told).encode())

    assert answer.told(OPENAI_ERRORS, "") == (b"application/json", answer.body)
    assert json.loads(answer.told(OPENAI_ERRORS, "", is_native=False)[1]) == {
        "error": {
            "message": "Slow down.",
            "type": "invalid_request_error",
            "param": None,
            "code": "RESOURCE_EXHAUSTED",
        }
    }
