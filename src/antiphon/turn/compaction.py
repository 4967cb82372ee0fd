"""Compaction of a conversation: what the model is asked, and what the client gets (specification, sections 2.7, 12.5).

The user's messages stay as they are. Everything else becomes a summary that the model writes; it goes into an
envelope, and later turns show it to whatever model they ask as a message of the developer.
"""

from typing import Any, Final

from antiphon.turn.events import Event, Item
from antiphon.turn.making import MakeId
from antiphon.turn.request import HubRequest, user_message

_INSTRUCTIONS: Final = """\
You compact conversations. Another model will go on with the one you are shown, and will see of it only the user's
messages, word for word, and what you write now. Write down everything it needs to go on as if it had been there:
what is wanted, what was decided and why, what was done and found (names, numbers, paths, results of tools), what is
still open, and what comes next. Leave out pleasantries. Write plain text in the language of the conversation."""
_REQUEST: Final = "Compact the conversation up to here."
_SHOWN: Final = "This is what happened before, as a summary of an earlier part of the conversation:\n\n{}"


def compaction_request(request: HubRequest) -> dict[str, Any]:
    """Return the create body that asks the model of `request` for the summary of its input."""
    guidance = request.get("instructions")
    instructions = f"{_INSTRUCTIONS}\n\n{guidance}" if isinstance(guidance, str) else _INSTRUCTIONS
    return {
        "model": request["model"],
        "instructions": instructions,
        "input": [*request["input"], user_message(_REQUEST)],
        "store": False,
    }


def compacted(
    request: HubRequest, sealed: str, *, created_at: int, usage: Item | None, make_id: MakeId
) -> Event:
    """Return the compaction: the user's messages, then one item with the `sealed` summary."""
    kept = [
        {"id": make_id("msg_"), "status": "completed", **item}
        for item in request["input"]
        if item["type"] == "message" and item["role"] == "user"
    ]
    item = {"id": make_id("cmp_"), "type": "compaction", "encrypted_content": sealed}
    return {
        "id": make_id("resp_"),
        "object": "response.compaction",
        "created_at": created_at,
        "output": [*kept, item],
        "usage": usage,
    }


def shown_summary(text: str) -> str:
    """Return how a summary is shown to the model that goes on."""
    return _SHOWN.format(text)
