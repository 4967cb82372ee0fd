"""What an earlier turn has left in a request, read in the same way for every upstream: arguments, and summaries."""

import json

from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.compaction import shown_summary
from antiphon.turn.events import Item


def read_arguments(text: str) -> Item:
    """Return the arguments of a call as an object; what is none, another model's slip, is wrapped in one."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"input": text}


def summary_of(item: Item, path: str, asking: Asking) -> str:
    """Return what a compaction shows the model that goes on. Raises ClientFault for one that was made elsewhere."""
    summary = asking.unseal(item["encrypted_content"])
    if summary is None:
        raise lacks(f"{path}.encrypted_content", "a compaction made elsewhere", asking.profile)
    return shown_summary(summary["text"])
