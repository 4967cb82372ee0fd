"""Reads answers of the Responses API into the hub's events, for clients of other dialects.

The hub speaks this dialect, but real streams do not always keep its grammar: ids change, events are missing,
items overlap (wire_quirks). So the events are made anew, and what an item or the response says at its end is
compared with what was told: the rest is told then. The terminal event is the truth.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.translation import Telling
from antiphon.turn.events import LIFECYCLE, TERMINAL, Event, Item
from antiphon.turn.making import EventMaker, OpenCall
from antiphon.wire.objects import DONE_DATA, JsonObject, read_object

_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_PART_TEXT: Final = {"output_text": "text", "text": "text", "refusal": "refusal", "reasoning_text": "text"}
_BACKEND_ERROR: Final = "The upstream reported an error in the middle of its answer."


class _Told:
    """What has been told of one item."""

    __slots__ = ("annotations", "call", "is_over", "last", "texts")

    def __init__(self) -> None:
        self.texts: dict[tuple[str, int], str] = {}
        self.annotations = 0
        self.call: OpenCall | None = None
        self.last: tuple[str, int] | None = None
        self.is_over = False


class ResponsesAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self._telling = telling
        self._maker = EventMaker(telling.response, telling.make_id)
        self._begun = False
        self._told: dict[int, _Told] = {}

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self._maker.drain()

    def close(self, *, clean: bool) -> None:
        """Only its own terminal event ends an answer."""

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken."""
        self._begin({})
        self._maker.fail(code, message)

    def feed(self, data: bytes, event_type: str) -> None:
        """Take one event, or a whole response. Raises ValueError."""
        data = data.strip()
        if self._maker.is_over or data in (b"", DONE_DATA):
            return
        event = read_object(data)
        kind = event.get("type") or event_type
        if event.get("object") == "response":
            self._end(str(event.get("status")), event)
        elif kind in TERMINAL:
            self._end(TERMINAL[kind], event.get("response") or {})
        elif kind in LIFECYCLE:
            self._begin(event.get("response") or {})
        elif kind == "error" or event.get("error"):
            error = event.get("error")
            self.fail(*_error(error if isinstance(error, dict) else event))
        else:
            self._take(str(kind), event)

    def _begin(self, response: JsonObject) -> None:
        if not self._begun:
            self._begun = True
            model = response.get("model")
            self._maker.begin(**({"model": model} if isinstance(model, str) and model else {}))

    def _take(self, kind: str, event: Event) -> None:
        self._begin({})
        index = event.get("output_index")
        if not isinstance(index, int):
            return
        told = self._told.setdefault(index, _Told())
        if kind == "response.output_item.added":
            self._open(told, event["item"])
        elif kind == "response.output_item.done":
            self._close(told, event["item"])
        elif kind == "response.output_text.annotation.added":
            told.annotations += 1
            self._maker.annotate(event["annotation"])
        elif kind in _DELTAS:
            part, place = _DELTAS[kind]
            self._delta(told, part, event.get(place) or 0, event["delta"], event.get("logprobs") or [])

    def _open(self, told: _Told, item: Item) -> None:
        if item.get("type") in _CALLS and told.call is None:
            told.call = self._maker.call(item["type"], item["call_id"], item["name"], item.get("namespace"))

    def _delta(self, told: _Told, part: str, place: int, delta: str, logprobs: list[Any]) -> None:
        key = (part, place)
        if told.call is not None:
            self._maker.arguments(told.call, delta)
        else:
            if told.last is not None and told.last != key:
                self._maker.next_part()
            _TELLERS[part](self._maker, delta, logprobs)
        told.last = key
        told.texts[key] = told.texts.get(key, "") + delta

    def _close(self, told: _Told, item: Item) -> None:
        """Tell what is in a finished item and was not told, and end it."""
        if told.is_over:
            return
        told.is_over = True
        kind = item.get("type")
        if kind in _CALLS:
            self._open(told, item)
            assert told.call is not None
            self._rest(told, "call", 0, item.get(_CALLS[kind]) or "")
            self._maker.end_call(told.call, item.get("status") or "completed")
        elif kind == "message":
            places: Counter[str] = Counter()
            for part in item.get("content") or ():
                kind = "output_text" if part.get("type") == "text" else str(part.get("type"))
                self._close_part(told, kind, places[kind], part)
                places[kind] += 1
            self._maker.close_item()
        elif kind == "reasoning":
            self._close_reasoning(told, item)
        else:
            self._maker.item(item)

    def _close_part(self, told: _Told, kind: str, place: int, part: Item) -> None:
        member = _PART_TEXT.get(kind)
        if member is None:
            return
        self._rest(told, kind, place, part.get(member) or "", part.get("logprobs") or [])
        for annotation in (part.get("annotations") or ())[told.annotations :]:
            self._maker.annotate(annotation)
        told.annotations = 0

    def _close_reasoning(self, told: _Told, item: Item) -> None:
        for place, part in enumerate(item.get("content") or ()):
            self._rest(told, "reasoning_text", place, part.get("text") or "")
        for place, part in enumerate(item.get("summary") or ()):
            self._rest(told, "summary_text", place, part.get("text") or "")
        if item.get("encrypted_content"):
            kept = {"encrypted_content": item["encrypted_content"]}
            self._maker.seal(self._telling.seal(kept))
        self._maker.close_item()

    def _rest(self, told: _Told, part: str, place: int, whole: str, logprobs: Any = ()) -> None:
        """Tell what is missing of the text in this place among those of its kind.

        What was told differently cannot be taken back. Places are counted, since some upstreams number the
        parts in their deltas otherwise than in the item.
        """
        keys = [key for key in told.texts if key[0] == part]
        if place < len(keys):
            place = keys[place][1]
        elif keys:
            place = keys[-1][1] + 1
        before = told.texts.get((part, place), "")
        if len(whole) > len(before) and whole.startswith(before):
            self._delta(told, part, place, whole[len(before) :], [] if before else list(logprobs))

    def _end(self, status: str, response: JsonObject) -> None:
        self._begin(response)
        for index, item in enumerate(response.get("output") or ()):
            if isinstance(item, dict):
                self._close(self._told.setdefault(index, _Told()), item)
        error = response.get("error")
        if status not in {"completed", "incomplete"} or error:
            self._maker.fail(*_error(error or {}), usage=response.get("usage"))
            return
        members = {name: response[name] for name in ("model", "service_tier") if response.get(name)}
        details = response.get("incomplete_details") or {}
        self._maker.finish(
            status,
            reason=details.get("reason"),
            usage=response.get("usage"),
            completed_at=int(self._telling.now()),
            **members,
        )


_DELTAS: Final = {
    "response.output_text.delta": ("output_text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_text.delta": ("reasoning_text", "content_index"),
    "response.reasoning.delta": ("reasoning_text", "content_index"),
    "response.reasoning_summary_text.delta": ("summary_text", "summary_index"),
    "response.function_call_arguments.delta": ("call", ""),
    "response.custom_tool_call_input.delta": ("call", ""),
}
_TELLERS: Final[dict[str, Callable[[EventMaker, str, list[Any]], None]]] = {
    "output_text": lambda maker, delta, logprobs: maker.text(delta, logprobs),
    "refusal": lambda maker, delta, _: maker.refusal(delta),
    "reasoning_text": lambda maker, delta, _: maker.reasoning(delta),
    "summary_text": lambda maker, delta, _: maker.summary(delta),
}


def _error(error: Item) -> tuple[str, str]:
    code = error.get("code") or error.get("type") or "upstream_error"
    return str(code), str(error.get("message") or _BACKEND_ERROR)
