"""Writes a hub request for an upstream that has the Responses API: what other dialects' clients asked of it."""

from typing import Any, Final

from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.compaction import shown_summary
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest

_KNOWN: Final = frozenset(
    {
        *(
            "instructions",
            "max_output_tokens",
            "max_tool_calls",
            "parallel_tool_calls",
            "temperature",
            "top_p",
        ),
        *("top_logprobs", "text", "reasoning", "tools", "tool_choice", "truncation", "include", "metadata"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "user"),
        *("service_tier", "moderation", "image", "prompt"),
    }
)
"""Members that the Responses API has; what other dialects have beside them is not told."""

_LACKING: Final = {"stop": "stop sequences", "logit_bias": "a bias of tokens"}
"""Members that it has no form for, and that change what is answered."""

_ENCRYPTED: Final = "reasoning.encrypted_content"


def write_responses_request(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body of a request to a provider that keeps nothing. Raises ClientFault."""
    for name, what in _LACKING.items():
        if request.get(name):
            raise lacks(name, what, asking.profile)
    body = {name: value for name, value in request.items() if name in _KNOWN}
    items = [kept for item in request["input"] if (kept := _replayed(item, asking)) is not None]
    body |= {"model": asking.model, "input": items, "store": False}
    if asking.stream:
        body["stream"] = True
    if request.get("reasoning"):
        body["include"] = list(dict.fromkeys([*request.get("include", ()), _ENCRYPTED]))
    return body


def _replayed(item: Item, asking: Asking) -> Item | None:
    """Return an item as the upstream takes it back; None for reasoning that it could not read."""
    if item["type"] == "compaction" and asking.is_sealed(item["encrypted_content"]):
        summary = asking.unseal(item["encrypted_content"])
        text = shown_summary(summary["text"] if summary else "")
        return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
    if item["type"] != "reasoning":
        return item
    blob = item.get("encrypted_content")
    if blob is None:
        return None  # it was never kept there
    opened = asking.unseal(blob)
    if opened is not None:
        return {"summary": [], **item, "encrypted_content": opened["encrypted_content"]}
    return None if asking.is_sealed(blob) else {"summary": [], **item}
