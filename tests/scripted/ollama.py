"""Ollama's `/api/chat`."""

import json
from collections.abc import Iterator
from typing import Any

from antiphon.drivers.simulator import Answer
from scripted.speech import INPUT_TOKENS, OUTPUT_TOKENS, Asked, Call, Fails, Result, Says, must, only, text_of
from scripted.wire import cut

MEMBERS = ("tools", "format", "options", "keep_alive", "think", "logprobs", "top_logprobs", "truncate")
OPTIONS = (
    *("num_predict", "num_ctx", "temperature", "top_p", "top_k", "min_p", "seed", "stop"),
    *("presence_penalty", "frequency_penalty", "repeat_penalty"),
)
MESSAGES: dict[str, tuple[str, ...]] = {
    "system": (),
    "user": ("images",),
    "assistant": ("thinking", "tool_calls"),
    "tool": ("tool_name", "tool_call_id"),
}


def read(body: dict[str, Any], _kind: str) -> Asked:
    only(body, "body", needs=("model", "messages", "stream"), may=MEMBERS)
    options = only(body.get("options", {}), "options", may=OPTIONS)
    conversation = _Conversation()
    for index, message in enumerate(body["messages"]):
        conversation.take(message, f"messages[{index}]")
    must(not conversation.open, "the last calls have no answers")
    form = body.get("format")
    must(form is None or form == "json" or isinstance(form, dict), f"format is {form!r}")
    must(not (form and body.get("tools")), "a format keeps the model from calling the tools beside it")
    tools = dict(_tools(body.get("tools") or ()))
    # It has no setting for a tool that must be called: the system's message says so.
    is_forced = len(tools) == 1 and any("by calling" in text for text in conversation.system)
    return Asked(
        stream=body["stream"],
        system="\n".join(conversation.system),
        texts=tuple(conversation.texts),
        calls=tuple(conversation.calls),
        results=tuple(conversation.results),
        proofs=tuple(conversation.proofs),
        tools=tools,
        must_call="*" if is_forced else None,
        schema=form if isinstance(form, dict) else None,
        wants_json=form == "json",
        limit=options.get("num_predict"),
    )


class _Conversation:
    def __init__(self) -> None:
        self.system: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.calls: list[Call] = []
        self.results: list[Result] = []
        self.proofs: list[str] = []
        self.open: list[Call] = []
        """Calls that wait for their answers, which come in their order."""

    def take(self, message: Any, path: str) -> None:
        role = message.get("role")
        must(role in MESSAGES, f"{path}.role is {role!r}")
        only(message, path, needs=("role", "content"), may=MESSAGES[role])
        content = text_of(message["content"], path)
        must(role == "tool" or not self.open, f"{path}: calls {self.open} have no answers yet")
        if role == "system":
            self.system.append(content)
        elif role == "tool":
            must(self.open, f"{path} answers no call")
            call = self.open.pop(0)
            must(message.get("tool_name") == call.name, f"{path} answers not {call}")
            self.results.append(Result(call.id, content))
        else:
            if content:
                self.texts.append((role, content))
            for call in message.get("tool_calls", ()):
                inner = only(call["function"], path, needs=("name", "arguments"), may=("index",))
                must(isinstance(inner["arguments"], dict), f"{path}: arguments are {inner['arguments']!r}")
                self.open.append(Call(call.get("id", ""), inner["name"], inner["arguments"]))
                self.calls.append(self.open[-1])
            if message.get("thinking"):
                self.proofs.append(message["thinking"])


def _tools(tools: Any) -> Iterator[tuple[str, Any]]:
    for tool in tools:
        only(tool, "tools[]", needs=("type", "function"))
        inner = only(tool["function"], "function", needs=("name", "parameters"), may=("description",))
        yield inner["name"], inner["parameters"]


# What it says.


def write(says: Says, asked: Asked, model: str, _kind: str) -> Answer:
    reason = {"stop": "stop", "length": "length"}[says.finish]
    ending = {
        "done": True,
        "done_reason": reason,
        "total_duration": 1,
        "prompt_eval_count": INPUT_TOKENS,
        "eval_count": OUTPUT_TOKENS,
    }
    calls = [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.arguments}}
        for index, call in enumerate(says.calls)
    ]
    if not asked.stream:
        message: dict[str, Any] = {"content": says.text}
        message |= {"thinking": says.thought} if says.thought else {}
        message |= {"tool_calls": calls} if calls else {}
        return Answer(body=json.dumps(_line(model, message) | ending).encode())
    lines = [_line(model, {"content": "", "thinking": says.thought})] if says.thought else []
    lines += [_line(model, {"content": text}) for text in says.texts]
    lines += [_line(model, {"content": "", "tool_calls": [call]}) for call in calls]
    lines.append(_line(model, {"content": ""}) | ending)
    frames = [json.dumps(line).encode() + b"\n" for line in lines]
    return cut(Answer(frames=frames, content_type="application/x-ndjson"), says)


def _line(model: str, message: dict[str, Any]) -> dict[str, Any]:
    told = {"role": "assistant", **message}
    return {"model": model, "created_at": "2026-11-01T00:00:00Z", "message": told, "done": False}


def fail(fails: Fails) -> dict[str, Any]:
    return {"error": fails.message}
