"""Writes a hub request as one of Chat Completions (specification, sections 15.1 and 15.2).

Items become messages in their order: reasoning, text and calls that follow one another are one assistant message;
outputs of calls come right after the message that holds the calls. What chat has no form for is refused by its
path, except items about hosted tools, which only say what an upstream once did by itself.
"""

from typing import Any, Final

from antiphon.dialects.chat.provider_forms import (
    effort_members,
    json_object_form,
    offered_tools,
    thinking_part,
    wire_call_id,
)
from antiphon.dialects.earlier import summary_of
from antiphon.dialects.inline import data_url, downloaded
from antiphon.dialects.notes import json_note, with_notes
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking, Structured
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.turn.tools import Tool
from antiphon.wire.objects import write_text

_SAME: Final = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "logit_bias", "n"),
    *("modalities", "audio", "prediction", "top_k", "min_p"),
)
_KEPT_BY_PROVIDER: Final = ("metadata", "safety_identifier", "service_tier", "user")
_LOGPROBS: Final = "message.output_text.logprobs"

Message = dict[str, Any]


def write_chat_request(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body of a chat request. Raises ClientFault."""
    profile = asking.profile
    if request.get("prompt"):
        raise lacks("prompt", "stored prompts", profile)
    body: dict[str, Any] = {"model": asking.model, "messages": _Messages(asking).write(request)}
    body |= {name: request[name] for name in _SAME if name in request}
    if "seed" in request:
        body[profile.seed_member] = request["seed"]
    if "max_output_tokens" in request:
        body[profile.limit_member] = request["max_output_tokens"]
    if profile.store:
        body |= {name: request[name] for name in _KEPT_BY_PROVIDER if name in request}
    if profile.prompt_cache_key and "prompt_cache_key" in request:
        body["prompt_cache_key"] = request["prompt_cache_key"]
    if _LOGPROBS in request.get("include", ()) or request.get("top_logprobs"):
        body["logprobs"] = True
        if request.get("top_logprobs"):
            body["top_logprobs"] = request["top_logprobs"]
    body |= effort_members(request.get("reasoning", {}).get("effort"), asking)
    body |= _tools(asking) | _web_search(asking) | _format(request, asking)
    if asking.answer_tool is not None:
        body |= _answer_tool(request["text"]["format"], asking.answer_tool)
    if asking.stream:
        body["stream"] = True
        if profile.stream_options:
            body["stream_options"] = {"include_usage": True}
    return body


# Settings.


def _format(request: HubRequest, asking: Asking) -> dict[str, Any]:
    text = request.get("text", {})
    told: dict[str, Any] = {}
    if text.get("verbosity") is not None and asking.profile.store:
        told["verbosity"] = text["verbosity"]
    form = text.get("format") or {}
    if asking.structured is Structured.NATIVE:
        schema = {
            name: form[name]
            for name in ("name", "description", "schema", "strict")
            if form.get(name) is not None
        }
        told["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif asking.structured is Structured.JSON or form.get("type") == "json_object":
        told["response_format"] = json_object_form(asking)
    return told


def _tools(asking: Asking) -> dict[str, Any]:
    toolset = asking.toolset
    if not toolset.tools:
        return {}
    told: dict[str, Any] = {"tools": [_tool(tool, asking) for tool in offered_tools(asking)]}
    choice = toolset.choice
    if choice.name is not None and asking.profile.named_choice:
        tool = toolset.by_wire_name[choice.name]
        kind = "custom" if tool.type == "custom" and asking.profile.custom_tools else "function"
        told["tool_choice"] = {"type": kind, kind: {"name": choice.name}}
    elif choice.mode != "auto":
        told["tool_choice"] = choice.mode
    if not toolset.parallel and asking.profile.parallel_tool_calls:
        told["parallel_tool_calls"] = False
    return told


def _web_search(asking: Asking) -> dict[str, Any]:
    """Return what chat has for hosted tools: options of a search by models that search the web."""
    told: dict[str, Any] = {}
    for tool in asking.toolset.hosted:
        if not tool["type"].startswith("web_search"):
            raise lacks("tools", f"the tool '{tool['type']}'", asking.profile)
        options = {name: tool[name] for name in ("search_context_size",) if tool.get(name)}
        location = tool.get("user_location")
        if location:
            place = {name: value for name, value in location.items() if name != "type"}
            options["user_location"] = {"type": "approximate", "approximate": place}
        told["web_search_options"] = options
    return told


def _answer_tool(form: Item, name: str) -> dict[str, Any]:
    """Return the one tool, which must be called, whose arguments are the answer."""
    function = {"name": name, "description": form.get("description") or "Give the answer."}
    tool = {"type": "function", "function": {**function, "parameters": form.get("schema") or {}}}
    return {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": name}}}


def _tool(tool: Tool, asking: Asking) -> Item:
    if tool.type == "custom" and asking.profile.custom_tools:
        custom = {name: tool.definition[name] for name in ("description",) if tool.definition.get(name)}
        form = tool.definition.get("format")
        if form and form.get("type") == "grammar":
            grammar = {"syntax": form.get("syntax"), "definition": form.get("definition")}
            custom["format"] = {"type": "grammar", "grammar": grammar}
        elif form:
            custom["format"] = form
        return {"type": "custom", "custom": {"name": tool.wire_name, **custom}}
    function: Item = {"name": tool.wire_name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters
    if tool.type == "function" and tool.definition.get("strict") is not None:
        function["strict"] = tool.definition["strict"]
    return {"type": "function", "function": function}


# Messages.


class _Messages:
    """The messages of one request, while its items are walked."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._messages: list[Message] = []
        self._turn: Message | None = None
        """The assistant message that further text, reasoning and calls still belong to."""
        self._after_outputs: list[Item] = []
        """What tool messages cannot hold: told by a user message after the last of them."""

    def write(self, request: HubRequest) -> list[Message]:
        instructions = request.get("instructions")
        if isinstance(instructions, str):
            self._messages.append({"role": self._role("developer"), "content": instructions})
        for index, item in enumerate(instructions if isinstance(instructions, list) else ()):
            self._take(item, f"instructions[{index}]")
        for index, item in enumerate(request["input"]):
            self._take(item, f"input[{index}]")
        self._tell_after_outputs()
        if self._asking.structured is Structured.JSON:
            note = json_note(request, Structured.JSON)
            return with_notes(self._messages, [note] if note else [], self._role("developer"))
        return self._messages

    def _role(self, role: str) -> str:
        return "system" if role == "developer" and not self._asking.profile.developer_role else role

    def _take(self, item: Item, path: str) -> None:
        kind = item["type"]
        if not kind.endswith("_output"):
            self._tell_after_outputs()
        match kind:
            case "message" if item["role"] == "assistant":
                self._take_assistant(item)
            case "message":
                self._turn = None
                content = _content(item["content"], f"{path}.content", self._asking)
                self._messages.append({"role": self._role(item["role"]), "content": content})
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

    def _open_turn(self) -> Message:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": None}
            self._messages.append(self._turn)
        return self._turn

    def _take_assistant(self, item: Item) -> None:
        turn = self._open_turn()
        texts = [
            part["text"] for part in item["content"] if part["type"] in {"output_text", "text", "input_text"}
        ]
        refusals = [part["refusal"] for part in item["content"] if part["type"] == "refusal"]
        if isinstance(turn["content"], list):
            # It begins with what was thought.
            turn["content"].append({"type": "text", "text": "".join([*texts, *refusals])})
            return
        if turn.get("tool_calls"):
            # Text after calls: chat has it before them, in the same message.
            turn["content"] = "\n\n".join(filter(None, [turn["content"], "".join(texts)])) or None
            return
        if turn["content"] is not None or turn.get("refusal"):
            self._turn = None
            turn = self._open_turn()
        if texts or not refusals:
            turn["content"] = "".join(texts)
        if refusals:
            turn["refusal"] = "".join(refusals)

    def _take_reasoning(self, item: Item) -> None:
        member = self._asking.profile.reasoning_back
        if member == "none":
            return
        if self._turn is not None and (self._turn["content"] is not None or self._turn.get("tool_calls")):
            self._turn = None
        blob = item.get("encrypted_content")
        kept = (self._asking.unseal(blob) if blob else None) or {}
        if member == "reasoning_details":
            if kept.get("reasoning_details"):
                self._open_turn()[member] = kept["reasoning_details"]
            return
        text = "".join(part["text"] for part in item.get("content") or item.get("summary") or ())
        text = text or kept.get("text", "")
        if text and member == "thinking_parts":
            self._open_turn()["content"] = [thinking_part(text)]
        elif text:
            self._open_turn()[member] = text

    def _take_call(self, item: Item) -> None:
        asking = self._asking
        name = asking.toolset.wire_name(item["name"], item.get("namespace"))
        if item["type"] == "function_call":
            call: Item = {"type": "function", "function": {"name": name, "arguments": item["arguments"]}}
        elif asking.profile.custom_tools:
            call = {"type": "custom", "custom": {"name": name, "input": item["input"]}}
        else:
            call = {"type": "function", "function": {"name": name, "arguments": wrapped_input(item["input"])}}
        call_id = wire_call_id(item["call_id"], asking)
        self._open_turn().setdefault("tool_calls", []).append({"id": call_id, **call})

    def _take_output(self, item: Item, path: str) -> None:
        self._turn = None
        output = item["output"]
        told = output if isinstance(output, str) else self._split_output(output, path)
        call_id = wire_call_id(item["call_id"], self._asking)
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": told})

    def _split_output(self, parts: list[Item], path: str) -> str:
        texts = [part["text"] for part in parts if part["type"] in {"input_text", "output_text", "text"}]
        others = [part for part in parts if part["type"] not in {"input_text", "output_text", "text"}]
        if others:
            self._after_outputs += _content(others, f"{path}.output", self._asking)
            texts.append("(see the attachment in the next message)")
        return "\n".join(texts)

    def _tell_after_outputs(self) -> None:
        if self._after_outputs:
            self._messages.append({"role": "user", "content": self._after_outputs})
            self._after_outputs = []

    def _take_compaction(self, item: Item, path: str) -> None:
        self._turn = None
        summary = summary_of(item, path, self._asking)
        self._messages.append({"role": self._role("developer"), "content": summary})


def wrapped_input(text: str) -> str:
    """Return the arguments of a function that stands for a custom tool."""
    return write_text({"input": text})


def _content(parts: list[Item], path: str, asking: Asking) -> Any:
    told = [_part(part, f"{path}[{index}]", asking) for index, part in enumerate(parts)]
    if len(told) == 1 and told[0]["type"] == "text":
        return told[0]["text"]
    return told


def _part(part: Item, path: str, asking: Asking) -> Item:
    match part["type"]:
        case "input_text" | "output_text" | "text" | "summary_text":
            return {"type": "text", "text": part["text"]}
        case "input_image":
            return _image(part, path, asking)
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case "input_file" if asking.profile.files:
            return _file(part, path, asking)
        case kind:
            raise lacks(f"{path}.type", f"content of type '{kind}'", asking.profile)


def _image(part: Item, path: str, asking: Asking) -> Item:
    url = part.get("image_url")
    if not isinstance(url, str):
        raise lacks(f"{path}.file_id", "images by file id", asking.profile)
    if url in asking.downloads:
        url = data_url(downloaded(asking.downloads[url]))
    image: Item = {"url": url}
    if part.get("detail"):
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file(part: Item, path: str, asking: Asking) -> Item:
    file = {name: part[name] for name in ("file_id", "file_data", "filename") if part.get(name)}
    url = part.get("file_url")
    if url in asking.downloads:
        file |= {"file_data": data_url(downloaded(asking.downloads[url]))}
        file.setdefault("filename", url.rpartition("/")[2] or "file")
    elif "file_id" not in file and "file_data" not in file:
        raise lacks(f"{path}.file_url", "files by URL", asking.profile)
    return {"type": "file", "file": file}
