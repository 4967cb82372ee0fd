"""The items of a hub request as Gemini's contents (specification, section 15.7).

Contents alternate between `user` and `model`: neighbours of one role are one content with more parts. What outranks
the user and comes first is the system instruction; where it comes later it keeps its place, marked, in a user
content. Signatures from the envelopes of reasoning items go back to the parts that they belong to.
"""

from typing import Any, Final

from antiphon.dialects.earlier import read_arguments, summary_of
from antiphon.dialects.gemini.envelope import Signature, read_envelope
from antiphon.dialects.gemini.media import media_part
from antiphon.dialects.gemini.thinking import has_levels
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.wire.errors import ClientFault

Content = dict[str, Any]

_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_SIGNATURE: Final = "thoughtSignature"
_UNSIGNED: Final = "skip_thought_signature_validator"
"""What Google gives for calls that no Gemini has made: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
(October 2026). Without a signature, models with levels of thinking refuse the first call of each step."""
_SEE_BELOW: Final = "(see the attachment below)"


class Contents:
    """The contents of one request, while its items are walked."""

    def __init__(self, asking: Asking) -> None:
        """Begin with none."""
        self.contents: list[Content] = []
        self.system: list[str] = []
        """Texts of the system instruction."""
        self._asking = asking
        self._has_levels = has_levels(asking)
        self._runs_code = any(tool["type"] == "code_interpreter" for tool in asking.toolset.hosted)
        self._names: dict[str, str] = {}
        """The wire names of calls, by their ids."""
        self._signatures: list[Signature] = []
        """Those whose part has not come yet."""
        self._attachments: list[Item] = []
        """What outputs hold that their form cannot: told after the last of them."""

    def write(self, request: HubRequest) -> None:
        """Take all items. Raises ClientFault."""
        instructions = request.get("instructions")
        if isinstance(instructions, str):
            self.system.append(instructions)
        for index, item in enumerate(instructions if isinstance(instructions, list) else ()):
            self._take(item, f"instructions[{index}]")
        for index, item in enumerate(request["input"]):
            self._take(item, f"input[{index}]")
        self._tell_attachments()
        if not self.contents and self.system:
            # Gemini answers nothing but contents.
            self._add("user", {"text": self.system.pop()})
        if self._has_levels:
            self._mark_unsigned()

    def _add(self, role: str, part: Item) -> None:
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"].append(part)
        else:
            self.contents.append({"role": role, "parts": [part]})

    def _take(self, item: Item, path: str) -> None:
        kind = item["type"]
        if not kind.endswith("_output"):
            self._tell_attachments()
        match kind:
            case "message":
                self._take_message(item, path)
            case "reasoning":
                self._take_reasoning(item)
            case "function_call":
                self._take_call(item, read_arguments(item["arguments"]))
            case "custom_tool_call":
                self._take_call(item, {"input": item["input"]})
            case "function_call_output" | "custom_tool_call_output":
                self._take_output(item, path)
            case "code_interpreter_call" if self._runs_code:
                self._take_code(item)
            case "image_generation_call" if item.get("result"):
                kind = f"image/{item.get('output_format') or 'png'}"
                self._add_signed("inlineData", {"mimeType": kind, "data": item["result"]})
            case "compaction":
                self._take_compaction(item, path)
            case "compaction_trigger":
                raise lacks(f"{path}.type", "compaction on demand", self._asking.profile)
            case _:
                pass  # what a hosted tool did: only its upstream could read it

    # Messages.

    def _take_message(self, item: Item, path: str) -> None:
        role = item["role"]
        if role in {"system", "developer"}:
            texts = [self._text_of(part, f"{path}.content[{i}]") for i, part in enumerate(item["content"])]
            self._instruct("\n".join(texts), role)
        elif role == "assistant":
            for part in item["content"]:
                if text := part.get("text") or part.get("refusal"):
                    self._add_signed("text", text)
        else:
            self._signatures = []
            for index, part in enumerate(item["content"]):
                self._add("user", self._part(part, f"{path}.content[{index}]"))

    def _instruct(self, text: str, role: str) -> None:
        if self.contents:
            self._add("user", {"text": f"<{role}>\n{text}\n</{role}>"})
        else:
            self.system.append(text)

    def _text_of(self, part: Item, path: str) -> str:
        if part["type"] not in _TEXTS:
            raise lacks(f"{path}.type", f"'{part['type']}' in a system instruction", self._asking.profile)
        return str(part["text"])

    def _part(self, part: Item, path: str) -> Item:
        return {"text": part["text"]} if part["type"] in _TEXTS else media_part(part, path, self._asking)

    def _take_compaction(self, item: Item, path: str) -> None:
        self._instruct(summary_of(item, path, self._asking), "developer")

    # Signatures.

    def _take_reasoning(self, item: Item) -> None:
        sealed = item.get("encrypted_content")
        envelope = read_envelope(self._asking.unseal(sealed) if sealed else None)
        for part in envelope.parts:
            if part.get("thought"):
                text = "".join(each["text"] for each in item.get("summary") or ())
                self._add("model", {"text": text, **part})
            else:
                self._add("model", part)
        self._signatures += envelope.next

    def _add_signed(self, member: str, value: Any, call_id: str = "") -> None:
        """Add a part of the model, with its signature if one is kept."""
        part = {member: value}
        for signature in self._signatures:
            if signature.of == member and signature.call_id == call_id:
                self._signatures.remove(signature)
                part[_SIGNATURE] = signature.signature
                break
        self._add("model", part)

    def _mark_unsigned(self) -> None:
        for content in self.contents:
            if content["role"] == "model":
                calls = [part for part in content["parts"] if "functionCall" in part]
                for first in calls[:1]:
                    first.setdefault(_SIGNATURE, _UNSIGNED)

    # Calls and their outputs.

    def _take_call(self, item: Item, arguments: Item) -> None:
        call_id = item["call_id"]
        name = self._asking.toolset.wire_name(item["name"], item.get("namespace"))
        self._names[call_id] = name
        self._add_signed("functionCall", {"id": call_id, "name": name, "args": arguments}, call_id)

    def _take_output(self, item: Item, path: str) -> None:
        call_id, output = item["call_id"], item["output"]
        name = self._names.get(call_id)
        if name is None:
            raise ClientFault(
                f"No tool call found for function call output with call_id {str(call_id)[:80]}.",
                param=f"{path}.call_id",
            )
        response: Item = {"id": call_id, "name": name}
        if isinstance(output, str):
            response["response"] = {"output": output}
        else:
            response |= self._split_output(output, f"{path}.output")
        self._add("user", {"functionResponse": response})

    def _split_output(self, parts: list[Item], path: str) -> Item:
        """Return an output's text and media; models with levels take media in the response itself."""
        texts = [part["text"] for part in parts if part["type"] in _TEXTS]
        others = [
            media_part(part, f"{path}[{index}]", self._asking)
            for index, part in enumerate(parts)
            if part["type"] not in _TEXTS
        ]
        inside = [part for part in others if self._has_levels and "inlineData" in part]
        after = [part for part in others if part not in inside]
        if after:
            self._attachments += after
            texts.append(_SEE_BELOW)
        response = {"response": {"output": "\n".join(texts)}}
        return response | ({"parts": inside} if inside else {})

    def _tell_attachments(self) -> None:
        attachments, self._attachments = self._attachments, []
        for part in attachments:
            self._add("user", part)

    def _take_code(self, item: Item) -> None:
        code = {"language": "PYTHON", "code": item.get("code") or ""}
        self._add_signed("executableCode", code)
        outcome = "OUTCOME_FAILED" if item.get("status") == "failed" else "OUTCOME_OK"
        for output in item.get("outputs") or ():
            if output.get("type") == "logs":
                self._add_signed("codeExecutionResult", {"outcome": outcome, "output": output["logs"]})
            elif output.get("type") == "image":
                part = media_part({"type": "input_image", "image_url": output["url"]}, "input", self._asking)
                self._add_signed(*next(iter(part.items())))
