"""A sample request of each feature, in each dialect that has a form for it; what becomes of it is seen by `carrying`.

What is to be found again in the upstream's request has `MARK` in it. A feature that changes another one (a choice
among tools) has that one in `beside`, so that only the change is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MARK = "MARKMARK"
"""Also valid base64."""
IMAGE = f"https://img.example/{MARK}.png"
PDF = f"https://files.example/{MARK}.pdf"
SCHEMA = {"type": "object", "properties": {MARK: {"type": "integer"}}}

Body = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """One row of the tables."""

    name: str
    samples: Mapping[str, Body]
    """What it adds to the plainest request, by the client's dialect."""
    beside: Mapping[str, Body] = field(default_factory=dict)
    """What else the request has, and would have without it."""
    marked: bool = True
    """Whether the upstream's request has to hold the mark; else it is enough that it is another."""
    forms: tuple[tuple[str, str], ...] = ()
    """How it is carried: pattern of the upstream's request as compact JSON, and what is said of it then."""
    left_out: str = ""
    """Why an upstream may not be told of it."""


BASES: dict[str, Body] = {
    "responses": {"model": "m", "input": "Hi"},
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "m", "prompt": "Hi"},
}
"""The plainest request of each dialect that clients speak."""


def everywhere(**members: Any) -> dict[str, Body]:
    """What has one name in all dialects of OpenAI's family, and the same in others where it has."""
    return {"responses": members, "chat": members, "completions": members}


def said(role: str, content: Any) -> Body:
    return {"role": role, "content": content}


def parts(responses: Body, chat: Body | None, messages: Body | None) -> dict[str, Body]:
    """One part of a user's content, in each dialect's form."""
    given = {"responses": responses, "chat": chat, "messages": messages}
    holders = {"responses": "input", "chat": "messages", "messages": "messages"}
    return {
        client: {holders[client]: [said("user", [part])]}
        for client, part in given.items()
        if part is not None
    }


FUNCTION = {"name": "time", "description": MARK, "parameters": {"type": "object", "properties": {}}}
SECOND = FUNCTION | {"name": "date"}
TOOLS: dict[str, Body] = {
    "responses": {"tools": [{"type": "function", **each} for each in (FUNCTION, SECOND)]},
    "chat": {"tools": [{"type": "function", "function": each} for each in (FUNCTION, SECOND)]},
    "messages": {
        "tools": [
            {"name": each["name"], "description": MARK, "input_schema": each["parameters"]}
            for each in (FUNCTION, SECOND)
        ]
    },
}
CALLED: dict[str, Body] = {
    "responses": {
        "input": [
            said("user", "Hi"),
            {"type": "function_call", "call_id": "c1", "name": "time", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": MARK},
        ]
    },
    "chat": {
        "messages": [
            said("user", "Hi"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": MARK},
        ]
    },
    "messages": {
        "messages": [
            said("user", "Hi"),
            said("assistant", [{"type": "tool_use", "id": "c1", "name": "time", "input": {}}]),
            said("user", [{"type": "tool_result", "tool_use_id": "c1", "content": MARK}]),
        ]
    },
}
IMAGE_RESULT: dict[str, Body] = {
    "responses": {
        "input": [
            *CALLED["responses"]["input"][:2],
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{MARK}"}],
            },
        ]
    },
    "messages": {
        "messages": [
            *CALLED["messages"]["messages"][:2],
            said(
                "user",
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": [
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": MARK},
                            }
                        ],
                    }
                ],
            ),
        ]
    },
}


def hosted(tool: Body, messages: Body | None = None) -> dict[str, Body]:
    """A tool that the upstream runs."""
    told = {"responses": {"tools": [tool]}, "chat": {"tools": [tool]}}
    return told | ({"messages": {"tools": [messages]}} if messages else {})


SEARCH = {"type": "web_search_20250305", "name": "web_search"}
GRAMMAR = {"syntax": "lark", "definition": f'start: "{MARK}"'}
CUSTOM_FORMS = (
    (r'"type":"custom"', "custom"),
    (r'"input":\{"type":"string"\}', "as a function"),
)
FORMAT = {"type": "json_schema", "name": "n", "schema": SCHEMA}
STRUCTURED: dict[str, Body] = {
    "responses": {"text": {"format": FORMAT}},
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
}
JSON_FORMS = (
    (r'"tool_choice":\{[^}]*"name":"answer"', "as a tool"),
    (r"nothing but one JSON", "in words, checked"),
)

HINT = "a hint: the answer may differ in how, not in what"
WISH = "it only says how to sample; the answer is one of those that the model gives anyway"
MONEY = "it is about money or bookkeeping, not about the answer"

