"""A create request of the Responses API, held to the bounds that its documentation gives (specification, section 3).

An upstream that has this API says itself what it does not take. Where the request is translated nobody else would:
the bounds of other dialects are others, or only hold for some of their models.
"""

from typing import Any, Final

from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest, check_call_outputs, normalized
from antiphon.wire.errors import ClientFault

_RANGES: Final[dict[str, tuple[float | None, float | None]]] = {
    "max_output_tokens": (16, None),
    "max_tool_calls": (1, None),
    "top_logprobs": (0, 20),
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_INTEGERS: Final = frozenset({"max_output_tokens", "max_tool_calls", "top_logprobs"})
_WORDS: Final = {
    "truncation": ("auto", "disabled"),
    "text.verbosity": ("low", "medium", "high"),
    "text.format.type": ("text", "json_object", "json_schema"),
}
_LENGTHS: Final = {"prompt_cache_key": 64, "safety_identifier": 128}
_PAIRS: Final = 16
_KEY_LENGTH: Final = 64
_VALUE_LENGTH: Final = 512
_ELSEWHERE: Final = ("prompt", "moderation", "multi_agent")
"""Members that would change the answer, and that only OpenAI can follow."""


def read_create(body: Item) -> HubRequest:
    """Read a create body. Raises ClientFault with a path."""
    request = normalized(body)
    for name, (low, high) in _RANGES.items():
        if name in request:
            _check_range(name, request[name], low, high)
    for path, words in _WORDS.items():
        value = _at(request, path)
        if value is not None and value not in words:
            told = ", ".join(words)
            raise ClientFault(f"'{path}' is one of {told}.", code="invalid_value", param=path)
    for name, length in _LENGTHS.items():
        _check_length(request.get(name, ""), length, name)
    check_metadata(request.get("metadata", {}))
    if _at(request, "text.format.type") == "json_schema":
        _check_schema(request["text"]["format"])
    check_call_outputs(request["input"])
    return request


def refuse_elsewhere(request: HubRequest, upstream: str) -> None:
    """Refuse what only OpenAI itself can do, where `upstream` (as errors call it) is asked. Raises ClientFault."""
    for name in _ELSEWHERE:
        if name in request:
            raise ClientFault(
                f"'{name}' is not available: {upstream} does not have it.",
                code="unsupported_parameter",
                param=name,
            )


def _check_range(name: str, value: float, low: float | None, high: float | None) -> None:
    kind = "integer" if name in _INTEGERS else "decimal"
    if low is not None and value < low:
        raise ClientFault(
            f"'{name}' must be {low} or more, not {value}.", code=f"{kind}_below_min_value", param=name
        )
    if high is not None and value > high:
        raise ClientFault(
            f"'{name}' must be {high} or less, not {value}.", code=f"{kind}_above_max_value", param=name
        )


def _at(request: HubRequest, path: str) -> Any:
    value: Any = request
    for name in path.split("."):
        value = (value or {}).get(name)
    return value


def _check_length(value: str, length: int, path: str) -> None:
    if len(value) > length:
        raise ClientFault(
            f"'{path}' has {len(value)} characters, and may have {length}.",
            code="string_above_max_length",
            param=path,
        )


def _check_schema(form: Item) -> None:
    for name, kind, told in (("name", str, "a string"), ("schema", dict, "an object")):
        path = f"text.format.{name}"
        if form.get(name) is None:
            raise ClientFault(
                f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path
            )
        if not isinstance(form[name], kind):
            raise ClientFault(f"'{path}' must be {told}.", code="invalid_type", param=path)


def check_metadata(metadata: Item) -> None:
    """Refuse what is out of bounds. Raises ClientFault with a path."""
    if len(metadata) > _PAIRS:
        raise ClientFault(
            f"'metadata' has {len(metadata)} pairs, and may have {_PAIRS}.",
            code="object_above_max_properties",
            param="metadata",
        )
    for name, value in metadata.items():
        _check_length(name, _KEY_LENGTH, "metadata")
        path = f"metadata.{name}"
        if not isinstance(value, str):
            raise ClientFault(f"'{path}' must be a string.", code="invalid_type", param=path)
        _check_length(value, _VALUE_LENGTH, path)
