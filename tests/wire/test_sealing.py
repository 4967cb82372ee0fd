"""The envelope: opens for its owner as it was sealed, and for nobody else in any other way."""

import itertools
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.wire import sealing
from antiphon.wire.errors import ClientFault, UpstreamFault
from antiphon.wire.sealing import MAX_CHARS, NONCE_BYTES, Sealed, Sealer

KEY, OTHER_KEY = b"k" * 32, b"another secret of any length"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TEXT = st.text()


def sealer(*keys, seed=0):
    return Sealer(keys or (KEY,), nonces_from(seed))


def nonces_from(seed):
    source = random.Random(seed)
    return lambda: source.randbytes(NONCE_BYTES)


def fault_of(opener, text, owner="alice", **options):
    with pytest.raises(ClientFault) as raised:
        opener.open(text, owner=owner, **options)
    return raised.value


@given(TEXT, TEXT, TEXT, JSON, TEXT)
def test_what_was_sealed_is_what_is_opened(kind, backend, model, payload, owner):
    """Kind, backend, model and payload come back, for whatever JSON."""
    text = sealer().seal(kind, backend, model, payload, owner=owner)
    assert sealer().open(text, owner=owner) == Sealed(kind, backend, model, payload)


@pytest.mark.parametrize("payload", ["\ud83d", {"\udc00": ["x\ud800"]}, 10**40, 1.0, -0.0, "\x00"])
def test_odd_values_survive(payload):
    """Halves of surrogate pairs, integers beyond 64 bits, floats that are whole numbers."""
    opened = sealer().open(sealer().seal("k", "b", "m", payload, owner=""), owner="").payload
    assert repr(opened) == repr(payload)


@pytest.mark.parametrize("payload", ["x", "x" * 1000])
def test_every_changed_character_is_noticed(payload):
    """Also in the prefix, and also where base64 has bits that stand for nothing."""
    for pad in range(3):  # the three ways in which base64 ends
        text = sealer().seal("thinking", "anthropic", "m" * pad, payload, owner="alice")
        for i, letter in enumerate(text):
            for other in ("A", "B", "g", "_", "=", " ", "é", "/"):
                if other != letter:
                    fault = fault_of(sealer(), text[:i] + other + text[i + 1 :])
                    assert (fault.status, fault.code) == (400, "invalid_value")


@given(st.data())
def test_a_cut_or_lengthened_envelope_does_not_open(data):
    """At either end, by any number of characters."""
    text = sealer().seal("k", "b", "m", ["p"] * 9, owner="alice")
    start, stop = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
    if (start, stop) != (0, len(text)):
        assert fault_of(sealer(), text[start:stop]).code == "invalid_value"
    assert fault_of(sealer(), text + data.draw(st.text(min_size=1))).code == "invalid_value"


def test_another_key_does_not_open():
    """A gateway with another secret says where the fault lies and what to do."""
    text = sealer(KEY).seal("k", "b", "m", None, owner="alice")
    fault = fault_of(sealer(OTHER_KEY), text, param="input[3].encrypted_content")
    assert fault.param == "input[3].encrypted_content"
    assert "leave this item out" in fault.message


def test_keys_can_be_exchanged():
    """The new first key seals; what an older one has sealed still opens as long as it is in the list."""
    old = sealer(KEY).seal("k", "b", "m", 1, owner="alice")
    rotated = sealer(OTHER_KEY, KEY)
    assert rotated.open(old, owner="alice").payload == 1
    new = rotated.seal("k", "b", "m", 2, owner="alice")
    assert sealer(OTHER_KEY).open(new, owner="alice").payload == 2
    assert fault_of(sealer(KEY), new).code == "invalid_value"


@given(TEXT, TEXT)
def test_another_owner_does_not_open(owner, other):
    """Copied by another tenant, it is as good as damaged: the fault is the same."""
    text = sealer().seal("k", "b", "m", None, owner=owner)
    if owner != other:
        assert fault_of(sealer(), text, other).message == fault_of(sealer(), "antiphon.v1.AAAA").message


def test_no_two_envelopes_are_equal():
    """The same content sealed twice cannot be told to be the same."""
    one = sealer()
    texts = [one.seal("k", "b", "m", "same", owner="alice") for _ in range(200)]
    assert len(set(texts)) == 200
    for a, b in itertools.pairwise(texts):
        assert a[12:44] != b[12:44]


def test_nothing_is_readable():
    """Neither the payload nor whose it is can be seen from outside, nor in its base64."""
    text = sealer().seal("thinking", "anthropic", "claude", "a secret thought", owner="alice")
    assert text.isascii()
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    inside = sealing._unarmoured(text)
    for word in (b"thinking", b"anthropic", b"claude", b"secret", b"alice"):
        assert word not in inside


def test_foreign_content_is_not_ours():
    """An upstream's own passes on; what only looks like ours, or comes from a later version, is refused."""
    assert not Sealer.is_ours("gAAAAABovEncryptedByOpenAI==")
    assert not Sealer.is_ours("")
    assert Sealer.is_ours(sealer().seal("k", "b", "m", None, owner=""))
    assert Sealer.is_ours("antiphon.v2.AAAA")
    for text in ("antiphon.v2.AAAA", "antiphon.v1.", "antiphon.", "gAAAAA"):
        assert fault_of(sealer(), text).code == "invalid_value"


def test_large_content_is_compressed():
    """What repeats itself takes little room; what does not, hardly more than its base64."""
    assert len(sealer().seal("k", "b", "m", "again and " * 10_000, owner="")) < 2000
    noise = random.Random(1).randbytes(30_000).hex()
    assert len(sealer().seal("k", "b", "m", noise, owner="")) < len(noise)


def test_sizes_are_bounded(monkeypatch):
    """Content that no request could bring back is not sealed, and longer text is not even looked at."""
    fault = fault_of(sealer(), "antiphon.v1." + "A" * MAX_CHARS)
    assert fault.code == "string_above_max_length"
    with pytest.raises(UpstreamFault) as raised:
        sealer().seal("k", "b", "m", "x" * sealing.MAX_PLAIN_BYTES, owner="")
    assert raised.value.code == "upstream_answer_too_large"
    monkeypatch.setattr(sealing, "MAX_CHARS", 100)
    with pytest.raises(UpstreamFault):
        sealer().seal("k", "b", "m", random.Random(1).randbytes(100).hex(), owner="")


def test_a_sealer_needs_a_key_and_whole_nonces():
    """A short nonce would repeat itself one day."""
    with pytest.raises(ValueError, match="key"):
        Sealer((), nonces_from(0))
    with pytest.raises(ValueError, match="24 bytes"):
        Sealer((KEY,), lambda: b"short").seal("k", "b", "m", None, owner="")


def test_ciphers_are_loaded_when_they_are_needed():
    """A gateway that never seals does not pay for them at its start."""
    import subprocess

    program = "import sys, antiphon.app; sys.exit('Crypto' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
