"""The items of a hub request as the system prompt and the turns of Anthropic Messages.

User and assistant take turns there, so what follows one another on one side is one message. The results of calls
stand first in the message that follows the calls. Instructions before the first turn are the system prompt; later
ones keep their place, as marked text of the user, since only some models know them as messages of their own.
"""

import re
from typing import Any, Final

from antiphon.dialects.earlier import read_arguments, summary_of
from antiphon.dialects.messages.blocks import TEXTS, Block, text_block, write_block
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest, user_message
from antiphon.wire.errors import ClientFault

Message = dict[str, Any]

_THINKING: Final = ("thinking", "redacted_thinking")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]")
_OPENING: Final = "(The conversation begins with the answer.)"


class Turns:
    """What a request says, as Anthropic wants it said."""

    def __init__(self, request: HubRequest, asking: Asking) -> None:
        """Read the instructions and the input. Raises ClientFault."""
        self.system: list[Block] = []
        self.messages: list[Message] = []
        self._asking = asking
        instructions = request.get("instructions")
        if isinstance(instructions, str):
            self._instruct(user_message(instructions)["content"], "instructions")
        for index, item in enumerate(instructions if isinstance(instructions, list) else ()):
            self._take(item, f"instructions[{index}]")
        for index, item in enumerate(request["input"]):
            self._take(item, f"input[{index}]")
        self._mend()

    @property
    def goes_on_unthought(self) -> bool:
        """Whether results belong to a turn that began without thinking: a budget for it would be refused."""
        place = len(self.messages) - 1
        while place > 0 and _kind(self.messages[place]) == "tool_result":
            place -= 2
        return place < len(self.messages) - 1 and _kind(self.messages[place + 1]) not in _THINKING

    def _take(self, item: Item, path: str) -> None:
        match item["type"]:
            case "message" if item["role"] in {"system", "developer"}:
                self._instruct(item["content"], f"{path}.content")
            case "message":
                self._say(item["role"], item["content"], f"{path}.content")
            case "reasoning":
                self._think(item)
            case "function_call" | "custom_tool_call":
                self._add("assistant", self._call(item))
            case "function_call_output" | "custom_tool_call_output":
                self._add_result(item, path)
            case "compaction":
                self._instruct(self._summary(item, path), path)
            case "compaction_trigger":
                raise lacks(f"{path}.type", "compaction on demand", self._asking.profile)
            case _:
                pass  # what a hosted tool did: only its upstream could read it

    def _add(self, role: str, block: Block | None) -> None:
        if block is None:
            return
        if not self.messages or self.messages[-1]["role"] != role:
            self.messages.append({"role": role, "content": []})
        self.messages[-1]["content"].append(block)

    def _say(self, role: str, parts: list[Item], path: str) -> None:
        for index, part in enumerate(parts):
            self._add(role, write_block(part, f"{path}[{index}]", self._asking))

    def _instruct(self, parts: list[Item], path: str) -> None:
        if self.messages:
            text = "\n\n".join(part["text"] for part in parts if part["type"] in TEXTS)
            self._add("user", text_block(f"<system>\n{text}\n</system>") if text.strip() else None)
            return
        for index, part in enumerate(parts):
            if part["type"] not in TEXTS:
                what = f"instructions of type '{part['type']}'"
                raise lacks(f"{path}[{index}].type", what, self._asking.profile)
            block = write_block(part, f"{path}[{index}]", self._asking)
            if block is not None:
                self.system.append(block)

    def _summary(self, item: Item, path: str) -> list[Item]:
        return [{"type": "input_text", "text": summary_of(item, path, self._asking)}]

    def _think(self, item: Item) -> None:
        """Give thinking back that this model had signed; any other it would refuse."""
        kept = self._asking.unseal(item.get("encrypted_content") or "")
        if not isinstance(kept, dict):
            return
        if "signature" in kept:
            thinking, signature = kept.get("thinking", ""), kept["signature"]
            self._add("assistant", {"type": "thinking", "thinking": thinking, "signature": signature})
        elif "redacted" in kept:
            self._add("assistant", {"type": "redacted_thinking", "data": kept["redacted"]})

    def _call(self, item: Item) -> Block:
        name = self._asking.toolset.wire_name(item["name"], item.get("namespace"))
        custom = item["type"] == "custom_tool_call"
        given = {"input": item["input"]} if custom else read_arguments(item["arguments"])
        return {"type": "tool_use", "id": _call_id(item), "name": name, "input": given}

    def _add_result(self, item: Item, path: str) -> None:
        output = item["output"]
        if not isinstance(output, str):
            parts = enumerate(output)
            blocks = [write_block(part, f"{path}.output[{index}]", self._asking) for index, part in parts]
            output = [block for block in blocks if block is not None]
        result = {"type": "tool_result", "tool_use_id": _call_id(item), "content": output}
        if item.get("status") == "incomplete":
            result["is_error"] = True
        self._add("user", result)
        # Results come before all else that the user says.
        content = self.messages[-1]["content"]
        content.sort(key=lambda block: block["type"] != "tool_result")

    def _mend(self) -> None:
        """Keep what Anthropic asks of the first and the last message."""
        if not self.messages:
            if not self.system:
                raise ClientFault(
                    "'input' holds nothing that could be answered.", code="invalid_value", param="input"
                )
            self._add("user", self.system.pop())
        if self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [text_block(_OPENING)]})
        last = self.messages[-1]["content"][-1]
        if self.messages[-1]["role"] == "assistant" and last["type"] == "text":
            last["text"] = last["text"].rstrip()


def _kind(message: Message) -> str:
    return str(message["content"][0]["type"])


def _call_id(item: Item) -> str:
    """Return a call's id in the letters that Anthropic takes: other upstreams use more."""
    return _FOREIGN.sub("_", item["call_id"])
