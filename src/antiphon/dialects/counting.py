"""How each upstream dialect is asked for the number of tokens in a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from antiphon.dialects.gemini.count import gemini_count_path, read_gemini_count, write_gemini_count
from antiphon.dialects.registry import UPSTREAMS
from antiphon.dialects.translation import Asking
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import read_object

_RESPONSES: Final = (
    *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
    *("reasoning", "text", "truncation"),
)
_MESSAGES: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking")
"""Members of a request that the counting route takes."""


@dataclass(frozen=True, slots=True)
class Counter:
    """An upstream's own way of counting."""

    path: Callable[[str], str]
    """Upstream model -> path below the base URL."""
    write: Callable[[HubRequest, Asking], dict[str, Any]]
    """Writes the body that asks. Raises ClientFault."""
    read: Callable[[bytes], int]
    """Reads the number of tokens. Raises UpstreamFault."""


def _some_members(dialect: str, members: tuple[str, ...]) -> Callable[[HubRequest, Asking], dict[str, Any]]:
    def write(request: HubRequest, asking: Asking) -> dict[str, Any]:
        body = UPSTREAMS[dialect].write(request, asking)
        return {name: body[name] for name in members if name in body}

    return write


def _read_input_tokens(body: bytes) -> int:
    try:
        number = read_object(body).get("input_tokens")
    except ValueError:
        number = None
    if not isinstance(number, int):
        raise UpstreamFault("The upstream's answer does not count tokens.", code="upstream_invalid_json")
    return number


COUNTERS: Final[dict[str, Counter]] = {
    "responses": Counter(
        lambda _: "/responses/input_tokens", _some_members("responses", _RESPONSES), _read_input_tokens
    ),
    "messages": Counter(
        lambda _: "/messages/count_tokens", _some_members("messages", _MESSAGES), _read_input_tokens
    ),
    "gemini": Counter(gemini_count_path, write_gemini_count, read_gemini_count),
}
"""By upstream dialect; the others have none, and their requests are counted here."""
