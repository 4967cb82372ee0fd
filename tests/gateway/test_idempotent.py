"""What makes two requests the same, for an idempotency key."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon.gateway.idempotent import fingerprint
from antiphon.gateway.request import Request
from forms import content_type, form

ASKED = Request(b"POST", b"/v1/responses", b"a=b", {b"host": b"x"}, b'{"model":"m"}', "127.0.0.1")
COUNTED = [b"anthropic-version", b"anthropic-beta", b"cache-control", b"x-antiphon-cache"]
BOUNDARIES = st.text("abcdefghij-", min_size=1, max_size=20).map(lambda text: f"b{text}b")


@given(
    st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(max_size=12), max_size=4),
    st.text(max_size=9),
)
def test_most_of_the_head_does_not_count(headers, peer):
    assume(not {*headers} & {*COUNTED, b"content-type"})
    assert fingerprint(replace(ASKED, headers=headers, peer=peer)) == fingerprint(ASKED)


@given(st.sampled_from(["method", "path", "query", "body"]), st.binary(max_size=20))
def test_everything_else_does(member, value):
    assume(getattr(ASKED, member) != value)
    assert fingerprint(replace(ASKED, **{member: value})) != fingerprint(ASKED)


@given(st.sampled_from(COUNTED), st.binary(max_size=20))
def test_so_do_headers_that_say_what_is_asked(name, value):
    """An empty one too."""
    assert fingerprint(replace(ASKED, headers={name: value})) != fingerprint(ASKED)


def test_what_moves_from_one_place_to_the_next_is_something_else():
    assert fingerprint(replace(ASKED, path=b"/v1/responsesa", query=b"=b")) != fingerprint(ASKED)


def of_form(fields, boundary):
    headers = {b"content-type": content_type(boundary).encode()}
    return fingerprint(replace(ASKED, headers=headers, body=form(fields, boundary)))


@given(st.binary(max_size=50), BOUNDARIES, BOUNDARIES)
def test_a_form_is_its_parts(content, one, other):
    """Whatever stands between them, as long as it is not in them."""
    assume(not any(b"--" + each.encode() in content for each in (one, other)))
    fields = [("model", "m"), ("file", ("a.wav", content))]
    assert of_form(fields, one) == of_form(fields, other)
    assert of_form(fields, one) != of_form([("model", "m"), ("file", ("b.wav", content))], one)
    assert of_form(fields, one) != of_form([("model", "m"), ("file", ("a.wav", content + b"x"))], one)


def test_a_form_that_cannot_be_read_is_its_bytes():
    headers = {b"content-type": b"multipart/form-data; boundary=a"}
    one, other = (
        fingerprint(replace(ASKED, headers=headers, body=body))
        for body in (b"--a\r\nbroken", b"--a\r\nBroken")
    )
    assert one != other
