"""The headers that say what the cache did, read back as strictly as RFC 8941 asks."""

import re

import pytest

from antiphon.cache.controls import Controls
from antiphon.cache.entry import Verdict
from antiphon.cache.status import forward_header, hit_headers, semantic_hit_headers

FORWARD_REASONS = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}
"""RFC 9211, section 2.2."""

TOKEN = r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"
PARAMETER = re.compile(
    rf"; *(?P<key>[a-z*][a-z0-9_\-.*]*)"
    rf'(?:=(?:(?P<integer>-?[0-9]{{1,15}})|"(?P<string>(?:[ !#-\[\]-~]|\\["\\])*)"|(?P<token>{TOKEN})))?'
)


def parsed(value):
    """Parse one member of a Cache-Status list: (the cache's name, its parameters)."""
    text = value.decode("ascii")
    name = re.match(TOKEN, text)
    assert name
    position, parameters = name.end(), {}
    while position < len(text):
        parameter = PARAMETER.match(text, position)
        assert parameter, text[position:]
        integer, string, token = parameter["integer"], parameter["string"], parameter["token"]
        assert parameter["key"] not in parameters
        parameters[parameter["key"]] = (
            int(integer) if integer else token or (True if string is None else string)
        )
        position = parameter.end()
    return name[0], parameters


def test_a_hit_tells_its_key_and_what_is_left_of_its_lifetime():
    """`hit`, `ttl` and `key` as RFC 9211 has them, `Age`, and the `X-Cache` of D2."""
    headers = dict(hit_headers(b"0f" * 16, 12.7, 3599.2))
    assert parsed(headers[b"cache-status"]) == ("antiphon", {"hit": True, "ttl": 3599, "key": "0f" * 16})
    assert (headers[b"age"], headers[b"x-cache"]) == (b"12", b"HIT (exact)")


def test_a_stale_hit_has_a_negative_ttl():
    """RFC 9211, section 2.5: also where it expired less than a second ago."""
    headers = dict(hit_headers(b"00", 4000.0, -400.5))
    assert parsed(headers[b"cache-status"])[1]["ttl"] == -401


def test_a_clock_that_was_set_back_gives_no_negative_age():
    """RFC 9111, section 5.1: Age is a non-negative integer."""
    assert dict(hit_headers(b"00", -3.0, 10.0))[b"age"] == b"0"


def test_the_longest_lifetime_is_still_an_integer():
    """RFC 8941, section 3.3.1: fifteen digits at most, and controls allow no longer time."""
    assert parsed(dict(hit_headers(b"00", 0.0, 2.0**31))[b"cache-status"])[1]["ttl"] == 2**31


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("miss", {}), {"fwd": "miss"}),
        (("miss", {"stored": True}), {"fwd": "miss", "stored": True}),
        (("miss", {"collapsed": True}), {"fwd": "miss", "collapsed": True}),
        (("stale", {"stored": True}), {"fwd": "stale", "stored": True}),
        (("miss", {"status": 429}), {"fwd": "miss", "fwd-status": 429}),
        (("bypass", {"detail": "no-store"}), {"fwd": "bypass", "detail": "no-store"}),
        (
            ("miss", {"stored": True, "collapsed": True, "status": 200, "detail": "x"}),
            {"fwd": "miss", "fwd-status": 200, "stored": True, "collapsed": True, "detail": "x"},
        ),
    ],
)
def test_a_forwarded_request_tells_why(arguments, expected):
    """`fwd` with its reason, and what came of it."""
    reason, options = arguments
    name, value = forward_header(reason, **options)
    assert (b"cache-status", ("antiphon", expected)) == (name, parsed(value))


def test_the_header_reads_as_in_the_contract():
    """The examples of the design, letter by letter."""
    assert forward_header("miss", stored=True) == (b"cache-status", b"antiphon; fwd=miss; stored")
    assert forward_header("miss", collapsed=True) == (b"cache-status", b"antiphon; fwd=miss; collapsed")
    assert forward_header("bypass", detail="no-store") == (
        b"cache-status",
        b"antiphon; fwd=bypass; detail=no-store",
    )
    assert dict(hit_headers(b"ab", 288.0, 3312.0))[b"cache-status"] == b'antiphon; hit; ttl=3312; key="ab"'


def test_every_verdict_that_does_not_answer_is_a_reason_to_forward():
    """The states of a look-up are the tokens that RFC 9211, section 2.2, registers."""
    assert {verdict.value for verdict in Verdict if not verdict.answers} <= FORWARD_REASONS
    assert {verdict.reason for verdict in Verdict} - {""} <= FORWARD_REASONS
    assert Controls().bypass is None


def test_a_hit_of_other_words_says_how_alike_they_were():
    """In a string: a number with a word before it is no token."""
    (name, status), age, told = semantic_hit_headers(b"ab", 12.0, 30.0, 0.97126)
    assert (name, age, told) == (b"cache-status", (b"age", b"12"), (b"x-cache", b"HIT (semantic)"))
    assert parsed(status) == (
        "antiphon",
        {"hit": True, "ttl": 30, "key": "ab", "detail": "semantic 0.9713"},
    )


def test_a_miss_may_say_what_stood_in_the_way():
    _, status = forward_header("miss", stored=True, detail='"semantic refused numbers 0.9810"')
    assert parsed(status)[1]["detail"] == "semantic refused numbers 0.9810"
