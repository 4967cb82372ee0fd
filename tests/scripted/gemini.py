"""Gemini's `generateContent`."""

import json
from collections.abc import Iterator
from typing import Any

from antiphon.drivers.simulator import Answer
from scripted.speech import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    THOUGHT_TOKENS,
    Asked,
    Call,
    Fails,
    Result,
    Says,
    must,
    only,
)
from scripted.wire import cut, events, named

CONFIG = (
    *("maxOutputTokens", "temperature", "topP", "topK", "presencePenalty", "frequencyPenalty", "seed"),
    *("stopSequences", "responseLogprobs", "logprobs", "responseModalities", "thinkingConfig"),
    *("responseMimeType", "responseJsonSchema", "responseSchema", "candidateCount"),
)
DATA = ("text", "functionCall", "functionResponse", "inlineData", "fileData")


def read(body: dict[str, Any], _kind: str) -> Asked:
    only(
        body,
        "body",
        needs=("contents",),
        may=("systemInstruction", "tools", "toolConfig", "generationConfig"),
    )
    config = only(body.get("generationConfig", {}), "generationConfig", may=CONFIG)
    must(
        "responseJsonSchema" not in config or config.get("responseMimeType") == "application/json",
        "a schema without the type of JSON",
    )
    conversation = _Conversation()
    must(body["contents"], "no contents")
    for index, content in enumerate(body["contents"]):
        path = f"contents[{index}]"
        only(content, path, needs=("role", "parts"))
        expected = "model" if index % 2 else "user"
        must(content["role"] == expected, f"{path}: the {content['role']} speaks where the {expected} should")
        must(content["parts"], f"{path} has no parts")
        conversation.take(content["role"], content["parts"], path)
    must(not conversation.open, "the last calls have no answers")
    return Asked(
        stream=False,  # its path says so
        system="\n".join(part["text"] for part in body.get("systemInstruction", {}).get("parts", ())),
        texts=tuple(conversation.texts),
        calls=tuple(conversation.calls),
        results=tuple(conversation.results),
        proofs=tuple(conversation.proofs),
        tools=dict(_tools(body.get("tools") or ())),
        must_call=_choice(body),
        schema=config.get("responseJsonSchema"),
        wants_json="responseMimeType" in config and "responseJsonSchema" not in config,
        limit=config.get("maxOutputTokens"),
    )


class _Conversation:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.results: list[Result] = []
        self.proofs: list[str] = []
        self.open: list[Call] = []
        """Calls that the next content has to answer, all of them and in their order."""

    def take(self, role: str, parts: list[Any], path: str) -> None:
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        must(len(answers) == len(self.open) or role == "model", f"{path}: {self.open} and {answers} differ")
        for index, part in enumerate(parts):
            place = f"{path}.parts[{index}]"
            only(part, place, may=(*DATA, "thought", "thoughtSignature"))
            must(sum(name in part for name in DATA) == 1, f"{place} holds not one thing: {part}")
            self._part(role, part, place)
        self._must_be_signed(role, parts, path)

    def _part(self, role: str, part: Any, path: str) -> None:
        if part.get("thoughtSignature"):
            self.proofs.append(part["thoughtSignature"])
        if "text" in part:
            if not part.get("thought"):
                self.texts.append(("assistant" if role == "model" else "user", part["text"]))
        elif "functionCall" in part:
            must(role == "model", f"{path}: the user calls a function")
            call = only(part["functionCall"], path, needs=("name", "args"), may=("id",))
            self.open.append(Call(call.get("id", ""), call["name"], call["args"]))
            self.calls.append(self.open[-1])
        else:
            must(role == "user", f"{path}: the model answers its call")
            told = only(part["functionResponse"], path, needs=("name", "response"), may=("id", "parts"))
            call = self.open.pop(0)
            must((call.id, call.name) == (told.get("id", ""), told["name"]), f"{path} answers not {call}")
            must(isinstance(told["response"], dict), f"{path}.response")
            output = told["response"].get("output", json.dumps(told["response"]))
            self.results.append(Result(call.id, output if isinstance(output, str) else json.dumps(output)))

    def _must_be_signed(self, role: str, parts: list[Any], path: str) -> None:
        """Models from version 3 on want the first call of each step signed."""
        first = next((part for part in parts if "functionCall" in part), None)
        must(first is None or role == "user" or first.get("thoughtSignature"), f"{path}: no thoughtSignature")


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools:
        only(tool, "tools[]", needs=("functionDeclarations",))
        for declared in tool["functionDeclarations"]:
            only(declared, "declaration", needs=("name",), may=("description", "parametersJsonSchema"))
            yield declared["name"], declared.get("parametersJsonSchema")


def _choice(body: dict[str, Any]) -> str | None:
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    must(not config or body.get("tools"), "a mode of calling without tools")
    only(config, "functionCallingConfig", may=("mode", "allowedFunctionNames"))
    must(config.get("mode", "AUTO") in {"AUTO", "ANY", "NONE"}, "functionCallingConfig.mode")
    return next(iter(config.get("allowedFunctionNames", "*"))) if config.get("mode") == "ANY" else None


# What it says.


def write(says: Says, asked: Asked, model: str, _kind: str) -> Answer:
    finish = "SAFETY" if says.refusal else {"length": "MAX_TOKENS", "stop": "STOP"}[says.finish]
    if not asked.stream:
        return Answer(body=json.dumps(_chunk(model, list(_parts(says)), finish)).encode())
    *before, last = [[part] for part in _parts(says)] or [[]]
    chunks = [*(_chunk(model, parts, None) for parts in before), _chunk(model, last, finish)]
    return cut(events(named(chunk).replace(b"\n", b"\r\n") for chunk in chunks), says)


def _parts(says: Says) -> Iterator[dict[str, Any]]:
    signature = {"thoughtSignature": says.proof} if says.proof else {}
    if says.thought:
        yield {"text": says.thought, "thought": True}
    for text in says.texts:
        yield {"text": text}
    for number, call in enumerate(says.calls):
        called = {"id": call.id, "name": call.name, "args": call.arguments}
        yield {"functionCall": called} | (signature if number == 0 else {})


def _chunk(model: str, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": USAGE,
        "modelVersion": model,
        "responseId": "up",
    }


USAGE = {
    "promptTokenCount": INPUT_TOKENS,
    "cachedContentTokenCount": CACHED_TOKENS,
    "candidatesTokenCount": OUTPUT_TOKENS - THOUGHT_TOKENS,
    "thoughtsTokenCount": THOUGHT_TOKENS,
    "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
}


def fail(fails: Fails) -> dict[str, Any]:
    return {"error": {"code": fails.status, "message": fails.message, "status": "RESOURCE_EXHAUSTED"}}
