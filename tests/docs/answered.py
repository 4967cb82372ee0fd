"""A sample answer of each feature, in each dialect of upstreams that has a form for it.

What is to be found again in what the client gets is `MARK` in a text, or the number `NUMBER`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.messages.dialect import MESSAGES
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.dialects.translation import feed
from docs.features import MARK
from translated import telling, write

NUMBER = 4711
URL = f"https://cited.example/{MARK}"

Body = dict[str, Any]

DIALECTS = {dialect.name: dialect for dialect in (CHAT, COMPLETIONS, MESSAGES, RESPONSES)}


@dataclass(frozen=True)
class Answered:
    """One row of the tables."""

    name: str
    samples: Mapping[str, Any]
    """The whole answer, by the upstream's dialect."""
    request: Body = field(default_factory=dict)
    """What had been asked, in the hub's terms."""
    found: str = ""
    """What shows it, where it is no mark: a name of a member, or a value."""
    goes_back: bool = False
    """Whether it is looked for in the upstream's next request, to which the client gives it back."""
    missing: str = ""
    """Why a client may not be told of it."""
    clients: tuple[str, ...] = ()
    """Whom it can be told to; empty: all."""


def chat(message: Body, finish: str = "stop", usage: Body | None = None, **choice: Any) -> Body:
    told = {"index": 0, "message": {"role": "assistant", "content": "Yes", **message}, **choice}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [told | {"finish_reason": finish}],
        "usage": {"prompt_tokens": 9000, "completion_tokens": 9000, "total_tokens": 18000, **(usage or {})},
    }


def responses(*items: Body, status: str = "completed", usage: Body | None = None, **members: Any) -> Body:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m",
        "output": list(items),
        "usage": {"input_tokens": 9000, "output_tokens": 9000, "total_tokens": 18000, **(usage or {})},
        **members,
    }


def message(*parts: Body) -> Body:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": list(parts),
    }


def text_part(text: str = "Yes", **more: Any) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def messages(*blocks: Body, stop: str = "end_turn", usage: Body | None = None, **members: Any) -> Body:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 9000, "output_tokens": 9000, **(usage or {})},
        **members,
    }


def gemini(*parts: Body, finish: str = "STOP", usage: Body | None = None, **candidate: Any) -> Body:
    told = {
        "content": {"role": "model", "parts": list(parts)},
        "finishReason": finish,
        "index": 0,
        **candidate,
    }
    return {
        "candidates": [told],
        "usageMetadata": {"promptTokenCount": 9000, "candidatesTokenCount": 9000, **(usage or {})},
        "modelVersion": "m",
        "responseId": "r",
    }


def ollama(message: Body, reason: str = "stop", **more: Any) -> Body:
    return {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "Yes", **message},
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": 9000,
        "eval_count": 9000,
        **more,
    }


def completion(text: str = "Yes", finish: str = "stop", usage: Body | None = None, **choice: Any) -> Body:
    return {
        "id": "c",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "text": text, "finish_reason": finish, **choice}],
        "usage": {"prompt_tokens": 9000, "completion_tokens": 9000, "total_tokens": 18000, **(usage or {})},
    }


def call(call_id: str, mark: str = MARK) -> Body:
    arguments = json.dumps({"at": mark})
    return {"id": call_id, "type": "function", "function": {"name": "time", "arguments": arguments}}


TEXT = {"type": "text", "text": "Yes"}
TIME = {"type": "function", "name": "time", "parameters": {"type": "object"}}
RUN = {"type": "custom", "name": "run"}
INPUT = json.dumps({"input": MARK})
NO_FORM = "the dialect has no form for it"

