"""What Claude models take, where one would refuse what another wants. Other models are taken for recent ones.

Sources: Anthropic's pages on models, thinking and migration, as of November 2026.
"""

import re
from typing import Any, Final

_OUTPUT_LIMITS: Final = (
    (r"claude-(?:instant|2|3-(?:opus|haiku|sonnet))|claude-3-5-sonnet-20240620", 4096),
    (r"claude-3-5", 8192),
    (r"claude-[a-z]+-4-[6-9]", 128_000),
    (r"claude-opus-4(?:-[01]|-\d{8}|$)", 32_000),
    (r"claude-(?:3-7|[a-z]+-4)", 64_000),
    (r"claude-", 128_000),
)
"""Most output tokens, thinking included, by the first pattern that fits."""
_OTHERS_LIMIT: Final = 8192

_NEVER_THINKS: Final = re.compile(r"claude-(?:instant|2|3-(?!7))")
_ALWAYS_THINKS: Final = re.compile(r"claude-(?:fable|mythos|opus-5-5)")
_THINKS_BY_ITSELF: Final = re.compile(r"claude-[a-z]+-[5-9]")
_THINKS_BETWEEN_TOOLS: Final = re.compile(r"claude-sonnet-5-5")
_WITHOUT_SAMPLING: Final = re.compile(r"claude-(?:fable|mythos|opus-4-[7-9]|[a-z]+-[5-9])")
_ONE_SAMPLING_SETTING: Final = re.compile(r"claude-[a-z]+-4-[1-9]")
_WITHOUT_XHIGH: Final = re.compile(r"claude-[a-z]+-4-6")


def output_limit(model: str) -> int:
    """Return the most output tokens that may be asked of `model`."""
    for pattern, limit in _OUTPUT_LIMITS:
        if re.search(pattern, model):
            return limit
    return _OTHERS_LIMIT


def can_think(model: str) -> bool:
    """Whether `model` knows the setting `thinking`."""
    return not _NEVER_THINKS.search(model)


def always_thinks(model: str) -> bool:
    """Whether thinking cannot be turned off; such a model refuses forced tools too."""
    return bool(_ALWAYS_THINKS.search(model))


def thinks_by_itself(model: str) -> bool:
    """Whether `model` thinks where the request says nothing of it."""
    return bool(_THINKS_BY_ITSELF.search(model))


def without_thinking(model: str) -> dict[str, Any]:
    """Return the setting with which `model` thinks least."""
    return {"type": "between_tools" if _THINKS_BETWEEN_TOOLS.search(model) else "disabled"}


def takes_sampling(model: str) -> bool:
    """Whether `model` takes `temperature`, `top_p` and `top_k`."""
    return not _WITHOUT_SAMPLING.search(model)


def takes_one_sampling_setting(model: str) -> bool:
    """Whether `model` refuses `temperature` and `top_p` together."""
    return bool(_ONE_SAMPLING_SETTING.search(model))


def effort_of(model: str, effort: str) -> str:
    """Return the effort of `model` that is nearest to one of the Responses API."""
    if effort == "minimal":
        return "low"
    return "high" if effort == "xhigh" and _WITHOUT_XHIGH.search(model) else effort
