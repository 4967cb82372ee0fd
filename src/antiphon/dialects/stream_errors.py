"""What an upstream tells of an error in the middle of its answer."""

from typing import Any, Final

UNEXPLAINED: Final = "The upstream reported an error in the middle of its answer."


def told_error(error: Any) -> tuple[str, str]:
    """Return code and message of the `error` that an upstream has told, whatever its shape."""
    if not isinstance(error, dict):
        return "upstream_error", str(error) if error else UNEXPLAINED
    inner = error["error"] if isinstance(error.get("error"), dict) else error
    code = inner.get("code") or inner.get("type") or "upstream_error"
    return str(code), str(inner.get("message") or UNEXPLAINED)
