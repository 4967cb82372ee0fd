"""How each upstream dialect is asked for the number of tokens in a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from antiphon.dialects.chat_json import read_object
from antiphon.dialects.registry import UPSTREAMS
from antiphon.dialects.translation import Asking
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import UpstreamFault


@dataclass(frozen=True, slots=True)
class Counter:
    """An upstream's own way of counting."""

    path: Callable[[str], str]
    """Upstream model -> path below the base URL."""
    members: frozenset[str]
    """Members of a request that it takes."""
    answer: str
    """The member of its answer that holds the number."""

    def write(self, dialect: str, request: HubRequest, asking: Asking) -> dict[str, Any]:
        """Return the body that asks. Raises ClientFault."""
        body = UPSTREAMS[dialect].write(request, asking)
        return {name: value for name, value in body.items() if name in self.members}

    def read(self, body: bytes) -> int:
        """Return the number of tokens. Raises UpstreamFault."""
        try:
            number = read_object(body).get(self.answer)
        except ValueError:
            number = None
        if not isinstance(number, int):
            raise UpstreamFault("The upstream's answer does not count tokens.", code="upstream_invalid_json")
        return number


_RESPONSES: Final = frozenset(
    {
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("reasoning", "text", "truncation"),
    }
)

COUNTERS: Final[dict[str, Counter]] = {
    "responses": Counter(lambda model: "/responses/input_tokens", _RESPONSES, "input_tokens"),  # noqa: ARG005
}
"""By upstream dialect; the others have none, and their requests are estimated."""
