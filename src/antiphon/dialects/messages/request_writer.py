"""Writes a hub request as one of Anthropic Messages (specification, section 15.6).

Where Anthropic refuses two settings together, what the client can see decides: a tool that must be called turns
thinking off, and thinking does without `temperature`, `top_p` and `top_k`. What it has no form for is refused by
its path where leaving it out would change the meaning.
"""

from typing import Any, Final

from antiphon.dialects.messages import models
from antiphon.dialects.messages.blocks import Block, text_block
from antiphon.dialects.messages.tools import write_tools
from antiphon.dialects.messages.turns import Turns
from antiphon.dialects.notes import json_note
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking, Structured
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault

_LOGPROBS: Final = "message.output_text.logprobs"
_SERVICE_TIERS: Final = {"auto": "auto", "priority": "auto", "default": "standard_only"}
_BUDGETS: Final = {
    "minimal": 1024,
    "low": 1024,
    "medium": 4096,
    "high": 16_384,
    "xhigh": 32_000,
    "max": 48_000,
}
"""Tokens of thinking, for models that know no effort."""
_LEAST_BUDGET: Final = 1024
_ANSWER_SHARE: Final = 4
"""One part in so many of a request's limit is left for the answer itself."""

Body = dict[str, Any]


def write_messages_request(request: HubRequest, asking: Asking) -> Body:
    """Return the body of a request to Anthropic. Raises ClientFault."""
    _refuse_lacking(request, asking)
    turns = Turns(request, asking)
    limit = models.output_limit(asking.model)
    body: Body = {
        "model": asking.model,
        "max_tokens": request.get("max_output_tokens") or limit,
        "messages": turns.messages,
    }
    system = turns.system + _format_note(request, asking)
    if system:
        is_plain = len(system) == 1 and "cache_control" not in system[0]
        body["system"] = system[0]["text"] if is_plain else system
    body |= write_tools(request, asking)
    forced = body.get("tool_choice", {}).get("type") in {"any", "tool"}
    if forced and models.always_thinks(asking.model):
        raise lacks("tool_choice", f"a tool that {asking.model} must call", asking.profile)
    _set_thinking(body, request, asking, forced=forced, unthought=turns.goes_on_unthought)
    _set_sampling(body, request, asking)
    _set_format(body, request, asking)
    _set_rest(body, request, asking)
    if asking.stream:
        body["stream"] = True
    return body


def _refuse_lacking(request: HubRequest, asking: Asking) -> None:
    wanted = {
        "top_logprobs": (request.get("top_logprobs"), "log probabilities"),
        "include": (_LOGPROBS in request.get("include", ()), "log probabilities"),
        "n": (request.get("n", 1) != 1, "several answers to one request"),
        "logit_bias": (request.get("logit_bias"), "a bias of tokens"),
        "audio": (request.get("audio"), "audio"),
        "prompt": (request.get("prompt"), "stored prompts"),
    }
    for path, (is_wanted, what) in wanted.items():
        if is_wanted:
            raise lacks(path, what, asking.profile)


# Thinking.


def _set_thinking(body: Body, request: HubRequest, asking: Asking, *, forced: bool, unthought: bool) -> None:
    model, reasoning = asking.model, request.get("reasoning", {})
    effort, shown = reasoning.get("effort"), bool(reasoning.get("summary"))
    if not models.can_think(model):
        return
    if forced or effort == "none":
        _set_thinking_off(body, model, is_asked=effort == "none")
    elif asking.profile.has_budget(model):
        # A turn cannot begin to think in the middle, where its results come back.
        if not unthought and (effort is not None or "thinking_budget" in request):
            _set_budget(body, request, asking)
    elif effort is not None or shown:
        body["thinking"] = {"type": "adaptive", "display": "summarized" if shown else "omitted"}
        if effort is not None:
            body["output_config"] = {"effort": models.effort_of(model, effort)}


def _set_thinking_off(body: Body, model: str, *, is_asked: bool) -> None:
    if models.always_thinks(model):
        body["output_config"] = {"effort": "low"}
    elif is_asked or models.thinks_by_itself(model):
        body["thinking"] = models.without_thinking(model)


def _set_budget(body: Body, request: HubRequest, asking: Asking) -> None:
    """Set a budget below the limit; a limit that leaves no room for any is raised by it."""
    limit, budget = body["max_tokens"], request.get("thinking_budget")
    if budget is None:
        budget = min(_budget_of(request["reasoning"]["effort"]), limit - limit // _ANSWER_SHARE)
    budget = max(_LEAST_BUDGET, budget)
    if limit <= budget:
        body["max_tokens"] = min(limit + budget, models.output_limit(asking.model))
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _budget_of(effort: Any) -> int:
    if effort not in _BUDGETS:
        raise ClientFault(
            f"'reasoning.effort' is one of none, {', '.join(_BUDGETS)}, not {str(effort)[:40]!r}.",
            code="invalid_value",
            param="reasoning.effort",
        )
    return _BUDGETS[effort]


def _set_sampling(body: Body, request: HubRequest, asking: Asking) -> None:
    thinks = body.get("thinking", {}).get("type") in {"enabled", "adaptive"}
    if thinks or not models.takes_sampling(asking.model):
        return
    if "temperature" in request:
        body["temperature"] = min(request["temperature"], 1)  # others go up to 2
    for name in ("top_p", "top_k"):
        if name in request:
            body[name] = request[name]
    if "temperature" in body and "top_p" in body and models.takes_one_sampling_setting(asking.model):
        del body["top_p"]


# The rest.


def _set_format(body: Body, request: HubRequest, asking: Asking) -> None:
    if asking.structured is Structured.NATIVE:
        form = {"type": "json_schema", "schema": request["text"]["format"].get("schema") or {}}
        body["output_config"] = body.get("output_config", {}) | {"format": form}


def _format_note(request: HubRequest, asking: Asking) -> list[Block]:
    """Say what JSON is wanted where no setting says it."""
    note = json_note(request, asking.structured)
    block = text_block(note) if note else None
    return [block] if block else []


def _set_rest(body: Body, request: HubRequest, asking: Asking) -> None:
    stop = request.get("stop")
    if stop:
        sequences = stop if isinstance(stop, list) else [stop]
        if not all(isinstance(each, str) and each.strip() for each in sequences):
            raise lacks("stop", "stop sequences of white space", asking.profile)
        body["stop_sequences"] = sequences
    user = request.get("safety_identifier") or request.get("user")
    if user:
        body["metadata"] = {"user_id": user}
    tier = _SERVICE_TIERS.get(str(request.get("service_tier")))
    if tier is not None:
        body["service_tier"] = tier
