"""Requests of the hub as Anthropic wants them: each row of the mapping, and what has no form there."""

import base64
from typing import Any

import pytest

from antiphon.dialects.messages.models import output_limit
from antiphon.dialects.translation import Download, Structured
from antiphon.turn.compaction import shown_summary
from antiphon.wire.errors import ClientFault
from translated import seal, write

OLD, NEW = "claude-sonnet-4-5", "claude-opus-4-8"
PDF = "JVBERi0xLjQ="
NAMES = ("model", "max_tokens", "messages", "system")
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "3"}


def written(model: str = OLD, **body: Any) -> dict[str, Any]:
    changes = {name: body.pop(name) for name in ("structured", "answer_tool", "downloads") if name in body}
    return write("messages", {"input": "Hi", **body}, "anthropic", model=model, **changes)


def settings(model: str = OLD, **body: Any) -> dict[str, Any]:
    """What a request says beside its messages."""
    return {name: value for name, value in written(model, **body).items() if name not in NAMES}


def said(*items: Any) -> list[tuple[str, Any]]:
    """The messages of an input; a single text stands for its message."""
    return [
        (message["role"], [block.get("text", block) for block in message["content"]])
        for message in written(input=list(items))["messages"]
    ]


def user(*parts: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": content}


def test_a_plain_question_has_a_limit_and_one_message():
    """`max_tokens` has to be there: without a limit it is the model's."""
    assert written() == {
        "model": OLD,
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert written(max_output_tokens=7)["max_tokens"] == 7


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-2.1", 4096),
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-sonnet-20240620", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-3-7-sonnet-20250219", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        ("claude-opus-4-5-20251101", 64_000),
        ("claude-sonnet-4-20250514", 64_000),
        ("claude-sonnet-4-6", 128_000),
        ("claude-haiku-4-5", 64_000),
        ("claude-opus-5-5", 128_000),
        ("claude-mythos-preview", 128_000),
        ("MiniMax-M2", 8192),
    ],
)
def test_the_limit_without_one_is_the_models(model, limit):
    """As its documentation says."""
    assert output_limit(model) == limit


# Turns.


def test_what_leads_is_the_system_prompt():
    """Instructions, and messages of the system and the developer before all others."""
    lead = {"role": "developer", "content": "B"}
    body = written(instructions="A", input=[lead, user("Hi")])

    assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert written(instructions="A")["system"] == "A"
    assert "system" not in written(instructions=" ")


def test_later_instructions_keep_their_place():
    """As marked text of the user."""
    assert said(user("Hi"), {"role": "system", "content": "Be brief"}, user("Go")) == [
        ("user", ["Hi", "<system>\nBe brief\n</system>", "Go"])
    ]


def test_instructions_alone_are_what_the_user_says():
    """There has to be a message."""
    body = written(input=[{"role": "developer", "content": "Tell a joke"}])

    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Tell a joke"}]}]
    assert "system" not in body


def test_an_assistant_that_speaks_first_is_announced():
    """The first message must be the user's; the last must not end with blanks."""
    assert said({"role": "assistant", "content": "Hello \n"}) == [
        ("user", ["(The conversation begins with the answer.)"]),
        ("assistant", ["Hello"]),
    ]


def test_who_speaks_twice_speaks_once():
    """Roles alternate; empty texts are none."""
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}

    assert said(user("1", " "), user("2"), answer, refusal, user("3")) == [
        ("user", ["1", "2"]),
        ("assistant", ["A", "No"]),
        ("user", ["3"]),
    ]


def test_results_of_a_turn_come_together_and_first():
    """Before anything else that the user says; letters that Anthropic does not take are replaced."""
    second = CALL | {"call_id": "f:2", "arguments": ""}
    outputs = OUTPUT, user("And?"), {**OUTPUT, "call_id": "f:2", "output": "x", "status": "incomplete"}
    told = said(user("Hi"), {"role": "assistant", "content": "Wait"}, CALL, second, *outputs)

    assert told[1:] == [
        (
            "assistant",
            [
                "Wait",
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "f_2", "name": "f", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "3"},
                {"type": "tool_result", "tool_use_id": "f_2", "content": "x", "is_error": True},
                "And?",
            ],
        ),
    ]


@pytest.mark.parametrize(("arguments", "given"), [("[1]", {"input": "[1]"}), ("{oops", {"input": "{oops"})])
def test_arguments_that_are_no_object_are_wrapped_in_one(arguments, given):
    """Anthropic takes nothing else back."""
    assert said(user("Hi"), CALL | {"arguments": arguments})[1][1][0]["input"] == given