ANSWERS: tuple[Answered, ...] = (
    Answered(
        "text",
        {
            "responses": responses(message(text_part(MARK))),
            "chat": chat({"content": MARK}),
            "messages": messages({"type": "text", "text": MARK}),
            "gemini": gemini({"text": MARK}),
            "ollama": ollama({"content": MARK}),
            "completions": completion(MARK),
        },
    ),
    Answered(
        "what was thought",
        {
            "responses": responses(
                {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": MARK}]},
                message(text_part()),
            ),
            "chat": chat({"reasoning_content": MARK}),
            "messages": messages({"type": "thinking", "thinking": MARK, "signature": "s"}, TEXT),
            "gemini": gemini({"text": MARK, "thought": True}, {"text": "Yes"}),
            "ollama": ollama({"thinking": MARK}),
        },
        missing=NO_FORM,
    ),
    Answered(
        "sealed reasoning, given back to the upstream",
        {
            "responses": responses(
                {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": MARK},
                message(text_part()),
            ),
            "chat": chat(
                {"reasoning_details": [{"type": "reasoning.encrypted", "data": MARK, "index": 0}]},
            ),
            "messages": messages({"type": "thinking", "thinking": "Hm", "signature": MARK}, TEXT),
            "gemini": gemini({"text": "Yes", "thoughtSignature": MARK}),
        },
        goes_back=True,
        missing=NO_FORM,
    ),
    Answered(
        "refusals",
        {
            "responses": responses(message({"type": "refusal", "refusal": MARK})),
            "chat": chat({"content": None, "refusal": MARK}),
            "messages": messages({"type": "text", "text": MARK}, stop="refusal"),
        },
        missing=NO_FORM,
    ),
    Answered(
        "calls",
        {
            "responses": responses(
                {
                    "id": "fc_1",
                    "type": "function_call",
                    "status": "completed",
                    "call_id": "c1",
                    "name": "time",
                    "arguments": json.dumps({"at": MARK}),
                }
            ),
            "chat": chat({"content": None, "tool_calls": [call("c1")]}, "tool_calls"),
            "messages": messages(
                {"type": "tool_use", "id": "c1", "name": "time", "input": {"at": MARK}}, stop="tool_use"
            ),
            "gemini": gemini({"functionCall": {"name": "time", "args": {"at": MARK}}}),
            "ollama": ollama(
                {"content": "", "tool_calls": [{"function": {"name": "time", "arguments": {"at": MARK}}}]}
            ),
        },
        request={"tools": [TIME]},
        missing="whoever asks for text completions defines no tools",
    ),
    Answered(
        "calls of custom tools",
        {
            "responses": responses(
                {
                    "id": "ctc_1",
                    "type": "custom_tool_call",
                    "status": "completed",
                    "call_id": "c1",
                    "name": "run",
                    "input": MARK,
                }
            ),
            "chat": chat(
                {
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "run", "arguments": INPUT}}
                    ],
                },
                "tool_calls",
            ),
            "messages": messages(
                {"type": "tool_use", "id": "c1", "name": "run", "input": {"input": MARK}}, stop="tool_use"
            ),
            "gemini": gemini({"functionCall": {"name": "run", "args": {"input": MARK}}}),
            "ollama": ollama(
                {"content": "", "tool_calls": [{"function": {"name": "run", "arguments": {"input": MARK}}}]}
            ),
        },
        request={"tools": [RUN]},
        clients=("responses", "chat"),
    ),
    Answered(
        "sources that are cited",
        {
            "responses": responses(
                message(
                    text_part(
                        annotations=[
                            {
                                "type": "url_citation",
                                "url": URL,
                                "title": "T",
                                "start_index": 0,
                                "end_index": 3,
                            }
                        ]
                    )
                )
            ),
            "chat": chat(
                {
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url_citation": {"url": URL, "title": "T", "start_index": 0, "end_index": 3},
                        }
                    ]
                }
            ),
            "messages": messages(
                TEXT
                | {
                    "citations": [
                        {
                            "type": "web_search_result_location",
                            "url": URL,
                            "title": "T",
                            "cited_text": "Yes",
                            "encrypted_index": "e",
                        }
                    ]
                }
            ),
            "gemini": gemini(
                {"text": "Yes"},
                groundingMetadata={
                    "groundingChunks": [{"web": {"uri": URL, "title": "T"}}],
                    "groundingSupports": [
                        {
                            "segment": {"startIndex": 0, "endIndex": 3, "text": "Yes"},
                            "groundingChunkIndices": [0],
                        }
                    ],
                },
            ),
        },
        missing=NO_FORM,
    ),
    Answered(
        "what was searched for",
        {
            "responses": responses(
                {
                    "id": "ws_1",
                    "type": "web_search_call",
                    "status": "completed",
                    "action": {"type": "search", "query": MARK, "queries": [MARK]},
                },
                message(text_part()),
            ),
            "messages": messages(
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": MARK}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                TEXT,
            ),
            "gemini": gemini({"text": "Yes"}, groundingMetadata={"webSearchQueries": [MARK]}),
        },
        request={"tools": [{"type": "web_search"}]},
        missing=NO_FORM,
    ),
    Answered(
        "code that was run",
        {
            "responses": responses(
                {
                    "id": "ci_1",
                    "type": "code_interpreter_call",
                    "status": "completed",
                    "code": MARK,
                    "container_id": "c",
                    "outputs": [],
                },
                message(text_part()),
            ),
            "messages": messages(
                {"type": "server_tool_use", "id": "s1", "name": "code_execution", "input": {"code": MARK}},
                {
                    "type": "code_execution_tool_result",
                    "tool_use_id": "s1",
                    "content": {
                        "type": "code_execution_result",
                        "stdout": "",
                        "stderr": "",
                        "return_code": 0,
                    },
                },
                TEXT,
            ),
            "gemini": gemini(
                {"executableCode": {"language": "PYTHON", "code": MARK}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": ""}},
                {"text": "Yes"},
            ),
        },
        request={"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        missing=NO_FORM,
    ),
    Answered(
        "pictures",
        {
            "responses": responses(
                {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": MARK}
            ),
            "chat": chat(
                {"images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}"}}]}
            ),
            "gemini": gemini({"inlineData": {"mimeType": "image/png", "data": MARK}}),
        },
        missing=NO_FORM,
    ),
    Answered(
        "log probabilities",
        {
            "responses": responses(
                message(
                    text_part(
                        MARK,
                        logprobs=[{"token": "Yes", "logprob": -0.4711, "bytes": [89], "top_logprobs": []}],
                    )
                )
            ),
            "chat": chat(
                {},
                logprobs={
                    "content": [{"token": "Yes", "logprob": -0.4711, "bytes": [89], "top_logprobs": []}]
                },
            ),
            "gemini": gemini(
                {"text": "Yes"},
                logprobsResult={
                    "chosenCandidates": [{"token": "Yes", "logProbability": -0.4711}],
                    "topCandidates": [{"candidates": []}],
                },
            ),
            "ollama": ollama(
                {},
                logprobs=[{"token": "Yes", "logprob": -0.4711, "bytes": [89], "top_logprobs": []}],
            ),
            "completions": completion(
                logprobs={
                    "tokens": ["Yes"],
                    "token_logprobs": [-0.4711],
                    "top_logprobs": [{}],
                    "text_offset": [0],
                }
            ),
        },
        request={"include": ["message.output_text.logprobs"]},
        found="-0.4711",
        missing="whoever asks in this dialect cannot ask for them",
    ),
    Answered(
        "an end at the limit of tokens",
        {
            "responses": responses(
                message(text_part()), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
            ),
            "chat": chat({}, "length"),
            "messages": messages(TEXT, stop="max_tokens"),
            "gemini": gemini({"text": "Yes"}, finish="MAX_TOKENS"),
            "ollama": ollama({}, "length"),
            "completions": completion(finish="length"),
        },
        found="length|max_tokens|max_output_tokens",
    ),
    Answered(
        "an end by a filter",
        {
            "responses": responses(
                message(text_part()), status="incomplete", incomplete_details={"reason": "content_filter"}
            ),
            "chat": chat({}, "content_filter"),
            "messages": messages(TEXT, stop="refusal"),
            "gemini": gemini({"text": "Yes"}, finish="SAFETY"),
            "completions": completion(finish="content_filter"),
        },
        found="content_filter|refusal",
    ),
    Answered(
        "which stop sequence it was",
        {"messages": messages(TEXT, stop="stop_sequence", stop_sequence=MARK)},
        missing=NO_FORM,
    ),
    *(
        Answered(name, samples, found=str(NUMBER), missing="a count of its own; the whole is told")
        for name, samples in {
            "tokens read from a cache": {
                "responses": responses(
                    message(text_part()), usage={"input_tokens_details": {"cached_tokens": NUMBER}}
                ),
                "chat": chat({}, usage={"prompt_tokens_details": {"cached_tokens": NUMBER}}),
                "messages": messages(TEXT, usage={"cache_read_input_tokens": NUMBER}),
                "gemini": gemini({"text": "Yes"}, usage={"cachedContentTokenCount": NUMBER}),
                "completions": completion(usage={"prompt_tokens_details": {"cached_tokens": NUMBER}}),
            },
            "tokens written to a cache": {
                "responses": responses(
                    message(text_part()), usage={"input_tokens_details": {"cache_write_tokens": NUMBER}}
                ),
                "messages": messages(TEXT, usage={"cache_creation_input_tokens": NUMBER}),
            },
            "tokens of thinking": {
                "responses": responses(
                    message(text_part()), usage={"output_tokens_details": {"reasoning_tokens": NUMBER}}
                ),
                "chat": chat({}, usage={"completion_tokens_details": {"reasoning_tokens": NUMBER}}),
                "messages": messages(TEXT, usage={"output_tokens_details": {"thinking_tokens": NUMBER}}),
                "gemini": gemini({"text": "Yes"}, usage={"thoughtsTokenCount": NUMBER}),
            },
            "tokens of sound": {
                "chat": chat({}, usage={"prompt_tokens_details": {"audio_tokens": NUMBER}}),
                "gemini": gemini(
                    {"text": "Yes"},
                    usage={"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": NUMBER}]},
                ),
            },
        }.items()
    ),
)


