"""Who asks: the client's key, looked up by its digest."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from antiphon.engine.turn import ANYBODY, Owner
from antiphon.settings import Key
from antiphon.wire.errors import ClientFault

_HEADERS = (b"x-api-key", b"api-key")


def presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the key that a request carries as bearer token or in the headers that other clients use."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else authorization
    for name in _HEADERS:
        if name in headers:
            return headers[name]
    return b""


class Keyring:
    """The configured keys."""

    def __init__(self, keys: Sequence[Key]) -> None:
        """Without keys everybody is one owner."""
        # By digest: how long a look-up takes tells nothing about the keys themselves.
        self._owners = {_digest_of(key): Owner(key.name, key.project) for key in keys}

    @property
    def has_keys(self) -> bool:
        """Whether a key is asked for."""
        return bool(self._owners)

    def named(self, name: str | None) -> Owner:
        """Return the owner whose key has this name; None where there are no keys. Raises ClientFault 400."""
        if name is None and not self._owners:
            return ANYBODY
        for owner in self._owners.values():
            if owner.name == name:
                return owner
        raise ClientFault(
            "Say with the name of which key it is asked."
            if name is None
            else "There is no key of this name.",
            code="missing_required_parameter" if name is None else "invalid_value",
            param="key",
        )

    def owner(self, headers: Mapping[bytes, bytes]) -> Owner:
        """Return who asks. Raises ClientFault 401."""
        if not self._owners:
            return ANYBODY
        key = presented_key(headers)
        owner = self._owners.get(hashlib.sha256(key).digest())
        if owner is None:
            raise ClientFault(
                "Incorrect API key provided." if key else "You didn't provide an API key.",
                code="invalid_api_key",
                status=401,
                headers=((b"www-authenticate", b"Bearer"),),
            )
        return owner


def is_admin(headers: Mapping[bytes, bytes], admin_key: str) -> bool:
    """Whether the request carries the admin key."""
    return hmac.compare_digest(presented_key(headers), admin_key.encode())


def _digest_of(key: Key) -> bytes:
    if key.key_sha256 is not None:
        return bytes.fromhex(key.key_sha256)
    assert key.key is not None
    return hashlib.sha256(key.key.encode()).digest()
