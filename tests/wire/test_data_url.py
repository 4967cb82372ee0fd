"""Data URLs, read in the one way in which everybody reads them."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.wire.data_url import DataUrl, is_data_url, read_data_url
from antiphon.wire.errors import ClientFault


def fault_of(url, **options):
    with pytest.raises(ClientFault) as raised:
        read_data_url(url, **options)
    return raised.value


@given(st.binary())
def test_base64_is_decoded(data):
    """Any bytes, with their media type."""
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    assert read_data_url(url) == ("image/png", data)


@given(st.binary())
def test_percent_encoding_is_decoded(data):
    """Each byte escaped, in plain text and within base64."""
    assert read_data_url("data:," + "".join(f"%{byte:02x}" for byte in data)) == ("text/plain", data)
    escaped = "".join(f"%{byte:02X}" for byte in base64.b64encode(data))
    assert read_data_url("data:a/b;base64," + escaped) == ("a/b", data)


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:,", "text/plain", b""),
        ("data:;base64,", "text/plain", b""),
        ("DATA:Image/PNG;BASE64,AAAA", "image/png", b"\0\0\0"),
        ("data:text/html;charset=utf-8,a,b", "text/html", b"a,b"),
        ('data:text/html;a="b c";d=e;base64,YQ==', "text/html", b"a"),
        ("data:image/svg+xml,%3Csvg/%3E", "image/svg+xml", b"<svg/>"),
        ("data:application/vnd.ms-excel;base64,YWI=", "application/vnd.ms-excel", b"ab"),
        ("data:;charset=x,a+b%20c", "text/plain", b"a+b c"),
    ],
)
def test_every_part_but_the_comma_may_be_missing(url, media_type, data):
    """Type, parameters, encoding and content; a comma belongs to the content."""
    assert read_data_url(url) == DataUrl(media_type, data)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data",
        "data:",
        "data:image/png;base64",
        "http://host/a,b",
        " data:,a",
        "data:image,a",
        "data:image/png;base64;charset=x,AAAA",
        "data:image/png; base64,AAAA",
        "data:image/png;base64,AAA",  # no padding
        "data:image/png;base64,AAAA=",
        "data:image/png;base64,AAAA====",
        "data:image/png;base64,AAA=====",
        "data:image/png;base64,AA==AA==",
        "data:image/png;base64,AAA=A===",
        "data:image/png;base64,====",
        "data:image/png;base64,=AAA",
        "data:image/png;base64,AA==AAAA",
        "data:image/png;base64,AA AA",
        "data:image/png;base64,AAAA\n",
        "data:image/png;base64,AA-_",
        "data:image/png;base64,AAAÄ",
        "data:image/png;base64,%4",
        "data:image/png;base64,%C3%A4AA",
        "data:,100%",
        "data:,%g0",
        "data:,%\u0661\u0661",
        "data:,a b",
        "data:,ä",
        "data:,\ud800",
        "data:im äge/png,a",
        "data:" + "a" * 2000 + "/b,a",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url):
    """With the caller's code and the place, and without showing the content."""
    fault = fault_of(url, param="input[0].content[1].image_url", code="invalid_base64_image")
    assert (fault.status, fault.code) == (400, "invalid_base64_image")
    assert fault.param == "input[0].content[1].image_url"
    assert fault_of(url).code == "invalid_value"


@given(st.text(max_size=40))
@example(";" * 900)
@example('a/b;a="' + "b" * 900)
def test_nothing_else_is_ever_raised(text):
    """Whatever stands behind the scheme."""
    for url in (text, "data:" + text, "data:a/b;base64," + text):
        try:
            read_data_url(url)
        except ClientFault as fault:
            assert fault.status == 400  # noqa: PT017 - most texts are faults, some are not


def test_size_is_bounded():
    """Up to the bound exactly, in each form."""
    whole = "data:;base64," + base64.b64encode(bytes(100)).decode()
    for url in (whole, "data:," + "a" * 100, "data:," + "%00" * 100):
        assert len(read_data_url(url, max_bytes=100).data) == 100
        assert fault_of(url, max_bytes=99, param="p").code == "string_above_max_length"
    assert fault_of("data:," + "a" * 10_000, max_bytes=99).code == "string_above_max_length"


def test_data_urls_are_known_by_their_scheme():
    """In upper case too."""
    assert is_data_url("data:,a")
    assert is_data_url("Data:")
    assert not is_data_url("https://host/data:")
    assert not is_data_url("dat")
