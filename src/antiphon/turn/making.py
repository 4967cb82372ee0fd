"""The machine that makes the events of a response while an upstream of another dialect speaks.

Whoever reads an upstream only says what was said: text, reasoning, a call, its arguments. Order, identity and
numbering are kept here, so that the stream obeys the grammar of specification section 9.4 whatever came in:

    begun --text, refusal, reasoning, summary--> one content item is open, with one open part
          --call--------------------------------> calls are open, several at a time where they interleave
          --item--------------------------------> a whole item is told at once; nothing is open
          --finish, fail------------------------> over: everything open is closed, and nothing more is said

Something of another kind closes the part, and the item, that cannot hold it. Text closes all calls: it stays
an item of its own before or after them (section 15.4). Ids and times come in as arguments.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from antiphon.turn.events import Event, Item
from antiphon.turn.response import output_text
from antiphon.turn.unfold import unfold_item

MakeId = Callable[[str], str]
"""Makes an id with a prefix such as `msg_`."""

_TEXT: Final = "output_text"
_REFUSAL: Final = "refusal"
_REASONING: Final = "reasoning_text"
_SUMMARY: Final = "summary_text"

_MEMBER: Final = {_TEXT: "text", _REFUSAL: "refusal", _REASONING: "text", _SUMMARY: "text"}
_HOLDER: Final = {_TEXT: "message", _REFUSAL: "message", _REASONING: "reasoning", _SUMMARY: "reasoning"}
_STEM: Final = {
    _TEXT: "response.output_text",
    _REFUSAL: "response.refusal",
    _REASONING: "response.reasoning_text",
    _SUMMARY: "response.reasoning_summary_text",
}
_CALL_STEM: Final = {
    "function_call": ("response.function_call_arguments", "arguments", "fc_"),
    "custom_tool_call": ("response.custom_tool_call_input", "input", "ctc_"),
}


_SEARCH: Final = "tool_search_call"


class OpenCall:
    """A call whose arguments are still coming."""

    __slots__ = ("index", "item", "texts")

    def __init__(self, index: int, item: Item) -> None:
        """Begin with the item as it is added, in the place `index` of the output."""
        self.index = index
        self.item = item
        self.texts: list[str] = []


class EventMaker:
    """Makes the events of one response; `drain` returns those that have not been fetched yet."""

    def __init__(
        self, response: Event, make_id: MakeId, seal_raw: Callable[[str], str] | None = None
    ) -> None:
        """Tell of `response`, which holds every member as it is while the answer is in progress.

        `seal_raw` closes reasoning as the model wrote it into an envelope, where nothing else was sealed.
        """
        self.response = response
        self.is_over = False
        self._make_id = make_id
        self._seal_raw = seal_raw
        self._events: list[Event] = []
        self._number = 0
        self._output: list[Item] = []
        self._calls: list[OpenCall] = []
        # The open content item and its open part.
        self._item: Item | None = None
        self._index = 0
        self._kind = ""
        self._part_index = 0
        self._texts: list[str] = []
        self._logprobs: list[Any] = []
        self._annotations: list[Any] = []

    def drain(self) -> list[Event]:
        """Return the events made since the last call."""
        events, self._events = self._events, []
        return events

    @property
    def has_output(self) -> bool:
        """Whether any item was begun."""
        return bool(self._output)

    @property
    def output(self) -> Sequence[Item]:
        """The items so far; those still open are as they were added."""
        return self._output

    @property
    def in_text(self) -> bool:
        """Whether a text is open."""
        return self._kind == _TEXT

    @property
    def open_text(self) -> str:
        """The text that is open, so far."""
        return "".join(self._texts) if self._kind == _TEXT else ""

    @property
    def has_annotations(self) -> bool:
        """Whether the open text has annotations."""
        return bool(self._annotations)

    def begin(self, **members: Any) -> None:
        """Tell that the response was created and is in progress; `members` replace its own."""
        self.response = self.response | members
        for name in ("created", "in_progress"):
            self._say({"type": f"response.{name}", "sequence_number": 0, "response": self.response})

    # Content.

    def text(self, delta: str, logprobs: Sequence[Any] = ()) -> None:
        """Text of a message; `logprobs` are those of its tokens, in the shape of section 7.1."""
        if self._kind != _TEXT:
            self._enter(_TEXT)
        self._texts.append(delta)
        if logprobs:
            self._logprobs += logprobs
        item = self._item
        assert item is not None
        self._events.append(
            {
                "type": "response.output_text.delta",
                "sequence_number": self._number,
                "item_id": item["id"],
                "output_index": self._index,
                "content_index": self._part_index,
                "delta": delta,
                "logprobs": logprobs,
            }
        )
        self._number += 1

    def refusal(self, delta: str) -> None:
        """Text of a refusal."""
        self._delta(_REFUSAL, delta)

    def reasoning(self, delta: str) -> None:
        """Reasoning as the model wrote it."""
        self._delta(_REASONING, delta)

    def summary(self, delta: str) -> None:
        """Reasoning as it is summarised for people."""
        self._delta(_SUMMARY, delta)

    def annotate(self, annotation: Item) -> None:
        """Add an annotation to the open text; without one an empty text is opened."""
        if self._kind != _TEXT:
            self._enter(_TEXT)
        here = self._here()
        self._say(
            {
                "type": "response.output_text.annotation.added",
                "sequence_number": 0,
                **here,
                "annotation_index": len(self._annotations),
                "annotation": annotation,
            }
        )
        self._annotations.append(annotation)

    def next_part(self) -> None:
        """End the open part; more of its kind begins another part of the same item."""
        self._close_part("completed")

    def seal(self, encrypted_content: str) -> None:
        """Give the reasoning item that is open what a later turn needs of it; without one, make an empty one."""
        item = self._item
        if item is None or item["type"] != "reasoning":
            self._open_item("reasoning")
            item = self._item
        assert item is not None
        item["encrypted_content"] = encrypted_content

    def close_item(self) -> None:
        """End the open content item: more of its kind begins another item."""
        self._close_content("completed")

    def item(self, item: Item) -> None:
        """Tell a whole item at once, such as a hosted call; it gets an id if it has none."""
        self._close_all("completed")
        index = len(self._output)
        self._output.append(item)
        for event in unfold_item(index, item):
            self._say({"type": event.pop("type"), "sequence_number": 0, **event})

    # Calls.

    def call(self, kind: str, call_id: str, name: str, namespace: str | None = None) -> OpenCall:
        """Begin a `function_call`, `custom_tool_call` or `tool_search_call`; others stay open until they are ended."""
        self._close_content("completed")
        if kind == _SEARCH:
            return self._open_call(
                {
                    "id": self._make_id("tsc_"),
                    "type": kind,
                    "status": "in_progress",
                    "call_id": call_id,
                    "execution": "client",
                    "arguments": {},
                }
            )
        _, member, prefix = _CALL_STEM[kind]
        return self._open_call(
            {
                "id": self._make_id(prefix),
                "type": kind,
                "status": "in_progress",
                "call_id": call_id,
                "name": name,
                **({"namespace": namespace} if namespace else {}),
                member: "",
            }
        )

    def _open_call(self, item: Item) -> OpenCall:
        call = OpenCall(len(self._output), item)
        self._calls.append(call)
        self._add(item)
        return call

    def arguments(self, call: OpenCall, delta: str) -> None:
        """Say more of a call's arguments, or input."""
        call.texts.append(delta)
        item = call.item
        if item["type"] == _SEARCH:
            return  # its arguments are an object, and told whole
        self._events.append(
            {
                "type": _CALL_STEM[item["type"]][0] + ".delta",
                "sequence_number": self._number,
                "item_id": item["id"],
                "output_index": call.index,
                "delta": delta,
            }
        )
        self._number += 1

    def end_call(self, call: OpenCall, status: str = "completed") -> None:
        """End a call; once is enough."""
        if call not in self._calls:
            return
        self._calls.remove(call)
        whole = "".join(call.texts)
        if call.item["type"] == _SEARCH:
            self._done(call.index, {**call.item, "status": status, "arguments": _searched(whole)})
            return
        stem, member, _ = _CALL_STEM[call.item["type"]]
        self._say(
            {
                "type": f"{stem}.done",
                "sequence_number": 0,
                "item_id": call.item["id"],
                "output_index": call.index,
                "name": call.item["name"],
                member: whole,
            }
        )
        self._done(call.index, {**call.item, "status": status, member: whole})

    # The end.

    def finish(
        self, status: str, *, reason: str | None = None, usage: Item | None, completed_at: int, **members: Any
    ) -> None:
        """End the response as `completed`, or as `incomplete` for a `reason`; `members` replace its own."""
        if self.is_over:
            return
        self._close_all("incomplete" if status == "incomplete" else "completed")
        self.response = self.response | {
            "status": status,
            "completed_at": completed_at if status == "completed" else None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "output": self._output,
            "output_text": output_text(self._output),
            "usage": usage,
            **members,
        }
        self._end(status)

    def fail(self, code: str, message: str, *, usage: Item | None = None) -> None:
        """End the response as failed: an error event, and what there is of the output (sections 9.5, 9.7)."""
        if self.is_over:
            return
        self._close_all("incomplete")
        told = {"code": code, "message": message, "param": None}
        self._say({"type": "error", "sequence_number": 0, **told, "error": {"type": "server_error", **told}})
        self.response = self.response | {
            "status": "failed",
            "error": {"code": code, "message": message},
            "output": self._output,
            "output_text": output_text(self._output),
            "usage": usage,
        }
        self._end("failed")

    def _end(self, status: str) -> None:
        self._say({"type": f"response.{status}", "sequence_number": 0, "response": self.response})
        self.is_over = True

    # Opening and closing.

    def _say(self, event: Event) -> None:
        event["sequence_number"] = self._number
        self._number += 1
        self._events.append(event)

    def _add(self, item: Item) -> None:
        event = {"type": "response.output_item.added", "sequence_number": 0}
        self._say({**event, "output_index": len(self._output), "item": dict(item)})
        self._output.append(item)

    def _done(self, index: int, item: Item) -> None:
        self._output[index] = item
        event = {"type": "response.output_item.done", "sequence_number": 0}
        self._say({**event, "output_index": index, "item": item})

    def _delta(self, kind: str, delta: str) -> None:
        if self._kind != kind:
            self._enter(kind)
        self._texts.append(delta)
        event = {"type": _STEM[kind] + ".delta", "sequence_number": 0}
        self._say({**event, **self._here(), "delta": delta})

    def _enter(self, kind: str) -> None:
        """Open a part of `kind`, in the item that is open if it can hold it."""
        if self._item is None or self._item["type"] != _HOLDER[kind]:
            self._open_item(_HOLDER[kind])
        else:
            self._close_part("completed")
        item = self._item
        assert item is not None
        self._kind = kind
        self._part_index = len(item["summary" if kind == _SUMMARY else "content"])
        event = {
            "type": "response.reasoning_summary_part.added"
            if kind == _SUMMARY
            else "response.content_part.added",
            "sequence_number": 0,
        }
        self._say({**event, **self._here(), "part": self._part("", [], [])})

    def _open_item(self, kind: str) -> None:
        self._close_all("completed")
        if kind == "message":
            head = {"id": self._make_id("msg_"), "type": kind, "status": "in_progress"}
            item = {**head, "role": "assistant", "content": []}
        else:
            item = {"id": self._make_id("rs_"), "type": kind, "summary": []}
        self._index = len(self._output)
        self._add(item)
        # From here on the parts are collected in it; what was told of it is a copy.
        self._item = item | {"content": []}
        self._output[self._index] = self._item

    def _here(self) -> Event:
        assert self._item is not None
        index = "summary_index" if self._kind == _SUMMARY else "content_index"
        return {"item_id": self._item["id"], "output_index": self._index, index: self._part_index}

    def _part(self, text: str, annotations: list[Any], logprobs: list[Any]) -> Item:
        part: Item = {"type": self._kind, _MEMBER[self._kind]: text}
        if self._kind == _TEXT:
            part |= {"annotations": annotations, "logprobs": logprobs}
        return part

    def _close_part(self, status: str) -> None:
        kind, item = self._kind, self._item
        if not kind or item is None:
            return
        here, whole = self._here(), "".join(self._texts)
        member = _MEMBER[kind]
        logprobs = {"logprobs": self._logprobs} if kind == _TEXT else {}
        event = {"type": f"{_STEM[kind]}.done", "sequence_number": 0}
        self._say({**event, **here, member: whole, **logprobs})
        part = self._part(whole, self._annotations, self._logprobs)
        holder = "summary" if kind == _SUMMARY else "content"
        item[holder] = [*item[holder], part]
        name = "reasoning_summary_part" if kind == _SUMMARY else "content_part"
        cut = {"status": status} if kind == _SUMMARY and status == "incomplete" else {}
        self._say({"type": f"response.{name}.done", "sequence_number": 0, **here, "part": part, **cut})
        self._kind = ""
        self._texts, self._logprobs, self._annotations = [], [], []

    def _close_content(self, status: str) -> None:
        item = self._item
        if item is None:
            return
        self._close_part(status)
        self._item = None
        done = dict(item)
        if done["type"] == "message":
            done["status"] = status
        elif not done["content"]:
            del done["content"]
        elif self._seal_raw is not None and "encrypted_content" not in item:
            text = "".join(part["text"] for part in done["content"])
            item["encrypted_content"] = done["encrypted_content"] = self._seal_raw(text)
        self._done(self._index, done)

    def _close_all(self, status: str) -> None:
        """Close what is open. Only the last item can be incomplete: what came after it had ended it."""
        for call in sorted(self._calls, key=lambda each: each.index):
            is_last = self._item is None and call.index == len(self._output) - 1
            self.end_call(call, status if is_last else "completed")
        self._close_content(status)


def _searched(arguments: str) -> Item:
    """Return the arguments of a search as an object; what else was said is the query."""
    try:
        told = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        told = None
    return told if isinstance(told, dict) else {"query": arguments}
