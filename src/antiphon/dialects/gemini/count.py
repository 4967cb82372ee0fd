"""How many tokens a request has, as Gemini itself counts them."""

from typing import Any

from antiphon.dialects.gemini.request_writer import gemini_path, write_gemini_request
from antiphon.dialects.translation import Asking
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import UpstreamFault
from antiphon.wire.objects import read_object


def gemini_count_path(model: str) -> str:
    """Return the path that counts for `model`."""
    return gemini_path(model, "countTokens")


def write_gemini_count(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body that asks for the tokens of a request, its tools and instructions included."""
    model = asking.model if "/" in asking.model else f"models/{asking.model}"
    return {"generateContentRequest": {"model": model, **write_gemini_request(request, asking)}}


def read_gemini_count(body: bytes) -> int:
    """Return the number of tokens. Raises UpstreamFault."""
    try:
        total = read_object(body).get("totalTokens")
    except ValueError:
        total = None
    if not isinstance(total, int):
        raise UpstreamFault("The upstream's answer does not count tokens.", code="upstream_invalid_json")
    return total
