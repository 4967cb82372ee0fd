"""Files inside a request."""

import pytest

from antiphon.dialects.inline import Inline, data_url, downloaded, read_inline
from antiphon.dialects.translation import Download


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,UElD", Inline("image/png", "UElD")),
        ("DATA:Image/PNG;name=a.png;BASE64,UElD", Inline("image/png", "UElD")),
        ("data:;base64,UElD", Inline("", "UElD")),
        ("data:text/plain,a%20b", Inline("text/plain", "YSBi")),
        ("data:,", Inline("", "")),
        ("https://img.example/data:image/png;base64,UElD", None),
        ("UElD", None),
    ],
)
def test_a_data_url_is_its_type_and_its_base64(url, expected):
    """Whatever stands between them, and however it is written."""
    assert read_inline(url) == expected


def test_what_was_fetched_is_written_as_one():
    """And reads as what it was."""
    file = downloaded(Download("image/png", b"PIC"))

    assert data_url(file) == "data:image/png;base64,UElD"
    assert read_inline(data_url(file)) == file
