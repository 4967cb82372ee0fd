"""Writes the hub's items as messages of Ollama's `/api/chat`.

They are like chat's, with three differences: content is one text, with images beside it as plain base64; the
arguments of a call are an object; and what a tool has answered also names the tool. Earlier reasoning goes back as
`thinking`: templates that have a place for it put it there. What hosted tools did is left out.
"""

import base64
import binascii
from typing import Any, Final

from antiphon.dialects.earlier import read_arguments, summary_of
from antiphon.dialects.inline import downloaded, read_inline
from antiphon.dialects.notes import with_notes
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault

_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_ATTACHED: Final = "(see the attachment in the next message)"

Message = dict[str, Any]


def write_messages(request: HubRequest, asking: Asking, notes: list[str]) -> list[Message]:
    """Return the messages of a request; `notes` are told at the end of the system's first message.

    Raises ClientFault.
    """
    messages = _Messages(asking)
    instructions = request.get("instructions")
    if isinstance(instructions, str):
        messages.add("system", instructions)
    for index, item in enumerate(instructions if isinstance(instructions, list) else ()):
        messages.take(item, f"instructions[{index}]")
    for index, item in enumerate(request["input"]):
        messages.take(item, f"input[{index}]")
    return with_notes(messages.finish(), notes, "system")


class _Messages:
    """The messages of one request, while its items are walked."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._messages: list[Message] = []
        self._turn: Message | None = None
        """The assistant's message that further text, reasoning and calls still belong to."""
        self._tools: dict[str, str] = {}
        """The tool of each call."""
        self._after_outputs: list[str] = []
        """Images that tools have answered with: told by a user's message after the last of them."""

    def add(self, role: str, content: str, images: list[str] | None = None) -> None:
        self._turn = None
        self._messages.append({"role": role, "content": content, **({"images": images} if images else {})})

    def take(self, item: Item, path: str) -> None:
        kind = item["type"]
        if not kind.endswith("_output"):
            self._tell_after_outputs()
        match kind:
            case "message" if item["role"] == "assistant":
                self._take_assistant(item)
            case "message":
                role = "system" if item["role"] == "developer" else item["role"]
                self.add(role, *_content(item["content"], f"{path}.content", self._asking))
            case "reasoning":
                self._take_reasoning(item)
            case "function_call" | "custom_tool_call":
                self._take_call(item)
            case "function_call_output" | "custom_tool_call_output":
                self._take_output(item, path)
            case "compaction":
                self._take_compaction(item, path)
            case "compaction_trigger":
                raise lacks(f"{path}.type", "compaction on demand", self._asking.profile)
            case _:
                pass  # what a hosted tool did: only its upstream could read it

    def finish(self) -> list[Message]:
        self._tell_after_outputs()
        return self._messages

    def _open_turn(self) -> Message:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": ""}
            self._messages.append(self._turn)
        return self._turn

    def _take_assistant(self, item: Item) -> None:
        turn = self._open_turn()
        text = "".join(str(part.get("text") or part.get("refusal") or "") for part in item["content"])
        turn["content"] = "\n\n".join(filter(None, [turn["content"], text]))

    def _take_reasoning(self, item: Item) -> None:
        parts = item.get("content") or item.get("summary") or ()
        text = "".join(str(part.get("text") or "") for part in parts)
        if not text and item.get("encrypted_content"):
            text = (self._asking.unseal(item["encrypted_content"]) or {}).get("text", "")
        if not text:
            return
        if self._turn is not None and (self._turn["content"] or self._turn.get("tool_calls")):
            self._turn = None  # the model thought again after it had spoken
        turn = self._open_turn()
        turn["thinking"] = turn.get("thinking", "") + text

    def _take_call(self, item: Item) -> None:
        name = self._asking.toolset.wire_name(item["name"], item.get("namespace"))
        self._tools[item["call_id"]] = name
        arguments = (
            read_arguments(item["arguments"]) if item["type"] == "function_call" else {"input": item["input"]}
        )
        call = {"id": item["call_id"], "function": {"name": name, "arguments": arguments}}
        self._open_turn().setdefault("tool_calls", []).append(call)

    def _take_output(self, item: Item, path: str) -> None:
        output = item["output"]
        text, images = (
            (output, []) if isinstance(output, str) else _content(output, f"{path}.output", self._asking)
        )
        if images:
            self._after_outputs += images
            text = "\n".join(filter(None, [text, _ATTACHED]))
        self.add("tool", text)
        told = self._messages[-1]
        if item["call_id"] in self._tools:
            told["tool_name"] = self._tools[item["call_id"]]
        told["tool_call_id"] = item["call_id"]

    def _tell_after_outputs(self) -> None:
        if self._after_outputs:
            images, self._after_outputs = self._after_outputs, []
            self.add("user", "", images)

    def _take_compaction(self, item: Item, path: str) -> None:
        self.add("system", summary_of(item, path, self._asking))


def _content(parts: list[Item], path: str, asking: Asking) -> tuple[str, list[str]]:
    """Return text and images."""
    texts, images = [], []
    for index, part in enumerate(parts):
        if part["type"] in _TEXTS:
            texts.append(part["text"])
        elif part["type"] == "input_image":
            images.append(_image(part, f"{path}[{index}]", asking))
        else:
            raise lacks(f"{path}[{index}].type", f"content of type '{part['type']}'", asking.profile)
    return "\n".join(texts), images


def _image(part: Item, path: str, asking: Asking) -> str:
    url = part.get("image_url")
    if not isinstance(url, str):
        raise lacks(f"{path}.file_id", "images by file id", asking.profile)
    if url in asking.downloads:
        return downloaded(asking.downloads[url]).data
    path = f"{path}.image_url"
    inline = read_inline(url)
    if inline is None:
        raise lacks(path, "images by URL", asking.profile)
    try:
        base64.b64decode(inline.data, validate=True)
    except (binascii.Error, ValueError):
        raise ClientFault(
            f"'{path}' is a data URL whose base64 cannot be read.", code="invalid_value", param=path
        ) from None
    return inline.data
