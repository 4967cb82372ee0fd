"""Rows about tools: those that the client runs, and those that the upstream runs."""

from docs.feature import MARK, Body, Feature, said

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

TOOL_FEATURES: tuple[Feature, ...] = (
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
)
