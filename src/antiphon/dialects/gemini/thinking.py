"""How much a Gemini model is told to think.

Models of the 2.5 series have a budget of tokens, later ones a level; older ones do not think and are told nothing.
Sources (October 2026): https://ai.google.dev/gemini-api/docs/thinking, and for what an effort means
https://ai.google.dev/gemini-api/docs/openai#thinking.
"""

import re
from typing import Any, Final

from antiphon.dialects.translation import Asking
from antiphon.turn.request import HubRequest

_THOUGHTLESS: Final = re.compile(r"gemini-(?:1|2\.0|pro-vision)|gemma|learnlm|embedding|imagen")
_PRO: Final = re.compile(r"gemini-[\w.]+-pro|gemini-pro")

_BUDGETS: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
_PRO_BUDGETS: Final = _BUDGETS | {"none": 128, "xhigh": 32768, "max": 32768}
"""Pro models cannot be told not to think; 128 is the least."""

_LEVELS: Final = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_PRO_LEVELS: Final = _LEVELS | {"none": "low", "minimal": "low"}


def has_levels(asking: Asking) -> bool:
    """Whether the model belongs to those whose thinking has levels, and whose calls must be signed."""
    model = asking.model
    return _THOUGHTLESS.search(model) is None and not asking.profile.has_budget(model)


def thinking(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the `thinkingConfig` of a request, empty where nothing is asked for.

    Thoughts are shown where a summary is wanted, and where an effort is: clients that only know efforts have no
    other way to ask.
    """
    reasoning = request.get("reasoning") or {}
    effort = reasoning.get("effort")
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    model = asking.model
    if _THOUGHTLESS.search(model) or (effort is None and summary is None):
        return {}
    config: dict[str, Any] = {"includeThoughts": summary is not None or effort != "none"}
    is_pro = _PRO.search(model) is not None
    if effort is None:
        return config
    if asking.profile.has_budget(model):
        budget = (_PRO_BUDGETS if is_pro else _BUDGETS).get(effort)
        return config if budget is None else config | {"thinkingBudget": budget}
    level = (_PRO_LEVELS if is_pro else _LEVELS).get(effort)
    return config if level is None else config | {"thinkingLevel": level}
