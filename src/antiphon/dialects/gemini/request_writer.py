"""Writes a hub request as one of Gemini's `generateContent` (specification, section 15.7).

What Gemini has no form for is refused by its path. Hints that it has none for are left out: how much to search, how
verbose to be, what to cache a prompt by.
"""

import re
from typing import Any, Final
from urllib.parse import quote

from antiphon.dialects.gemini.contents import Contents
from antiphon.dialects.gemini.thinking import has_levels, thinking
from antiphon.dialects.notes import json_note, schema_of
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking, Structured
from antiphon.turn.events import Item
from antiphon.turn.request import HubRequest
from antiphon.turn.tools import Tool

_RENAMED: Final = {
    "max_output_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "seed": "seed",
}
_LOGPROBS: Final = "message.output_text.logprobs"
_JSON: Final = "application/json"
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_COLLECTION: Final = re.compile(r"(models|tunedModels)/(.+)")


def gemini_path(model: str, method: str) -> str:
    """Return the path of a method of a model, which is named with its collection or without."""
    found = _COLLECTION.fullmatch(model)
    collection, name = found.groups() if found else ("models", model)
    return f"/{collection}/{quote(name, safe='')}:{method}"


def gemini_answer_path(model: str, stream: bool) -> str:
    """Return the path of an answer by `model`."""
    return gemini_path(model, "streamGenerateContent?alt=sse" if stream else "generateContent")


def write_gemini_request(request: HubRequest, asking: Asking) -> dict[str, Any]:
    """Return the body of a request. Raises ClientFault."""
    contents = Contents(asking)
    contents.write(request)
    note = json_note(request, asking.structured)
    if note and (asking.structured is Structured.JSON or not _takes_json(asking)):
        contents.system.append(note)
    body: dict[str, Any] = {"contents": contents.contents}
    if contents.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in contents.system]}
    if config := _config(request, asking):
        body["generationConfig"] = config
    return body | _tools(request, asking)


# Settings.


def _config(request: HubRequest, asking: Asking) -> dict[str, Any]:
    config = {wire: request[name] for name, wire in _RENAMED.items() if name in request}
    stop = request.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    if request.get("n", 1) != 1:
        raise lacks("n", "several answers to one request, as they are translated,", asking.profile)
    if request.get("prompt"):
        raise lacks("prompt", "stored prompts", asking.profile)
    if request.get("logit_bias"):
        raise lacks("logit_bias", "biases of tokens", asking.profile)
    if _LOGPROBS in request.get("include", ()) or request.get("top_logprobs"):
        config["responseLogprobs"] = True
        if request.get("top_logprobs"):
            config["logprobs"] = request["top_logprobs"]
    if request.get("modalities"):
        config["responseModalities"] = [str(each).upper() for each in request["modalities"]]
    if thoughts := thinking(request, asking):
        config["thinkingConfig"] = thoughts
    return config | _format(request, asking)


def _takes_json(asking: Asking) -> bool:
    """Whether the model can be held to JSON: those without levels refuse that beside tools."""
    return has_levels(asking) or not (asking.toolset.tools or asking.toolset.hosted)


def _format(request: HubRequest, asking: Asking) -> dict[str, Any]:
    form = request.get("text", {}).get("format") or {}
    if not _takes_json(asking):
        return {}
    if asking.structured is Structured.NATIVE:
        return {"responseMimeType": _JSON, "responseJsonSchema": schema_of(form)}
    if asking.structured is Structured.JSON or form.get("type") == "json_object":
        return {"responseMimeType": _JSON}
    return {}


# Tools.


def _tools(request: HubRequest, asking: Asking) -> dict[str, Any]:
    toolset = asking.toolset
    hosted = [_hosted(tool, request, asking) for tool in toolset.hosted]
    functions = [_function(tool) for tool in toolset.tools]
    tools: list[Item] = [{"functionDeclarations": functions}] if functions else []
    tools += [{name: {}} for name in dict.fromkeys(hosted)]
    if not tools:
        return {}
    told: dict[str, Any] = {"tools": tools}
    config: dict[str, Any] = {}
    choice = toolset.choice
    if choice.hosted or (choice.mode == "required" and not functions):
        raise lacks("tool_choice", "a tool of its own that must be used", asking.profile)
    if choice.mode != "auto" and functions:
        config["functionCallingConfig"] = {"mode": _MODES[choice.mode]}
        if choice.name is not None:
            config["functionCallingConfig"]["allowedFunctionNames"] = [choice.name]
    if hosted and functions and has_levels(asking):
        # Else such models refuse functions beside their own tools.
        config["includeServerSideToolInvocations"] = True
    return told | ({"toolConfig": config} if config else {})


def _function(tool: Tool) -> Item:
    declared: Item = {"name": tool.wire_name}
    if tool.description is not None:
        declared["description"] = tool.description
    return declared | {"parametersJsonSchema": tool.parameters}


def _hosted(tool: Item, request: HubRequest, asking: Asking) -> str:
    path = f"tools[{request['tools'].index(tool)}]"
    if tool["type"] == "code_interpreter":
        container = tool.get("container")
        if isinstance(container, str):
            raise lacks(f"{path}.container", "containers that are kept", asking.profile)
        if isinstance(container, dict) and container.get("file_ids"):
            raise lacks(f"{path}.container.file_ids", "files in a container", asking.profile)
        return "codeExecution"
    if tool.get("filters"):
        raise lacks(f"{path}.filters", "searches of some sites only", asking.profile)
    return "googleSearch"
