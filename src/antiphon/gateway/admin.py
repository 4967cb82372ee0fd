"""Who may administer: the admin key opens `/admin`, and what only this host may see without one."""

from collections.abc import Mapping
from typing import Final

from antiphon.gateway.keys import is_admin
from antiphon.gateway.request import Request
from antiphon.settings import is_loopback
from antiphon.wire.errors import ClientFault

PREFIX: Final = "/admin/v1"

_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


def require_admin(headers: Mapping[bytes, bytes], admin_key: str | None) -> None:
    """Return if the request carries the admin key. Raises ClientFault: 401, or 403 where there is no such key."""
    if not admin_key:
        raise ClientFault(
            "There is no admin key (`admin.key`), so this is closed.", code="forbidden", status=403
        )
    if not is_admin(headers, admin_key):
        raise ClientFault(
            "The admin key is needed.",
            code="invalid_api_key",
            status=401,
            headers=((b"www-authenticate", b"Bearer"),),
        )


def require_admin_or_local(request: Request, admin_key: str | None) -> None:
    """Return if the request carries the admin key or, where there is none, comes from this host. Raises ClientFault."""
    if admin_key:
        require_admin(request.headers, admin_key)
    elif not _is_local(request):
        raise ClientFault("Without an admin key only this host may look.", code="forbidden", status=403)


def _is_local(request: Request) -> bool:
    """Whether the request comes from this host: not through a proxy on it, nor from who knows where."""
    forwarded = not _FORWARDED.isdisjoint(request.headers)
    return bool(request.peer) and is_loopback(request.peer) and not forwarded
