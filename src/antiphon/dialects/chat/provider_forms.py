"""What providers of chat completions write in ways of their own; `dialects/providers.py` says who does.

How much to think, what holds an answer to JSON, which tools are offered, and the ids of calls.
"""

import hashlib
import re
from typing import Any, Final

from antiphon.dialects.translation import Asking
from antiphon.turn.tools import Tool

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The weakest first."""
_SHORT_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
_ANY_OBJECT: Final = {"name": "object", "schema": {"type": "object"}}


def effort_members(effort: Any, asking: Asking) -> dict[str, Any]:
    """Return the members that tell how much to think; none where nothing is asked, or nothing can be."""
    profile = asking.profile
    if profile.effort == "thinking":
        return _switched(effort, asking)
    if effort is None or not profile.takes_effort(asking.model):
        return {}
    if profile.efforts:
        effort = _nearest(effort, profile.efforts)
    return (
        {"reasoning": {"effort": effort}} if profile.effort == "reasoning" else {"reasoning_effort": effort}
    )


def _switched(effort: Any, asking: Asking) -> dict[str, Any]:
    """DeepSeek thinks unless it is told not to, and refuses a tool that must be called while it does."""
    is_forced = asking.answer_tool is not None or asking.toolset.choice.mode == "required"
    if is_forced or effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {} if effort is None else {"thinking": {"type": "enabled"}, "reasoning_effort": effort}


def _nearest(effort: Any, known: tuple[str, ...]) -> Any:
    """Return the weakest effort that is known and not weaker; one that nobody knows stays as it is."""
    if effort not in _EFFORTS:
        return effort
    stronger = _EFFORTS[_EFFORTS.index(effort) :]
    return next((each for each in known if each in stronger), known[-1])


def json_object_form(asking: Asking) -> dict[str, Any]:
    """Return the `response_format` of JSON without a schema."""
    if asking.profile.json_object:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": _ANY_OBJECT}


def offered_tools(asking: Asking) -> tuple[Tool, ...]:
    """Return the tools that the upstream is told of."""
    toolset = asking.toolset
    if toolset.choice.name is None or asking.profile.named_choice:
        return toolset.tools
    return tuple(tool for tool in toolset.tools if tool.wire_name == toolset.choice.name)


def wire_call_id(call_id: str, asking: Asking) -> str:
    """Return a call's id in the form that the upstream takes."""
    if not asking.profile.short_call_ids or _SHORT_ID.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def thinking_part(text: str) -> dict[str, Any]:
    """Return earlier reasoning as a part of an assistant's content, which is how Mistral takes it back."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
