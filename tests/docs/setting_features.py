"""Rows about the form of answers, sampling, thinking, and what keeps, pays and caches."""

from typing import Any

from docs.feature import HINT, MARK, SCHEMA, Body, Feature, said
from docs.tool_features import TOOLS


def everywhere(**members: Any) -> dict[str, Body]:
    """What has one name in all dialects of OpenAI's family, and the same in others where it has."""
    return {"responses": members, "chat": members, "completions": members}


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

WISH = "it only says how to sample; the answer is one of those that the model gives anyway"
MONEY = "it is about money or bookkeeping, not about the answer"


SETTINGS: tuple[Feature, ...] = (
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
