"""A sample answer of each feature, in each dialect of upstreams that has a form for it.

What is to be found again in what the client gets is `MARK` in a text, or the number `NUMBER`.
"""

import json

from docs.answer_samples import (
    call,
    chat,
    completion,
    gemini,
    message,
    messages,
    ollama,
    responses,
    text_part,
)
from docs.answered import Answered
from docs.feature import MARK

NUMBER = 4711
URL = f"https://cited.example/{MARK}"

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
