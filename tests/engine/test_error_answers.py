"""What counts as a secret; the rest of errors is seen through `test_live.py` and `faults/test_faults.py`."""

import pytest

from antiphon.engine.error_answers import redact, secrets_of


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