FEATURES: tuple[Feature, ...] = (
    # What is said.
    Feature(
        "system prompt",
        {
            "responses": {"instructions": MARK},
            "chat": {"messages": [said("system", MARK), said("user", "Hi")]},
            "messages": {"system": MARK},
        },
    ),
    Feature(
        "instructions in the middle",
        {
            client: {
                holder: [
                    said("user", "Hi"),
                    said("assistant", "Yes?"),
                    said("system", MARK),
                    said("user", "Go on"),
                ]
            }
            for client, holder in (("responses", "input"), ("chat", "messages"), ("messages", "messages"))
        },
        forms=((rf"<(system|developer)>\\n{MARK}", "marked text"),),
    ),
    Feature(
        "image, as data",
        parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": MARK}},
        ),
    ),
    Feature(
        "image, by URL",
        parts(
            {"type": "input_image", "image_url": IMAGE},
            {"type": "image_url", "image_url": {"url": IMAGE}},
            {"type": "image", "source": {"type": "url", "url": IMAGE}},
        ),
    ),
    Feature(
        "image, by file id",
        parts(
            {"type": "input_image", "file_id": f"file-{MARK}"},
            None,
            {"type": "image", "source": {"type": "file", "file_id": f"file-{MARK}"}},
        ),
    ),
    Feature(
        "detail of an image",
        parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}", "detail": "low"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}", "detail": "low"}},
            None,
        ),
        beside=parts(
            {"type": "input_image", "image_url": f"data:image/png;base64,{MARK}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{MARK}"}},
            None,
        ),
        marked=False,
        left_out=HINT,
    ),
    Feature(
        "PDF, as data",
        parts(
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": f"data:application/pdf;base64,{MARK}",
            },
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{MARK}"},
            },
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": MARK},
            },
        ),
    ),
    Feature(
        "PDF, by URL",
        parts(
            {"type": "input_file", "file_url": PDF},
            None,
            {"type": "document", "source": {"type": "url", "url": PDF}},
        ),
    ),
    Feature(
        "PDF, by file id",
        parts(
            {"type": "input_file", "file_id": f"file-{MARK}"},
            {"type": "file", "file": {"file_id": f"file-{MARK}"}},
            {"type": "document", "source": {"type": "file", "file_id": f"file-{MARK}"}},
        ),
    ),
    Feature(
        "sound",
        parts(
            {"type": "input_audio", "input_audio": {"data": MARK, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": MARK, "format": "wav"}},
            None,
        ),
    ),
    Feature(
        "video", parts({"type": "input_video", "video_url": f"data:video/mp4;base64,{MARK}"}, None, None)
    ),
    # Tools that the client runs.
    Feature("functions", TOOLS),
    Feature(
        "strict functions",
        {
            "responses": {"tools": [{"type": "function", **FUNCTION, "strict": True}]},
            "chat": {"tools": [{"type": "function", "function": FUNCTION | {"strict": True}}]},
            "messages": {
                "tools": [
                    {"name": "time", "description": MARK, "input_schema": {"type": "object"}, "strict": True}
                ]
            },
        },
        beside={
            "responses": {"tools": [{"type": "function", **FUNCTION, "strict": False}]},
            "chat": {"tools": [{"type": "function", "function": FUNCTION | {"strict": False}}]},
            "messages": {
                "tools": [
                    {"name": "time", "description": MARK, "input_schema": {"type": "object"}, "strict": False}
                ]
            },
        },
        marked=False,
        left_out="the model is told the same schema; whoever runs a function checks what it is given anyway",
    ),
    Feature("calls and their results", CALLED, beside=TOOLS),
    Feature("results with images", IMAGE_RESULT, beside=TOOLS),
    Feature(
        "results that are errors",
        {
            "messages": {
                "messages": [
                    *CALLED["messages"]["messages"][:2],
                    said(
                        "user",
                        [
                            {
                                "type": "tool_result",
                                "tool_use_id": "c1",
                                "content": MARK,
                                "is_error": True,
                            }
                        ],
                    ),
                ]
            }
        },
        beside={"messages": TOOLS["messages"] | CALLED["messages"]},
        marked=False,
        left_out="the text of the result says it",
    ),
    Feature(
        "one call at a time",
        {
            "responses": {"parallel_tool_calls": False},
            "chat": {"parallel_tool_calls": False},
            "messages": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        },
        beside=TOOLS,
        marked=False,
        left_out="surplus calls are left out of the answer",
    ),
    Feature(
        "no tool now",
        {
            "responses": {"tool_choice": "none"},
            "chat": {"tool_choice": "none"},
            "messages": {"tool_choice": {"type": "none"}},
        },
        beside=TOOLS,
        marked=False,
        forms=((r'^(?!.*"tools")', "by no tools"),),
    ),
    Feature(
        "some tool must be called",
        {
            "responses": {"tool_choice": "required"},
            "chat": {"tool_choice": "required"},
            "messages": {"tool_choice": {"type": "any"}},
        },
        beside=TOOLS,
        marked=False,
        forms=((r"Answer by calling", "in words"),),
    ),
    Feature(
        "one tool must be called",
        {
            "responses": {"tool_choice": {"type": "function", "name": "time"}},
            "chat": {"tool_choice": {"type": "function", "function": {"name": "time"}}},
            "messages": {"tool_choice": {"type": "tool", "name": "time"}},
        },
        beside=TOOLS,
        marked=False,
        forms=((r"Answer by calling", "the only one, in words"),),
    ),
    Feature(
        "some tools may be called",
        {
            "responses": {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "time"}],
                }
            },
            "chat": {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "time"}}],
                    },
                }
            },
        },
        beside=TOOLS,
        marked=False,
        forms=((r'^(?!.*"date")', "the others are not offered"),),
    ),
    Feature(
        "custom tools",
        {
            "responses": {"tools": [{"type": "custom", "name": "run", "description": MARK}]},
            "chat": {"tools": [{"type": "custom", "custom": {"name": "run", "description": MARK}}]},
        },
        forms=CUSTOM_FORMS,
    ),
    Feature(
        "grammars of custom tools",
        {
            "responses": {
                "tools": [{"type": "custom", "name": "run", "format": {"type": "grammar", **GRAMMAR}}]
            },
            "chat": {
                "tools": [
                    {
                        "type": "custom",
                        "custom": {"name": "run", "format": {"type": "grammar", "grammar": GRAMMAR}},
                    }
                ]
            },
        },
        forms=(CUSTOM_FORMS[0], (r"must match this lark grammar", "in the description")),
    ),
    Feature(
        "namespaces of tools",
        {
            "responses": {
                "tools": [{"type": "namespace", "name": "clock", "tools": [{"type": "function", **FUNCTION}]}]
            }
        },
        forms=((r'"type":"namespace"', "namespace"), (r"clock__time", "as `clock__time`")),
    ),
    Feature(
        "most calls of tools",
        {"responses": {"max_tool_calls": 3}},
        beside={"responses": TOOLS["responses"]},
        marked=False,
        left_out="it bounds what hosted tools cost; the client itself counts the calls of its own",
    ),
    # Tools that the upstream runs.
    Feature("`web_search`", hosted({"type": "web_search"}, SEARCH), marked=False),
    Feature(
        "search of some sites only",
        hosted(
            {"type": "web_search", "filters": {"allowed_domains": [MARK]}},
            SEARCH | {"allowed_domains": [MARK]},
        ),
    ),
    Feature(
        "`code_interpreter`",
        hosted(
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "code_execution_20250825", "name": "code_execution"},
        ),
        marked=False,
    ),
    Feature("`file_search`", hosted({"type": "file_search", "vector_store_ids": ["vs_1"]}), marked=False),
    Feature("`image_generation`", hosted({"type": "image_generation"}), marked=False),
    Feature(
        "`mcp`",
        {
            **hosted({"type": "mcp", "server_label": "s", "server_url": "https://mcp.example"}),
            "messages": {"mcp_servers": [{"type": "url", "name": "s", "url": "https://mcp.example"}]},
        },
        marked=False,
    ),
    Feature(
        "`computer`",
        hosted({"type": "computer"}, {"type": "computer_20250124", "name": "computer"}),
        marked=False,
    ),
    Feature("`shell`", hosted({"type": "shell"}, {"type": "bash_20250124", "name": "bash"}), marked=False),
    # What form the answer has.
    Feature("JSON of a schema", STRUCTURED, forms=JSON_FORMS),
    Feature("JSON of a schema, beside tools", STRUCTURED, beside=TOOLS, forms=JSON_FORMS),
    Feature(
        "some JSON",
        {
            "responses": {"text": {"format": {"type": "json_object"}}},
            "chat": {"response_format": {"type": "json_object"}},
        },
        marked=False,
        forms=((r"nothing but one JSON", "in words"),),
    ),
    Feature(
        "verbosity",
        {"responses": {"text": {"verbosity": "low"}}, "chat": {"verbosity": "low"}},
        marked=False,
        left_out=HINT,
    ),
    Feature(
        "most tokens",
        {
            "responses": {"max_output_tokens": 77},
            "chat": {"max_completion_tokens": 77},
            "messages": {"max_tokens": 77},
            "completions": {"max_tokens": 77},
        },
        marked=False,
    ),
    Feature(
        "stop sequences",
        {
            "chat": {"stop": [MARK]},
            "messages": {"stop_sequences": [MARK]},
            "completions": {"stop": [MARK]},
        },
    ),
    Feature(
        "log probabilities",
        {
            "responses": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
            "chat": {"logprobs": True, "top_logprobs": 2},
            "completions": {"logprobs": 2},
        },
        marked=False,
    ),
    Feature("several answers", {"chat": {"n": 2}, "completions": {"n": 2}}, marked=False),
    Feature(
        "sound in the answer",
        {"chat": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}},
        marked=False,
    ),
    Feature("`suffix`, `echo`", {"completions": {"suffix": MARK}}),
    Feature("several prompts", {"completions": {"prompt": [MARK, "Hello"]}}),
    # Sampling.
    Feature(
        "`temperature`",
        everywhere(temperature=0.7) | {"messages": {"temperature": 0.7}},
        marked=False,
        left_out="models that sample in one way only refuse it",
    ),
    Feature(
        "`top_p`",
        everywhere(top_p=0.7) | {"messages": {"top_p": 0.7}},
        marked=False,
        left_out="models that sample in one way only refuse it",
    ),
    Feature(
        "`top_k`",
        {"chat": {"top_k": 7}, "messages": {"top_k": 7}, "completions": {"top_k": 7}},
        marked=False,
        left_out=WISH,
    ),
    Feature(
        "`seed`",
        {"chat": {"seed": 7}, "completions": {"seed": 7}},
        marked=False,
        left_out="no upstream promises the same answer for it",
    ),
    Feature(
        "`presence_penalty`, `frequency_penalty`",
        everywhere(presence_penalty=0.7),
        marked=False,
        left_out=WISH,
    ),
    Feature(
        "`logit_bias`",
        {"chat": {"logit_bias": {"7": 1}}, "completions": {"logit_bias": {"7": 1}}},
        marked=False,
    ),
    # Thinking.
    Feature(
        "how much to think",
        {
            "responses": {"reasoning": {"effort": "low"}},
            "chat": {"reasoning_effort": "low"},
            "messages": {"output_config": {"effort": "low"}},
        },
        marked=False,
        left_out=HINT,
    ),
    Feature(
        "a budget of thinking",
        {"messages": {"thinking": {"type": "enabled", "budget_tokens": 2000}}},
        marked=False,
        left_out=HINT,
    ),
    Feature(
        "showing what was thought",
        {
            "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
            "messages": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        },
        beside={
            "responses": {"reasoning": {"effort": "low"}},
            "messages": {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "low"},
            },
        },
        marked=False,
        left_out="what such an upstream tells of its thinking is shown unasked",
    ),
    # What keeps, pays and caches.
    Feature(
        "marks of what to cache",
        {
            "responses": {
                "input": [
                    said(
                        "user",
                        [
                            {
                                "type": "input_text",
                                "text": "Hi",
                                "prompt_cache_breakpoint": {"mode": "explicit"},
                            }
                        ],
                    )
                ]
            },
            "chat": {
                "messages": [
                    said("user", [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}])
                ]
            },
            "messages": {
                "messages": [
                    said("user", [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}])
                ]
            },
        },
        beside={
            "responses": {"input": [said("user", [{"type": "input_text", "text": "Hi"}])]},
            "chat": {"messages": [said("user", [{"type": "text", "text": "Hi"}])]},
            "messages": {"messages": [said("user", [{"type": "text", "text": "Hi"}])]},
        },
        marked=False,
        left_out=MONEY,
    ),
    Feature(
        "`prompt_cache_key`",
        {"responses": {"prompt_cache_key": MARK}, "chat": {"prompt_cache_key": MARK}},
        left_out=MONEY,
    ),
    Feature(
        "`service_tier`",
        {
            "responses": {"service_tier": "priority"},
            "chat": {"service_tier": "priority"},
            "messages": {"service_tier": "standard_only"},
        },
        marked=False,
        left_out=MONEY,
    ),
    Feature(
        "who asks",
        {
            "responses": {"safety_identifier": MARK},
            "chat": {"safety_identifier": MARK},
            "messages": {"metadata": {"user_id": MARK}},
            "completions": {"user": MARK},
        },
        left_out=MONEY,
    ),
    Feature(
        "`metadata`",
        {"responses": {"metadata": {"a": MARK}}, "chat": {"metadata": {"a": MARK}}},
        left_out="the gateway keeps it with the response, and its answer shows it",
    ),
    Feature(
        "`truncation`",
        {"responses": {"truncation": "auto"}},
        marked=False,
        left_out="what is too long is then refused by the upstream, not cut",
    ),
    Feature("stored prompts", {"responses": {"prompt": {"id": MARK}}}),
)
