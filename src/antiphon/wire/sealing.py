"""The envelope: what only we may read, carried by clients as `encrypted_content`.

A client hands back with its next request what belongs to it: signed thinking, thought signatures, raw reasoning, the
summary of a compacted conversation. It travels as `antiphon.v1.` and the URL-safe base64 of nonce, ciphertext and
tag (XChaCha20-Poly1305: nonces of 24 bytes may be random for as long as a key lives). Inside stand a byte that says
whether the rest is compressed, and JSON: `[kind, backend, model, payload]`. The prefix and the owner's name are
authenticated beside it, so that an envelope which somebody else copied opens for nobody but its owner.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from antiphon.wire.deflate import deflated, inflated
from antiphon.wire.errors import ClientFault, UpstreamFault

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

NONCE_BYTES: Final = 24
MAX_CHARS: Final = 20_971_520
"""Bound of an `encrypted_content`, by the Responses API specification, section 4.2."""
MAX_PLAIN_BYTES: Final = 32 * 1024 * 1024
"""Bound of what an envelope holds, before compression."""

_OURS: Final = "antiphon."
_PREFIX: Final = "antiphon.v1."
ENVELOPE: Final = b'"antiphon.v1.'
"""How an envelope begins where it stands in JSON."""
_TAG_BYTES: Final = 16
_PLAIN: Final = b"\x00"
_COMPRESSED: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was in an envelope."""

    kind: str
    """What the payload is: `thinking`, `compaction`, …"""
    backend: str
    """Whose it is; another one could not read it."""
    model: str
    payload: JsonValue


class Sealer:
    """Seals with its first key, opens with any of them."""

    def __init__(self, keys: Sequence[bytes], nonces: Callable[[], bytes]) -> None:
        """Take secrets of any length, at least one, and what gives 24 random bytes at a time."""
        if not keys:
            raise ValueError("A sealer needs a key.")
        self._keys = tuple(
            hashlib.blake2b(key, digest_size=32, person=b"antiphon.seal.v1").digest() for key in keys
        )
        self._nonces = nonces

    @staticmethod
    def is_ours(text: str) -> bool:
        """Whether an `encrypted_content` is an envelope; an upstream's own is not, and passes on as it is."""
        return text.startswith(_OURS)

    def seal(self, kind: str, backend: str, model: str, payload: JsonValue, *, owner: str) -> str:
        """Make an envelope that opens for `owner` alone. Raises UpstreamFault for what is too large for one."""
        from Crypto.Cipher import ChaCha20_Poly1305

        plain = json.dumps([kind, backend, model, payload], separators=(",", ":")).encode()
        _check_room(len(plain), MAX_PLAIN_BYTES)
        nonce = self._nonces()
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"A nonce has {NONCE_BYTES} bytes.")
        cipher = ChaCha20_Poly1305.new(key=self._keys[0], nonce=nonce)
        cipher.update(_bound_to(owner))
        secret, tag = cipher.encrypt_and_digest(_packed(plain))
        text = _PREFIX + _armoured(nonce + secret + tag).decode("ascii")
        _check_room(len(text), MAX_CHARS)
        return text

    def open(self, text: str, *, owner: str, param: str = "input") -> Sealed:
        """Open the owner's envelope. Raises ClientFault for all that this gateway did not seal for this owner."""
        if len(text) > MAX_CHARS:
            raise ClientFault(
                f"The encrypted content is longer than {MAX_CHARS} characters.",
                code="string_above_max_length",
                param=param,
            )
        plain = self._opened(_unarmoured(text), _bound_to(owner))
        if plain is None:
            raise ClientFault(
                "The encrypted content could not be verified. Send it back exactly as you received it, to the same "
                "gateway and with a key of the same owner, or leave this item out.",
                code="invalid_value",
                param=param,
            )
        kind, backend, model, payload = json.loads(_unpacked(plain))
        return Sealed(kind, backend, model, payload)

    def _opened(self, data: bytes, bound_to: bytes) -> bytes | None:
        from Crypto.Cipher import ChaCha20_Poly1305

        if len(data) <= NONCE_BYTES + _TAG_BYTES:
            return None
        nonce, secret, tag = data[:NONCE_BYTES], data[NONCE_BYTES:-_TAG_BYTES], data[-_TAG_BYTES:]
        for key in self._keys:
            cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
            cipher.update(bound_to)
            try:
                return cipher.decrypt_and_verify(secret, tag)
            except ValueError:
                continue
        return None


def _bound_to(owner: str) -> bytes:
    return _PREFIX.encode() + owner.encode("utf-8", "surrogatepass")


def _check_room(size: int, bound: int) -> None:
    if size > bound:
        raise UpstreamFault(
            "The upstream's reasoning is too large to be carried as encrypted content.",
            code="upstream_answer_too_large",
        )


def _packed(plain: bytes) -> bytes:
    smaller = deflated(plain)
    return _PLAIN + plain if smaller is None else _COMPRESSED + smaller


def _unpacked(packed: bytes) -> bytes:
    # Authentic, so it was within the bound when it was sealed: this one is for bounds that have changed since.
    if packed[:1] == _PLAIN:
        return packed[1:]
    return inflated(packed[1:], most=MAX_PLAIN_BYTES)


def _armoured(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unarmoured(text: str) -> bytes:
    """Return the bytes, or none for what our own writing would not be."""
    letters = text.removeprefix(_PREFIX)
    if len(letters) == len(text) or not text.isascii():
        return b""
    written = letters.encode("ascii")
    try:
        data = base64.urlsafe_b64decode(written + b"=" * (-len(written) % 4))
    except binascii.Error:
        return b""
    # The decoder passes over what is not in its alphabet, and over the last bits that stand for nothing.
    return data if _armoured(data) == written else b""