def test_a_call_of_a_custom_tool_and_its_output_are_those_of_a_function():
    """Under the tool's wire name."""
    call = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "a\nb"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}

    assert said(user("Hi"), call, output)[1:] == [
        ("assistant", [{"type": "tool_use", "id": "c", "name": "f", "input": {"input": "a\nb"}}]),
        ("user", [{"type": "tool_result", "tool_use_id": "c", "content": "done"}]),
    ]


def test_results_may_hold_images_and_documents():
    """In their order."""
    image = {"type": "input_image", "image_url": "http://a/b.png"}
    told = said(user("Hi"), CALL, OUTPUT | {"output": [{"type": "input_text", "text": "See"}, image]})

    assert told[-1][1][0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {"type": "url", "url": "http://a/b.png"}},
    ]


def test_thinking_comes_back_out_of_its_envelope_before_what_it_preceded():
    """What is no envelope of this model is left out: Anthropic would refuse it."""
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
    kept = thought | {"encrypted_content": seal({"thinking": "Hm", "signature": "sig"})}
    redacted = thought | {"encrypted_content": seal({"redacted": "blob"})}
    foreign = thought | {"encrypted_content": "gAAAA"}
    told = said(user("Hi"), kept, redacted, foreign, thought, CALL, OUTPUT)

    assert told[1][1][:2] == [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "blob"},
    ]
    assert [block["type"] for block in told[1][1]] == ["thinking", "redacted_thinking", "tool_use"]


