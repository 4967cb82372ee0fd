"""The one way in which a request is refused because an upstream cannot be told of it."""

from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.providers import Profile
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault

_SERVICE_ALONE: Final[dict[str, Callable[[Any], bool]]] = {
    "prompt": bool,
    "moderation": bool,
    "multi_agent": lambda value: not isinstance(value, dict) or bool(value.get("enabled")),
}
"""Members that only OpenAI's service can serve, and whether a value of theirs changes the answer."""


def lacks(path: str, what: str, profile: Profile) -> ClientFault:
    """Return the fault for a request that wants `what`, where the member at `path` wants it."""
    return ClientFault(
        f"{profile.label} has no form for {what} ('{path}').", code="unsupported_parameter", param=path
    )


def refuse_service_members(request: HubRequest, profile: Profile) -> None:
    """Refuse what no dialect but that of the Responses API could be told. Raises ClientFault."""
    for name, changes in _SERVICE_ALONE.items():
        if name in request and changes(request[name]):
            raise lacks(name, f"'{name}'", profile)