def answer_of(answered: Answered, client: str, upstream: str) -> Any:
    """What the client gets, or, where it gives that back, what the upstream gets of it."""
    provider = PROVIDER[upstream]
    told = telling(client, {"input": "Hi", **answered.request}, provider)
    reader = UPSTREAMS[upstream].reader(told)
    feed(reader, json.dumps(answered.samples[upstream]).encode(), "")
    reader.close(clean=True)
    frames = CLIENTS[client].writer(told).feed(reader.drain())
    answer = json.loads(DIALECTS[client].fold(frames))
    if not answered.goes_back:
        return answer
    items = CLIENTS[client].read(NEXT[client](answer))
    return write(upstream, {"input": items["input"]}, provider)


PROVIDER = {
    "responses": "openai",
    "chat": "openrouter",  # whose reasoning is sealed
    "messages": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
    "completions": "openai-completions",
}
_ASK, _MORE = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Go on"}
NEXT = {
    "responses": lambda answer: {"input": [_ASK, *answer["output"], _MORE]},
    "chat": lambda answer: {"messages": [_ASK, answer["choices"][0]["message"], _MORE]},
    "messages": lambda answer: {
        "model": "m",
        "max_tokens": 9,
        "messages": [_ASK, {"role": "assistant", "content": answer["content"]}, _MORE],
    },
    "completions": lambda answer: {"prompt": answer["choices"][0]["text"]},
}
"""The next request of a client who gives an answer back."""


def find_again(answered: Answered, answer: Any) -> list[str]:
    """Where it is in an answer: paths without numbers, each once."""
    wanted = set(answered.found.split("|")) if answered.found else set()
    return list(dict.fromkeys(_search(answer, wanted, "")))


def _search(value: Any, wanted: set[str], path: str) -> list[str]:
    match value:
        case dict():
            inner = [
                _search(each, wanted, f"{path}.{name}" if path else name) for name, each in value.items()
            ]
        case list():
            inner = [_search(each, wanted, f"{path}[]") for each in value]
        case _:
            is_it = str(value) in wanted if wanted else isinstance(value, str) and MARK in value
            return [path] if is_it else []
    return [place for places in inner for place in places]