def test_what_hosted_tools_did_is_left_out():
    """Only its upstream could read it."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}

    assert said(user("Hi"), search, {"role": "assistant", "content": "Yes"}, user("So?"))[1] == (
        "assistant",
        ["Yes"],
    )


def test_a_compaction_of_this_gateway_is_an_instruction():
    """Its summary stands where it stood."""
    compaction = {"type": "compaction", "encrypted_content": seal({"text": "Before: x"})}

    assert written(input=[compaction, user("Go on")])["system"] == shown_summary("Before: x")


# Content.


PARTS = [
    (
        {"type": "input_image", "image_url": "data:image/jpeg;base64,AAAA"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}},
    ),
    (
        {"type": "input_image", "file_id": "file_1"},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ),
    (
        {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
    ),
    (
        {"type": "input_file", "file_data": PDF},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    ),
    (
        {"type": "input_file", "file_data": "aGk=", "filename": "a.md"},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "hi"},
            "title": "a.md",
        },
    ),
    (
        {"type": "input_file", "file_data": "data:image/png;base64,AAAA"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ),
    (
        {"type": "input_file", "file_url": "http://a/b.pdf"},
        {"type": "document", "source": {"type": "url", "url": "http://a/b.pdf"}},
    ),
    (
        {"type": "input_file", "file_id": "file_2"},
        {"type": "document", "source": {"type": "file", "file_id": "file_2"}},
    ),
    (
        {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
    ),
    (
        {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
def test_each_part_has_its_block(part, block):
    """Texts, images and documents, from wherever they come."""
    assert written(input=[user(part)])["messages"][0]["content"] == [block]


def test_downloads_stand_for_their_urls():
    """Files that the gateway has fetched go along."""
    downloads = {
        "http://a/b": Download("image/png", b"\0"),
        "http://a/c": Download("text/plain", b"hi"),
    }
    parts = (
        {"type": "input_image", "image_url": "http://a/b"},
        {"type": "input_file", "file_url": "http://a/c"},
    )
    blocks = written(input=[user(*parts)], downloads=downloads)["messages"][0]["content"]

    assert blocks[0]["source"]["data"] == base64.b64encode(b"\0").decode()
    assert blocks[1]["source"]["data"] == "hi"


# Tools.


def test_functions_and_custom_tools():
    """A custom tool is a function with one text; a schema has a type."""
    custom = {"type": "custom", "name": "c", "description": "D"}
    strict = FUNCTION | {"strict": True, "description": "E", "parameters": {"properties": {}}}

    assert settings(tools=[strict, custom])["tools"] == [
        {
            "name": "f",
            "description": "E",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
        },
        {
            "name": "c",
            "description": "D",
            "input_schema": {
                "type": "object",
                "properties": {"input": {"type": "string"}},
                "required": ["input"],
                "additionalProperties": False,
            },
        },
    ]
    assert "strict" not in settings("claude-sonnet-4-0", tools=[strict])["tools"][0]


def test_tools_that_anthropic_runs_itself():
    """With what they can be told."""
    search = {
        "type": "web_search",
        "filters": {"allowed_domains": ["a.example"]},
        "user_location": {"type": "approximate", "city": "Oslo", "region": None},
        "search_context_size": "high",
    }

    assert settings(tools=[search], max_tool_calls=3)["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 3,
            "allowed_domains": ["a.example"],
            "user_location": {"type": "approximate", "city": "Oslo"},
        }
    ]
    assert settings(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])["tools"] == [
        {"type": "code_execution_20250825", "name": "code_execution"}
    ]


CHOICES = [
    ("auto", True, None),
    ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
    ("none", False, {"type": "none"}),
    ("required", True, {"type": "any"}),
    ({"type": "function", "name": "f"}, True, {"type": "tool", "name": "f"}),
    (
        {"type": "function", "name": "f"},
        False,
        {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    ),
    ({"type": "web_search"}, True, {"type": "tool", "name": "web_search"}),
]


@pytest.mark.parametrize(("choice", "parallel", "told"), CHOICES)
def test_each_choice_of_tools(choice, parallel, told):
    """And whether several may be called."""
    tools = [FUNCTION, {"type": "web_search"}]
    body = settings(tools=tools, tool_choice=choice, parallel_tool_calls=parallel)

    assert body.get("tool_choice") == told


# Thinking and sampling.


THINKING = [
    (OLD, {"effort": "low"}, {"type": "enabled", "budget_tokens": 1024}, None),
    (OLD, {"effort": "medium"}, {"type": "enabled", "budget_tokens": 4096}, None),
    (OLD, {"effort": "xhigh"}, {"type": "enabled", "budget_tokens": 32_000}, None),
    (OLD, {"effort": "none"}, {"type": "disabled"}, None),
    (OLD, {"summary": "auto"}, None, None),
    (NEW, {"effort": "minimal"}, {"type": "adaptive", "display": "omitted"}, "low"),
    (
        NEW,
        {"effort": "xhigh", "summary": "auto"},
        {"type": "adaptive", "display": "summarized"},
        "xhigh",
    ),
    ("claude-opus-4-6", {"effort": "xhigh"}, {"type": "adaptive", "display": "omitted"}, "high"),
    (NEW, {"summary": "auto"}, {"type": "adaptive", "display": "summarized"}, None),
    (NEW, {"effort": "none"}, {"type": "disabled"}, None),
    (NEW, {}, None, None),
    ("claude-sonnet-5-5", {"effort": "none"}, {"type": "between_tools"}, None),
    ("claude-opus-5-5", {"effort": "none"}, None, "low"),
    ("claude-3-5-haiku-latest", {"effort": "high"}, None, None),
]


@pytest.mark.parametrize(("model", "reasoning", "thinking", "effort"), THINKING)
def test_each_effort_for_each_kind_of_model(model, reasoning, thinking, effort):
    """A budget for older ones, an effort for newer ones, nothing for those that do not think."""
    body = settings(model, reasoning=reasoning)

    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_a_budget_leaves_room_for_the_answer():
    """Within the limit where that is possible; else the limit grows."""
    within = written(reasoning={"effort": "high"}, max_output_tokens=4000)
    beyond = written(reasoning={"effort": "high"}, max_output_tokens=500)

    assert (within["max_tokens"], within["thinking"]["budget_tokens"]) == (4000, 3000)
    assert (beyond["max_tokens"], beyond["thinking"]["budget_tokens"]) == (1524, 1024)


def test_an_exact_budget_stays_as_it_was():
    """Clients of Anthropic have set it."""
    body = written(reasoning={"effort": "low"}, thinking_budget=3000, max_output_tokens=3500)

    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (3500, 3000)


def test_a_turn_that_began_unthought_goes_on_so():
    """Anthropic refuses a budget in the middle of a turn whose first message has no thinking."""
    kept = {"type": "reasoning", "encrypted_content": seal({"thinking": "", "signature": "s"})}
    more = [CALL | {"call_id": "2"}, OUTPUT | {"call_id": "2"}]
    thinks = {"reasoning": {"effort": "low"}}

    assert "thinking" not in settings(input=[user("Hi"), CALL, OUTPUT], **thinks)
    assert "thinking" in settings(input=[user("Hi"), kept, CALL, OUTPUT], **thinks)
    assert "thinking" in settings(input=[user("Hi"), kept, CALL, OUTPUT, *more], **thinks)
    answered = [user("Hi"), CALL, OUTPUT, {"role": "assistant", "content": "3"}, user("So?")]
    assert "thinking" in settings(input=answered, **thinks)
    assert "thinking" in settings(NEW, input=[user("Hi"), CALL, OUTPUT], **thinks)


def test_a_forced_tool_turns_thinking_off():
    """Anthropic refuses both together; the call can be seen, the thinking often not."""
    forced = {"tools": [FUNCTION], "tool_choice": "required", "reasoning": {"effort": "high"}}

    assert "thinking" not in settings(OLD, **forced)
    assert settings("claude-opus-5", **forced)["thinking"] == {"type": "disabled"}
    with pytest.raises(ClientFault) as raised:
        settings("claude-opus-5-5", **forced)
    assert raised.value.param == "tool_choice"


SAMPLING = [
    (OLD, {"temperature": 0.5, "top_k": 3}, {"temperature": 0.5, "top_k": 3}),
    (OLD, {"temperature": 1.7}, {"temperature": 1}),
    (OLD, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}),
    (OLD, {"top_p": 0.9}, {"top_p": 0.9}),
    ("claude-3-5-haiku-latest", {"temperature": 0, "top_p": 0.9}, {"temperature": 0, "top_p": 0.9}),
    (NEW, {"temperature": 0.5, "top_p": 0.9}, {}),
    (OLD, {"temperature": 0.5, "reasoning": {"effort": "low"}}, {}),
    (OLD, {"seed": 1, "presence_penalty": 1, "frequency_penalty": 1}, {}),
]


@pytest.mark.parametrize(("model", "given", "told"), SAMPLING)
def test_sampling_is_told_as_far_as_the_model_takes_it(model, given, told):
    """Without a refusal: it does not change what is asked."""
    body = settings(model, **given)
    body.pop("thinking", None)

    assert body == told


# The rest.


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORM = {"format": {"type": "json_schema", "name": "n", "description": "D", "schema": SCHEMA}}


def test_json_of_a_schema_in_each_of_its_ways():
    """Natively, by a tool that must be called, or by word."""
    native = settings(text=FORM, structured=Structured.NATIVE)
    tool = settings(text=FORM, structured=Structured.TOOL, answer_tool="answer")
    word = written(text=FORM, structured=Structured.JSON, instructions="Be brief")

    assert native == {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    assert tool == {
        "tools": [{"name": "answer", "description": "D", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "answer", "disable_parallel_tool_use": True},
    }
    assert [block["text"].splitlines()[0] for block in word["system"]] == [
        "Be brief",
        "When you answer with text, it is nothing but one JSON value that matches this JSON schema:",
    ]


def test_json_without_a_schema_is_asked_by_word():
    """There is no setting for it."""
    assert (
        written(text={"format": {"type": "json_object"}})["system"]
        == "When you answer with text, it is nothing but one JSON object."
    )


def test_an_effort_and_a_format_stand_side_by_side():
    """In one setting."""
    body = settings(NEW, text=FORM, structured=Structured.NATIVE, reasoning={"effort": "low"})

    assert sorted(body["output_config"]) == ["effort", "format"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"stop": []}, {}),
        ({"safety_identifier": "u"}, {"metadata": {"user_id": "u"}}),
        ({"user": "v"}, {"metadata": {"user_id": "v"}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "flex"}, {}),
        ({"truncation": "auto", "metadata": {"a": "b"}, "prompt_cache_key": "k"}, {}),
    ],
)
def test_the_other_settings(given, told):
    """By their names there; what does not change the answer is left out."""
    assert settings(**given) == told


LACKING = [
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"include": ["message.output_text.logprobs"]}, "include"),
    ({"n": 2}, "n"),
    ({"logit_bias": {"1": 2}}, "logit_bias"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"stop": ["\n"]}, "stop"),
    ({"stop": 5}, "stop"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
    (
        {"tools": [FUNCTION, {"type": "web_search", "external_web_access": False}]},
        "tools[1].external_web_access",
    ),
    ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container"),
    (
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]},
        "tools[0].container.file_ids",
    ),
    ({"input": [user({"type": "input_audio", "input_audio": {}})]}, "input[0].content[0].type"),
    ({"input": [user({"type": "input_image"})]}, "input[0].content[0].image_url"),
    ({"input": [user({"type": "input_file"})]}, "input[0].content[0].file_data"),
    (
        {"input": [user({"type": "input_file", "file_data": "AAAA", "filename": "a.zip"})]},
        "input[0].content[0].file_data",
    ),
    (
        {"input": [user({"type": "input_file", "file_data": "A", "filename": "a.txt"})]},
        "input[0].content[0].file_data",
    ),
    (
        {"input": [{"role": "developer", "content": [{"type": "input_image", "image_url": "http://a"}]}]},
        "input[0].content[0].type",
    ),
    ({"input": [user("Hi"), {"type": "compaction_trigger"}]}, "input[1].type"),
    ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].encrypted_content"),
    ({"input": " "}, "input"),
]


@pytest.mark.parametrize(("body", "param"), LACKING)
def test_what_has_no_form_is_refused_by_its_path(body, param):
    """Never dropped, where that would change what is asked."""
    with pytest.raises(ClientFault) as raised:
        written(**body)
    assert (raised.value.status, raised.value.param) == (400, param)
