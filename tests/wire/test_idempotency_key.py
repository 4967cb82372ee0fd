"""The header Idempotency-Key: a structured field's string, or the same without quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire.errors import ClientFault
from antiphon.wire.idempotency_key import MOST_CHARACTERS, read_key

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
BARE = "".join(c for c in PRINTABLE if c not in ' ",;\\')
ONE_KEY = st.text(PRINTABLE, min_size=1, max_size=MOST_CHARACTERS)


def quoted(key):
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_or_fault(value):
    try:
        return read_key(value), None
    except ClientFault as fault:
        return b"", fault


@given(ONE_KEY)
def test_a_string_is_read_as_rfc_9651_writes_it(key):
    assert read_key(quoted(key).encode()) == key.encode()


@given(st.text(BARE, min_size=1, max_size=MOST_CHARACTERS))
def test_a_bare_word_is_the_same_key_as_the_string(word):
    assert read_key(word.encode()) == read_key(quoted(word).encode()) == word.encode()


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_key_or_a_fault_of_the_client(value):
    """A key has 1 to 255 printable characters; a fault does not repeat what came."""
    key, fault = read_or_fault(value)
    if fault is None:
        assert 1 <= len(key) <= MOST_CHARACTERS
        assert all(0x20 <= byte <= 0x7E for byte in key)
    else:
        assert (fault.status, fault.code) == (400, "invalid_idempotency_key")
        assert len(value) < 8 or value.decode("latin-1") not in fault.message


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'"8e03978e-40d5-43e8-bc93-6894a57f9324"', b"8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (b"KG5LxwFBepaKHyUD", b"KG5LxwFBepaKHyUD"),
        (
            b"stainless-python-retry-0b5a5e4e-6c1e-4a4e-9d0e-0a0a0a0a0a0a",
            b"stainless-python-retry-0b5a5e4e-6c1e-4a4e-9d0e-0a0a0a0a0a0a",
        ),
        (b'  "a b"  ', b"a b"),
        (b'"a";b', b"a"),
        (b'"a"; b=1;c="x;y";d=*t', b"a"),
        (rb'"\"\\"', rb'"\ '.strip()),
        (b"c29tZQ==", b"c29tZQ=="),
        (b"a:b/c+d", b"a:b/c+d"),
    ],
)
def test_forms_that_clients_send(value, key):
    assert read_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b'""', b'"', b'"a', b'a"', b'a"b', b"a b", b"a,b", b"a, b", b'"a", "b"', b'"a" "b"', b"a;b=c"),
        *(b"'a b'", b'"\x7f"', b'"a\tb"', '"é"'.encode(), "é".encode(), rb'"\a"', b'"a";B', b"x" * 256),
        b'"%b"' % (b"x" * 256),
    ],
)  # fmt: skip
def test_what_is_none(value):
    with pytest.raises(ClientFault):
        read_key(value)


def test_a_key_that_never_ends_takes_no_time():
    """No part of the grammar is tried twice over."""
    for value in (b'"' + b"\\\\" * 50_000, b'"a"' + b";a" * 50_000 + b"!", b'"a"' + b"; " * 50_000):
        with pytest.raises(ClientFault):
            read_key(value)
