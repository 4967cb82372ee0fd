"""The one way in which a request is refused because an upstream cannot be told of it."""

from antiphon.dialects.providers import Profile
from antiphon.wire.errors import ClientFault


def lacks(path: str, what: str, profile: Profile) -> ClientFault:
    """Return the fault for a request that wants `what`, where the member at `path` wants it."""
    return ClientFault(
        f"{profile.label} has no form for {what} ('{path}').", code="unsupported_parameter", param=path
    )
