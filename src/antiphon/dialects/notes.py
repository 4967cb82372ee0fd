"""What only words can tell a model: that its answer is to be JSON, and of what schema."""

from typing import Any, Final

from antiphon.dialects.translation import Structured
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault
from antiphon.wire.objects import write_text

_WHEN: Final = "When you answer with text, it is nothing but one JSON"
"""A model may still call tools."""


def json_note(request: HubRequest, structured: Structured | None) -> str | None:
    """Return what is said of JSON where no setting says it; None where none is wanted, or a setting does."""
    form = request.get("text", {}).get("format") or {}
    if structured is Structured.JSON:
        return f"{_WHEN} value that matches this JSON schema:\n{write_text(schema_of(form))}"
    return f"{_WHEN} object." if form.get("type") == "json_object" else None


def schema_of(form: Item) -> Item:
    """Return the schema of a `text.format`. Raises ClientFault for one without."""
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise ClientFault(
            "Missing required parameter: 'text.format.schema'.",
            code="missing_required_parameter",
            param="text.format.schema",
        )
    return schema


def with_notes(messages: list[dict[str, Any]], notes: list[str], role: str) -> list[dict[str, Any]]:
    """Return messages with `notes` at the end of the first one's text, if it is of `role`; else before it."""
    if not notes:
        return messages
    first = messages[0] if messages and messages[0]["role"] == role else None
    if first is None:
        return [{"role": role, "content": "\n\n".join(notes)}, *messages]
    content = first["content"]
    if isinstance(content, list):
        told: Any = [*content, *({"type": "text", "text": note} for note in notes)]
    else:
        told = "\n\n".join([content, *notes])
    return [{**first, "content": told}, *messages[1:]]
