"""What Open Responses (release 2026-04-24) takes for a response, an item, a part and an event; in our own words.

A shape is a function (value, place) that yields what is wrong. Members that are not named may be there: the
contract allows more. One that is named must have its shape, and null is one only where that is said.
"""

from collections.abc import Callable, Iterator
from typing import Any

Shape = Callable[[Any, str], Iterator[str]]


def of(*types: type) -> Shape:
    """A value of one of these types; true and false are no numbers."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            yield f"{place}: {value!r} is no {' or '.join(each.__name__ for each in types)}"

    return check


def among(*values: str) -> Shape:
    """One of these strings."""

    def check(value: Any, place: str) -> Iterator[str]:
        if value not in values:
            yield f"{place}: {value!r} is none of {values}"

    return check


def nullable(shape: Shape) -> Shape:
    """Null, or this."""

    def check(value: Any, place: str) -> Iterator[str]:
        if value is not None:
            yield from shape(value, place)

    return check


def list_of(shape: Shape) -> Shape:
    """A list in which everything is this."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for index, each in enumerate(value):
            yield from shape(each, f"{place}[{index}]")

    return check


def record(optional: dict[str, Shape] | None = None, **required: Shape) -> Shape:
    """An object that has the `required` members, and perhaps the `optional` ones."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no object"
            return
        for name, shape in required.items():
            if name in value:
                yield from shape(value[name], f"{place}.{name}")
            else:
                yield f"{place}.{name} is missing"
        for name, shape in (optional or {}).items():
            if name in value:
                yield from shape(value[name], f"{place}.{name}")

    return check


def by_type(shapes: dict[str, Shape]) -> Shape:
    """An object whose `type` says which of these it is."""

    def check(value: Any, place: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in shapes:
            yield from shapes[kind](value, place)
        else:
            yield f"{place}.type: {kind!r} is not known"

    return check


def either(*shapes: Shape) -> Shape:
    """One of these; what is said of a value that is none is what the last one says."""

    def check(value: Any, place: str) -> Iterator[str]:
        faults: list[str] = []
        for shape in shapes:
            faults = list(shape(value, place))
            if not faults:
                return
        yield from faults

    return check


text, integer, number, boolean = of(str), of(int), of(int, float), of(bool)
anything = of(object)
TOP_LOGPROB = record(token=text, logprob=number, bytes=list_of(integer))
LOGPROBS = list_of(
    record(token=text, logprob=number, bytes=list_of(integer), top_logprobs=list_of(TOP_LOGPROB))
)
CITATION = record(url=text, start_index=integer, end_index=integer, title=text)
ANNOTATION = by_type({"url_citation": CITATION})

PART = by_type(
    {
        "input_text": record(text=text),
        "output_text": record({"logprobs": LOGPROBS}, text=text, annotations=list_of(ANNOTATION)),
        "text": record(text=text),
        "summary_text": record(text=text),
        "reasoning_text": record(text=text),
        "refusal": record(refusal=text),
        "input_image": record(image_url=nullable(text), detail=among("low", "high", "auto")),
        "input_file": record({"filename": text, "file_url": text}),
    }
)
STATUS = among("in_progress", "completed", "incomplete")
ITEM = by_type(
    {
        "message": record(
            {"phase": among("commentary", "final_answer")},
            id=text,
            status=STATUS,
            role=among("user", "assistant", "system", "developer"),
            content=list_of(PART),
        ),
        "function_call": record(id=text, call_id=text, name=text, arguments=text, status=STATUS),
        "function_call_output": record(
            id=text, call_id=text, output=either(text, list_of(PART)), status=STATUS
        ),
        "reasoning": record(
            {"content": list_of(PART), "encrypted_content": text}, id=text, summary=list_of(PART)
        ),
        "compaction": record({"created_by": text}, id=text, encrypted_content=text),
    }
)
TOOL = by_type(
    {
        "function": record(
            name=text, description=nullable(text), parameters=nullable(of(dict)), strict=nullable(boolean)
        )
    }
)
NAMED_TOOL = by_type({"function": record({"name": nullable(text)})})
CHOICE_WORD = among("none", "auto", "required")
FORMAT = by_type(
    {
        "text": record(),
        "json_object": record(),
        # The schema itself is there, as OpenAI has it: that it should be null helps nobody.
        "json_schema": record(name=text, description=nullable(text), schema=of(dict), strict=boolean),
    }
)
USAGE = record(
    input_tokens=integer,
    output_tokens=integer,
    total_tokens=integer,
    input_tokens_details=record(cached_tokens=integer),
    output_tokens_details=record(reasoning_tokens=integer),
)
RESPONSE = record(
    id=text,
    object=among("response"),
    created_at=integer,
    completed_at=nullable(integer),
    status=text,
    incomplete_details=nullable(record(reason=text)),
    model=text,
    previous_response_id=nullable(text),
    instructions=nullable(text),
    output=list_of(ITEM),
    error=nullable(record(code=text, message=text)),
    tools=list_of(TOOL),
    tool_choice=either(
        CHOICE_WORD,
        NAMED_TOOL,
        by_type({"allowed_tools": record(tools=list_of(NAMED_TOOL), mode=CHOICE_WORD)}),
    ),
    truncation=among("auto", "disabled"),
    parallel_tool_calls=boolean,
    text=record({"verbosity": among("low", "medium", "high")}, format=FORMAT),
    top_p=number,
    presence_penalty=number,
    frequency_penalty=number,
    top_logprobs=integer,
    temperature=number,
    reasoning=nullable(
        record(
            effort=nullable(among("none", "low", "medium", "high", "xhigh")),
            summary=nullable(among("concise", "detailed", "auto")),
        )
    ),
    usage=nullable(USAGE),
    max_output_tokens=nullable(integer),
    max_tool_calls=nullable(integer),
    store=boolean,
    background=boolean,
    service_tier=text,
    metadata=of(dict),
    safety_identifier=nullable(text),
    prompt_cache_key=nullable(text),
)
COMPACTION = record(
    id=text, object=among("response.compaction"), output=list_of(ITEM), created_at=integer, usage=USAGE
)

_IN_ITEM = {"item_id": text, "output_index": integer}
_IN_CONTENT = {**_IN_ITEM, "content_index": integer}
_IN_SUMMARY = {**_IN_ITEM, "summary_index": integer}


def _event(optional: dict[str, Shape] | None = None, **required: Shape) -> Shape:
    return record({"obfuscation": text, **(optional or {})}, sequence_number=integer, **required)


_LIFECYCLE = _event(response=RESPONSE)
_OF_ITEM = _event(output_index=integer, item=ITEM)
_OF_PART = _event(**_IN_CONTENT, part=PART)
_OF_SUMMARY_PART = _event(**_IN_SUMMARY, part=PART)
_ERROR = record({"headers": of(dict)}, type=text, code=nullable(text), message=text, param=nullable(text))

EVENTS = {
    **{
        f"response.{name}": _LIFECYCLE
        for name in ("created", "queued", "in_progress", "completed", "failed", "incomplete")
    },
    "response.output_item.added": _OF_ITEM,
    "response.output_item.done": _OF_ITEM,
    "response.content_part.added": _OF_PART,
    "response.content_part.done": _OF_PART,
    "response.output_text.delta": _event({"logprobs": LOGPROBS}, **_IN_CONTENT, delta=text),
    "response.output_text.done": _event({"logprobs": LOGPROBS}, **_IN_CONTENT, text=text),
    "response.output_text.annotation.added": _event(
        **_IN_CONTENT, annotation_index=integer, annotation=nullable(ANNOTATION)
    ),
    "response.refusal.delta": _event(**_IN_CONTENT, delta=text),
    "response.refusal.done": _event(**_IN_CONTENT, refusal=text),
    "response.function_call_arguments.delta": _event(**_IN_ITEM, delta=text),
    "response.function_call_arguments.done": _event(**_IN_ITEM, arguments=text),
    "response.reasoning.delta": _event(**_IN_CONTENT, delta=text),
    "response.reasoning.done": _event(**_IN_CONTENT, text=text),
    "response.reasoning_summary_part.added": _OF_SUMMARY_PART,
    "response.reasoning_summary_part.done": _OF_SUMMARY_PART,
    "response.reasoning_summary_text.delta": _event(**_IN_SUMMARY, delta=text),
    "response.reasoning_summary_text.done": _event(**_IN_SUMMARY, text=text),
    "error": _event(error=_ERROR),
}
EVENT = by_type(EVENTS)
SOCKET_ERROR = record(
    status=integer, error=record({"type": text, "param": nullable(text)}, code=text, message=text)
)
"""An error over a WebSocket, which has no number and a status instead."""


def faults(shape: Shape, value: Any, place: str = "$") -> list[str]:
    """Return everything that is wrong with `value`."""
    return list(shape(value, place))
