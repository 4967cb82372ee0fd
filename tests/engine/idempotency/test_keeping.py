"""What an answer says of its request: done, not begun, or perhaps."""

import pytest

from antiphon.engine.idempotency.keeping import UNKNOWN_OUTCOME, Deed, deed_of
from antiphon.ports.idempotency import Outcome
from antiphon.wire.error_forms import ANTHROPIC_ERRORS, OPENAI_ERRORS
from antiphon.wire.errors import ClientFault


@pytest.mark.parametrize("status", [200, 201, 400, 403, 404, 410, 413, 422, 500, 501, 502, 504])
def test_an_answer_is_the_outcome_even_if_it_is_an_error(status):
    assert deed_of(Outcome(status, (), b"whatever")) is Deed.DONE


@pytest.mark.parametrize("status", [401, 408, 409, 425, 429, 529])
def test_a_refusal_says_that_nothing_was_begun(status):
    assert deed_of(Outcome(status, (), b"")) is Deed.NOT_BEGUN


def test_an_upstream_may_say_so_itself():
    assert deed_of(Outcome(500, ((b"x-should-retry", b"true"),), b"")) is Deed.NOT_BEGUN
    assert deed_of(Outcome(500, ((b"x-should-retry", b"false"),), b"")) is Deed.DONE
    assert deed_of(Outcome(200, ((b"x-should-retry", b"true"),), b"")) is Deed.DONE


def test_who_was_not_available_may_have_done_it():
    assert deed_of(Outcome(503, (), b"")) is Deed.PERHAPS


@pytest.mark.parametrize("form", [OPENAI_ERRORS, ANTHROPIC_ERRORS])
@pytest.mark.parametrize(
    ("code", "status", "deed"),
    [
        ("conversation_locked", 400, Deed.NOT_BEGUN),
        ("not_cached", 504, Deed.NOT_BEGUN),
        (UNKNOWN_OUTCOME, 409, Deed.DONE),
        ("invalid_type", 400, Deed.DONE),
    ],
)
def test_codes_of_ours_say_more_than_their_status(form, code, status, deed):
    body = form.write(ClientFault("No.", code=code, status=status), "req_1")
    assert deed_of(Outcome(status, (), body)) is deed


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"error":1}', b'{"error":{"code":[1]}}', b"\xff", b'{"error":{"details":1}}']
)  # fmt: skip
def test_a_body_that_says_nothing_is_an_outcome(body):
    assert deed_of(Outcome(400, (), body)) is Deed.DONE
