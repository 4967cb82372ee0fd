"""Forms: what is read is what was written, whatever the file holds, and what is broken is named."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.errors import ClientFault
from antiphon.wire.multipart import is_form, read_form, write_form
from forms import BOUNDARY, content_type, form

TYPE = content_type().encode()

names = st.text(
    st.characters(codec="utf-8", exclude_characters='\r\n"\\', exclude_categories=("Cs",)), max_size=8
)
fragments = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        BOUNDARY.encode(),
        b"--" + BOUNDARY.encode(),
        b"--\r\n",
        b"\r\n\r\n",
        b"x",
        b"\0",
    ]
)
contents = st.lists(fragments | st.binary(max_size=20), max_size=12).map(b"".join)


def holds_delimiter(content: bytes) -> bool:
    """A file may hold anything but a line that begins with the boundary: then another one must be chosen."""
    return b"\r\n--" + BOUNDARY.encode() in b"\r\n" + content


files = contents.filter(lambda content: not holds_delimiter(content))


@given(st.lists(st.tuples(names, names, files), min_size=1, max_size=5))
def test_what_is_read_is_what_was_written(written):
    """Names, names of files and contents, with bare line ends and half boundaries in them."""
    body = form((name, (filename, content, "audio/mpeg")) for name, filename, content in written)
    parts = read_form(TYPE, body).parts

    assert written == [(part.name, part.filename, bytes(part.content)) for part in parts]
    assert {"audio/mpeg"} == {part.content_type for part in parts}


@given(st.lists(st.tuples(names, files), min_size=1, max_size=5))
def test_what_is_put_together_again_has_the_same_bytes(written):
    """Heads and contents stand as they stood."""
    body = form((name, ("a.mp3", content)) for name, content in written)
    read = read_form(TYPE, body)

    assert body == write_form(read.boundary, ((part.head, part.content) for part in read.parts))


@given(st.binary(max_size=300) | st.lists(fragments, max_size=30).map(b"".join))
def test_no_body_is_anything_but_a_form_or_a_fault(body):
    """Whatever comes, nothing else is raised."""
    with contextlib.suppress(ClientFault):
        assert read_form(TYPE, body).boundary == BOUNDARY.encode()


def test_heads_and_empty_contents_are_kept_as_they_came():
    """Spelling, order and unknown headers are nobody's business; blanks may follow a boundary, and anything the last."""
    head = b'CONTENT-disposition:form-data; filename="a\\"b.mp3"; name=file\r\nX-Odd:\r\nContent-Type:  audio/MPEG'
    body = form([("a", "b")]).replace(
        b"--\r\n", b" \t\r\n" + head + b"\r\n\r\n\r\n--%b--\r\nepilogue" % BOUNDARY.encode()
    )
    _, part = read_form(TYPE, body).parts

    assert (head, b"") == (part.head, bytes(part.content))
    assert (part.name, part.filename, part.content_type) == ("file", 'a"b.mp3', "audio/MPEG")


@pytest.mark.parametrize(
    ("header", "boundary", "sent"),
    [
        (b"multipart/form-data; boundary=abc", b"abc", b"multipart/form-data; boundary=abc"),
        (
            b'Multipart/Form-Data; charset=utf-8; boundary="a b/c"',
            b"a b/c",
            b'multipart/form-data; boundary="a b/c"',
        ),
    ],
)
def test_the_boundary_goes_out_as_it_came_in(header, boundary, sent):
    """Quoted where it has to be."""
    read = read_form(header, b"--%b--\r\n" % boundary)

    assert (boundary, sent, ()) == (read.boundary, read.content_type, read.parts)


def test_forms_are_known_by_their_type():
    """In any spelling."""
    assert is_form(b"Multipart/Form-Data ; boundary=x")
    assert not is_form(b"application/json")
    assert not is_form(b"multipart/mixed; boundary=x")


FILE = b'Content-Disposition: form-data; name="file"; filename="a"'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "it ends (byte 0) without its closing boundary"),
        (b"--B\r\n" + FILE + b"\r\n\r\nabc", "it ends (byte 69) without its closing boundary"),
        (b"--C\r\n" + FILE + b"\r\n\r\nabc\r\n--C--", "it is malformed at byte 2"),
        (b"--B\r\nno header\r\n\r\nabc\r\n--B--", "it is malformed at byte 7"),
        (b"--B\r\nX: y\r\n\r\nabc\r\n--B--", 'part 0 has no `Content-Disposition: form-data; name="…"`'),
        (b"--B\r\n\r\nabc\r\n--B--", 'part 0 has no `Content-Disposition: form-data; name="…"`'),
        (
            b"--B\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--B--",
            'part 0 has no `Content-Disposition: form-data; name="…"`',
        ),
        (
            b'--B\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nabc\r\n--B--',
            "the name of part 0 is not UTF-8",
        ),
        (
            b"--B\r\n" + FILE + b"\r\n" + FILE + b"\r\n\r\nabc\r\n--B--",
            "part 0 has the header 'content-disposition' twice",
        ),
        (b"--B\r\n" + FILE + b"\nX: y\r\n\r\nabc\r\n--B--", "part 0 has a header with a line feed in it"),
        (
            b"--B\r\n" + FILE + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--B--",
            "part 0 is encoded for transfer; send its bytes as they are",
        ),
        (b"--B\r\n" + (FILE + b"\r\n\r\n\r\n--B\r\n") * 300 + b"--B--", "it has more than 256 parts"),
        (b"--B\r\nX: " + b"y" * 9000 + b"\r\n\r\nabc\r\n--B--", "it is malformed at byte 8"),
    ],
)
def test_a_broken_form_is_named(body, said):
    """With the byte or the part, so that it can be mended."""
    with pytest.raises(ClientFault) as caught:
        read_form(b"multipart/form-data; boundary=B", body)

    assert f"The request body is not a valid form: {said}." == caught.value.message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "The request body must be a form: send it as multipart/form-data."),
        (b"application/json", "The request body must be a form: send it as multipart/form-data."),
        (b"multipart/form-data", "The request body is not a valid form: its Content-Type names no boundary."),
        (
            b"multipart/form-data; boundary=\x01",
            "The request body is not a valid form: its boundary is not one that RFC 2046 allows.",
        ),
        (
            b"multipart/form-data; boundary=" + b"x" * 201,
            "The request body is not a valid form: its boundary is not one that RFC 2046 allows.",
        ),
    ],
)
def test_a_body_of_another_type_is_refused(header, said):
    """Before anybody looks into it."""
    with pytest.raises(ClientFault) as caught:
        read_form(header, b"{}")

    assert (said, "invalid_form") == (caught.value.message, caught.value.code)


def test_a_file_full_of_boundaries_costs_no_time():
    """Each is looked at one by one, which would take seconds."""
    body = form([("file", ("a", b"\r\n--xA" * 1_000_000))], "x")
    started = time.process_time()
    with pytest.raises(ClientFault, match="choose one that does not occur in the file"):
        read_form(b"multipart/form-data; boundary=x", body)

    assert time.process_time() - started < 0.5
