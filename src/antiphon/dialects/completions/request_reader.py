"""Reads a request for a text completion into the hub: its prompt is what a user says.

What a prompt alone can ask for, and a conversation cannot, is refused by name: several prompts or answers, tokens
by number, a suffix, the prompt once more in front of the answer. What nobody knows here is not passed on.
"""

from typing import Any, Final

from antiphon.turn.request import HubRequest, normalized, user_message
from antiphon.wire.errors import ClientFault

_SAME: Final[dict[str, tuple[type, ...]]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "seed": (int,),
    "stop": (str, list),
    "logit_bias": (dict,),
    "user": (str,),
    "top_k": (int,),
    "min_p": (int, float),
    "keep_alive": (str, int, float),
    "options": (dict,),
}
"""Members that the hub has under the same name, the last two for Ollama alone."""

_COUNTS: Final = ("max_tokens", "logprobs", "n", "best_of")
_SINGLE: Final = ("n", "best_of")
_NAMES: Final = {
    str: "a string",
    list: "a list",
    int: "an integer",
    float: "a number",
    dict: "an object",
}
_LOGPROBS: Final = "message.output_text.logprobs"


def read_completions_request(body: dict[str, Any]) -> HubRequest:
    """Return the hub's form of a request. Raises ClientFault with the member that is at fault."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, types in (_SAME | dict.fromkeys(_COUNTS, (int,))).items():
        if name in given:
            _expect(given[name], types, name)
    _refuse_what_has_no_form(given)
    request = {name: given[name] for name in _SAME if name in given}
    request["input"] = [user_message(_prompt(given))]
    if "max_tokens" in given:
        request["max_output_tokens"] = given["max_tokens"]
    if "logprobs" in given:
        request |= {"include": [_LOGPROBS], "top_logprobs": given["logprobs"]}
    return normalized(request)


def _prompt(given: dict[str, Any]) -> str:
    prompt = given.get("prompt")
    if prompt is None:
        raise ClientFault(
            "Missing required parameter: 'prompt'.", code="missing_required_parameter", param="prompt"
        )
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        (prompt,) = prompt
    if isinstance(prompt, str):
        return prompt
    _expect(prompt, (str, list), "prompt")
    if prompt and all(isinstance(each, str) for each in prompt):
        raise _no_form("prompt", "several prompts in one request: send one request for each")
    if prompt and all(isinstance(each, int | list) for each in prompt):
        raise _no_form("prompt", "a prompt of token numbers: send it as text")
    raise ClientFault(
        "'prompt' must be a string, or a list that holds one.", code="invalid_type", param="prompt"
    )


def _refuse_what_has_no_form(given: dict[str, Any]) -> None:
    for name in _SINGLE:
        if given.get(name, 1) != 1:
            raise _no_form(name, "more than one answer: send the request several times")
    if given.get("suffix"):
        raise _no_form("suffix", "text after the completion")
    if given.get("echo"):
        raise _no_form("echo", "the prompt in front of its completion: put it there yourself")


def _no_form(param: str, what: str) -> ClientFault:
    return ClientFault(
        f"This model's provider has no text completions, and their translation has no form for {what}.",
        code="unsupported_parameter",
        param=param,
    )


def _expect(value: Any, types: tuple[type, ...], name: str) -> None:
    if isinstance(value, types) and not isinstance(value, bool):
        return
    named = " or ".join(_NAMES[kind] for kind in types if not (kind is int and float in types))
    raise ClientFault(f"'{name}' must be {named}.", code="invalid_type", param=name)
