"""Requests as Gemini is sent them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.gemini.count import gemini_count_path, read_gemini_count, write_gemini_count
from antiphon.dialects.gemini.request_writer import gemini_answer_path
from antiphon.dialects.translation import Download
from antiphon.turn.compaction import shown_summary
from antiphon.turn.request import normalized
from antiphon.wire.errors import ClientFault, UpstreamFault
from dialects.gemini_reading import read
from recorded import exchanges, needs_recordings
from translated import Structured, asking, read_answer, seal, telling, whole, write

OLD, FLASH, PRO = "gemini-2.5-flash", "gemini-3-flash-preview", "gemini-3.1-pro-preview"
UNSIGNED = "skip_thought_signature_validator"
FUNCTION = {"type": "function", "name": "f", "description": "Does f.", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "2"}
PIXEL = "data:image/png;base64,AAAA"
FILES = "https://generativelanguage.googleapis.com/v1beta/files/x"


def written(model=OLD, **body):
    changes = {name: body.pop(name) for name in ("structured", "downloads") if name in body}
    return write("gemini", {"input": "Hi", **body}, "gemini", model=model, **changes)


def contents(*items, model=OLD, **body):
    return written(model, input=list(items), **body)["contents"]


def config(model=OLD, **body):
    return written(model, **body).get("generationConfig", {})


def fault_of(**body):
    with pytest.raises(ClientFault) as caught:
        written(**body)
    assert caught.value.code == "unsupported_parameter"
    return caught.value


def message(*parts, role="user"):
    return {"type": "message", "role": role, "content": list(parts)}


def user(text):
    return message({"type": "input_text", "text": text})


def model_says(text):
    return message({"type": "output_text", "text": text}, role="assistant")


def kept(envelope, **item):
    return {"type": "reasoning", "summary": [], "encrypted_content": seal(envelope), **item}


def signed(signature="S", call_id="c1"):
    return kept({"next": [{"of": "functionCall", "signature": signature, "call_id": call_id}]})


# Paths.


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("tunedModels/mine", "/tunedModels/mine"),
        ("../files?x=1#y", "/models/..%2Ffiles%3Fx%3D1%23y"),
        ("mod èle", "/models/mod%20%C3%A8le"),
    ],
)
def test_the_model_is_in_the_path(model, path):
    """Encoded, so that no name leads elsewhere."""
    assert gemini_answer_path(model, False) == f"{path}:generateContent"
    assert gemini_answer_path(model, True) == f"{path}:streamGenerateContent?alt=sse"
    assert gemini_count_path(model) == f"{path}:countTokens"


# Contents.


def test_a_text_is_a_user_content():
    """Nothing else is sent."""
    assert written() == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_neighbours_of_a_role_are_one_content():
    """Contents alternate."""
    assert contents(user("A"), user("B"), model_says("C"), CALL, OUTPUT, user("D")) == [
        {"role": "user", "parts": [{"text": "A"}, {"text": "B"}]},
        {
            "role": "model",
            "parts": [{"text": "C"}, {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "2"}}},
                {"text": "D"},
            ],
        },
    ]


def test_what_outranks_the_user_is_the_system_instruction_where_it_comes_first():
    """Later it keeps its place, marked."""
    system = message({"type": "input_text", "text": "B"}, role="system")
    late = message({"type": "input_text", "text": "C"}, role="developer")
    body = written(instructions="A", input=[system, user("Hi"), late])
    assert body["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "<developer>\nC\n</developer>"}]}
    ]


def test_instructions_alone_are_a_content():
    """Gemini answers nothing else."""
    assert written(instructions="A", input=[]) == {"contents": [{"role": "user", "parts": [{"text": "A"}]}]}


def test_instructions_may_be_items():
    """Those of the user among them are contents."""
    body = written(instructions=[message({"type": "input_text", "text": "A"}, role="developer"), user("B")])
    assert body["systemInstruction"] == {"parts": [{"text": "A"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "B"}, {"text": "Hi"}]}]


def test_a_refusal_is_what_the_model_said():
    """Gemini has no other form for it."""
    item = message({"type": "refusal", "refusal": "No."}, role="assistant")
    assert contents(user("A"), item)[1] == {"role": "model", "parts": [{"text": "No."}]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "input_image", "image_url": PIXEL},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        ({"type": "input_image", "image_url": FILES}, {"fileData": {"fileUri": FILES}}),
        ({"type": "input_image", "file_id": "files/x"}, {"fileData": {"fileUri": FILES}}),
        (
            {"type": "input_image", "image_url": "gs://b/x.jpg"},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://b/x.jpg"}},
        ),
        (
            {"type": "input_file", "file_url": "https://youtu.be/x"},
            {"fileData": {"fileUri": "https://youtu.be/x"}},
        ),
        (
            {"type": "input_video", "video_url": "https://www.youtube.com/watch?v=x"},
            {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}},
        ),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"},
            {"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}},
        ),
        (
            {"type": "input_file", "file_data": "QQ==", "filename": "a.CSV"},
            {"inlineData": {"mimeType": "text/csv", "data": "QQ=="}},
        ),
        (
            {
                "type": "input_file",
                "file_data": "data:application/octet-stream;base64,QQ==",
                "filename": "a.md",
            },
            {"inlineData": {"mimeType": "text/markdown", "data": "QQ=="}},
        ),
        (
            {"type": "input_file", "file_url": "https://a.example/a.pdf"},
            {"inlineData": {"mimeType": "application/pdf", "data": base64.b64encode(b"PDF").decode()}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "AA=="}},
        ),
    ],
)
def test_media_are_inline_or_read_by_gemini(part, expected):
    """Data and downloads are inline; Gemini's own files, Cloud Storage and YouTube stay addresses."""
    downloads = {"https://a.example/a.pdf": Download("application/pdf", b"PDF")}
    assert contents(message(part), downloads=downloads) == [{"role": "user", "parts": [expected]}]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image", "image_url": "https://a.example/a.png"}, "image_url"),
        ({"type": "input_image", "file_id": "file-1"}, "file_id"),
        ({"type": "input_file", "file_id": "file-1"}, "file_id"),
        ({"type": "input_audio"}, "type"),
    ],
)
def test_media_that_gemini_cannot_be_given_are_refused(part, param):
    """By their path."""
    assert fault_of(input=[message(part)]).param == f"input[0].content[0].{param}"


def test_an_image_in_a_system_instruction_is_refused():
    """It holds text only."""
    item = message({"type": "input_image", "image_url": PIXEL}, role="system")
    assert fault_of(input=[item, user("A")]).param == "input[0].content[0].type"


# Calls.


@pytest.mark.parametrize(
    ("arguments", "args"), [("", {}), ("{}", {}), ("[1]", {"input": "[1]"}), ("{", {"input": "{"})]
)
def test_arguments_are_always_an_object(arguments, args):
    """Whatever a model had written."""
    (_, said) = contents(user("A"), CALL | {"arguments": arguments})
    assert said["parts"][0]["functionCall"]["args"] == args


def test_calls_have_the_names_that_gemini_knows():
    """Of namespaces and custom tools."""
    tools = [{"type": "namespace", "name": "n", "tools": [FUNCTION]}, {"type": "custom", "name": "run"}]
    items = [
        user("A"),
        CALL | {"namespace": "n"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "ls"},
        OUTPUT,
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "x"},
    ]
    (_, said, told) = contents(*items, tools=tools)
    assert [part["functionCall"]["name"] for part in said["parts"]] == ["n__f", "run"]
    assert said["parts"][1]["functionCall"]["args"] == {"input": "ls"}
    assert [part["functionResponse"]["name"] for part in told["parts"]] == ["n__f", "run"]


def test_an_output_without_its_call_is_refused():
    """Gemini must be told the name."""
    with pytest.raises(ClientFault) as caught:
        contents(user("A"), OUTPUT)
    assert caught.value.param == "input[1].call_id"


PARTS = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PIXEL}]
INLINE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def test_images_of_an_output_are_in_its_response():
    """Where the model takes them."""
    told = contents(user("A"), CALL, OUTPUT | {"output": PARTS}, model=FLASH)[-1]["parts"]
    response = {"id": "c1", "name": "f", "response": {"output": "see"}, "parts": [INLINE]}
    assert told == [{"functionResponse": response}]


def test_images_of_outputs_come_after_all_of_them_else():
    """Responses stand together."""
    second = [CALL | {"call_id": "c2"}, OUTPUT | {"call_id": "c2"}]
    items = [user("A"), CALL, second[0], OUTPUT | {"output": PARTS}, second[1], user("B")]
    told = contents(*items)[-1]["parts"]
    assert [next(iter(part)) for part in told] == [
        "functionResponse",
        "functionResponse",
        "inlineData",
        "text",
    ]
    assert told[0]["functionResponse"]["response"] == {"output": "see\n(see the attachment below)"}


# Signatures.


@pytest.mark.parametrize("model", [OLD, FLASH])
def test_a_signature_goes_back_to_its_call(model):
    """Whatever stands between."""
    said = contents(user("A"), signed(), model_says("B"), CALL, model=model)[1]["parts"]
    assert [part.get("thoughtSignature") for part in said] == [None, "S"]


def test_a_signature_of_another_call_is_not_used():
    """Its call is gone."""
    said = contents(user("A"), signed(call_id="gone"), CALL)[1]["parts"]
    assert said == [{"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}]


def test_the_first_call_of_a_step_that_nobody_signed_is_marked():
    """Models with levels of thinking refuse it else; those with budgets never do."""
    second = CALL | {"call_id": "c2"}
    items = [user("A"), CALL, second, OUTPUT, OUTPUT | {"call_id": "c2"}, signed("T", "c3")]
    items.append(CALL | {"call_id": "c3"})

    def signatures(model):
        said = contents(*items, model=model)
        return [
            [part.get("thoughtSignature") for part in each["parts"]]
            for each in said
            if each["role"] == "model"
        ]

    assert signatures(FLASH) == signatures("gemini-flash-latest") == [[UNSIGNED, None], ["T"]]
    assert signatures(OLD) == signatures("gemini-2.0-flash") == [[None, None], ["T"]]


def test_an_empty_signed_part_goes_back_as_it_was():
    """After the text that it belongs to."""
    empty = {"text": "", "thoughtSignature": "S"}
    assert contents(user("A"), model_says("B"), kept({"parts": [empty]}))[1]["parts"] == [
        {"text": "B"},
        empty,
    ]


def test_a_signature_of_a_text_goes_back_to_it():
    """Not to one that another message of the user parts it from."""
    item = kept({"next": [{"of": "text", "signature": "S"}]})
    assert contents(user("A"), item, model_says("B"))[1]["parts"] == [{"text": "B", "thoughtSignature": "S"}]
    assert contents(user("A"), item, user("C"), model_says("B"))[1]["parts"] == [{"text": "B"}]


def test_a_signed_thought_goes_back_with_its_text():
    """The text is the item's summary."""
    item = kept(
        {"parts": [{"thought": True, "thoughtSignature": "S"}]},
        summary=[{"type": "summary_text", "text": "Hm"}],
    )
    said = contents(user("A"), item, model_says("B"))[1]["parts"]
    assert said == [{"text": "Hm", "thought": True, "thoughtSignature": "S"}, {"text": "B"}]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA of somebody else"},
        kept({"reasoning_details": []}),
        kept(["x"]),
    ],
)
def test_reasoning_of_others_is_left_out(item):
    """It could not be checked by Gemini."""
    assert contents(user("A"), item, model_says("B"))[1]["parts"] == [{"text": "B"}]


ANSWERS = [
    [{"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "S"}],
    [
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "S"},
        {"functionCall": {"id": "c2", "name": "f", "args": {}}},
    ],
    [{"text": "Hi"}, {"text": "", "thoughtSignature": "S"}],
    [{"text": "Hi", "thoughtSignature": "S"}],
    [{"text": "Hm", "thought": True, "thoughtSignature": "S"}, {"text": "Hi"}],
    [
        {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "S"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "T"},
        {"text": "Hi"},
    ],
    [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "S"}],
    [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t"}, "thoughtSignature": "S"},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t"}, "thoughtSignature": "T"},
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "U"},
    ],
]


@pytest.mark.parametrize("parts", ANSWERS)
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_goes_back_as_it_came(parts, stream):
    """Part for part, through the items that a client keeps."""
    tools = [{"type": "code_interpreter", "container": {"type": "auto"}}]
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    data = json.dumps(answer).encode()
    told = telling(body={"input": "Hi", "tools": tools}, provider="gemini")
    framed = b"data: %b\n\n" % data if stream else data
    output = whole(read_answer("gemini", told, framed, stream=stream))["output"]
    assert contents(user("A"), *output, tools=tools, model=FLASH)[1:] == [{"role": "model", "parts": parts}]


@needs_recordings
@pytest.mark.parametrize("mode", ["stream", "plain"])
def test_every_recorded_signature_goes_back(mode):
    """To a part of the same kind."""
    for exchange in exchanges("gemini.generateContent", mode):
        expected = read(exchange)
        if exchange.body.startswith(b"[") or expected.finish == "UNEXPECTED_TOOL_CALL":
            continue
        told = telling(provider="gemini")
        output = whole(read_answer("gemini", told, exchange.body, stream=mode == "stream"))["output"]
        back = contents(user("A"), *output, tools=[{"type": "code_interpreter"}])
        parts = [part for content in back if content["role"] == "model" for part in content["parts"]]
        assert [
            part["thoughtSignature"] for part in parts if "thoughtSignature" in part
        ] == expected.signatures
        assert [
            (part["functionCall"]["name"], part["functionCall"]["args"])
            for part in parts
            if "functionCall" in part
        ] == expected.calls


def items_from(kinds):
    """Items of these kinds, in which each output follows its call."""
    for number, kind in enumerate(kinds):
        call_id = f"c{number}"
        match kind:
            case "user":
                yield user("A")
            case "model":
                yield model_says("B")
            case "late":
                yield message({"type": "input_text", "text": "C"}, role="developer")
            case "signed":
                yield from (signed("S", call_id), CALL | {"call_id": call_id}, OUTPUT | {"call_id": call_id})
            case "call":
                yield from (CALL | {"call_id": call_id}, OUTPUT | {"call_id": call_id, "output": PARTS})


@given(kinds=st.lists(st.sampled_from(["user", "model", "late", "signed", "call"]), max_size=8))
def test_contents_are_always_what_gemini_takes(kinds):
    """Roles alternate, each part says one thing, responses name a call before them, and each step is signed."""
    told = contents(user("first"), *items_from(kinds), model=FLASH)
    assert [each["role"] for each in told] == [("user", "model")[index % 2] for index in range(len(told))]
    called = {}
    for content in told:
        assert content["parts"]
        calls = [part for part in content["parts"] if "functionCall" in part]
        assert all(part["thoughtSignature"] for part in calls[:1])
        called |= {part["functionCall"]["id"]: part["functionCall"]["name"] for part in calls}
        for part in content["parts"]:
            assert len(part.keys() - {"thoughtSignature", "thought"}) == 1
            if response := part.get("functionResponse"):
                assert called[response["id"]] == response["name"]


# What hosted tools did.


def test_code_that_was_run_is_told_where_code_may_be_run():
    """Elsewhere Gemini would not know what to make of it."""
    item = {
        "type": "code_interpreter_call",
        "code": "1",
        "status": "failed",
        "outputs": [{"type": "logs", "logs": "E"}],
    }
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "E"}}
    said = contents(user("A"), item, tools=[{"type": "code_interpreter"}])
    assert said[1]["parts"] == [code, result]
    assert len(contents(user("A"), item)) == 1


def test_searches_are_left_out():
    """Only their upstream could read them."""
    item = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
    assert len(contents(user("A"), item)) == 1


def test_a_compaction_is_an_instruction():
    """One that this gateway has made."""
    item = {"type": "compaction", "encrypted_content": seal({"text": "So far."})}
    assert written(input=[item, user("A")])["systemInstruction"] == {
        "parts": [{"text": shown_summary("So far.")}]
    }
    foreign = item | {"encrypted_content": "of somebody else"}
    assert fault_of(input=[foreign]).param == "input[0].encrypted_content"
    assert fault_of(input=[user("A"), {"type": "compaction_trigger"}]).param == "input[1].type"


# Settings.


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"max_output_tokens": 9}, {"maxOutputTokens": 9}),
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 4}, {"temperature": 0.5, "topP": 0.9, "topK": 4}),
        ({"presence_penalty": 1, "frequency_penalty": 2}, {"presencePenalty": 1, "frequencyPenalty": 2}),
        ({"seed": 7, "stop": "X"}, {"seed": 7, "stopSequences": ["X"]}),
        ({"stop": ["X", "Y"]}, {"stopSequences": ["X", "Y"]}),
        ({"include": ["message.output_text.logprobs"]}, {"responseLogprobs": True}),
        ({"top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
        ({"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}),
        ({"n": 1}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"responseMimeType": "application/json"}),
        (
            {
                "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}},
                "structured": Structured.NATIVE,
            },
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
    ],
)
def test_settings_have_gemini_s_names(asked, expected):
    """In `generationConfig`."""
    assert config(**asked) == expected


@pytest.mark.parametrize("asked", [{"n": 2}, {"logit_bias": {"1": 5}}])
def test_settings_that_gemini_lacks_are_refused(asked):
    """By their name."""
    assert fault_of(**asked).param == next(iter(asked))


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        (OLD, "none", {"thinkingBudget": 0}),
        (OLD, "minimal", {"thinkingBudget": 1024}),
        (OLD, "medium", {"thinkingBudget": 8192}),
        (OLD, "max", {"thinkingBudget": 24576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "xhigh", {"thinkingBudget": 32768}),
        (FLASH, "none", {"thinkingLevel": "minimal"}),
        (FLASH, "low", {"thinkingLevel": "low"}),
        (PRO, "minimal", {"thinkingLevel": "low"}),
        (PRO, "medium", {"thinkingLevel": "medium"}),
        (PRO, "xhigh", {"thinkingLevel": "high"}),
        (PRO, "unheard of", {}),
    ],
)
def test_an_effort_is_a_budget_or_a_level(model, effort, expected):
    """As the model takes it; thoughts are shown unless there are to be none."""
    told = config(model, reasoning={"effort": effort})["thinkingConfig"]
    assert told == {"includeThoughts": effort != "none", **expected}


def test_a_summary_shows_thoughts():
    """Whatever the effort; a model that does not think is told nothing."""
    assert config(FLASH, reasoning={"summary": "auto"}) == {"thinkingConfig": {"includeThoughts": True}}
    assert config(FLASH, reasoning={}) == {}
    assert config("gemini-2.0-flash", reasoning={"effort": "high", "summary": "auto"}) == {}


# Tools.


def test_functions_are_declared_with_their_schema():
    """As JSON Schema."""
    assert written(tools=[FUNCTION, {"type": "function", "name": "g"}])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "Does f.", "parametersJsonSchema": {"type": "object"}},
                {"name": "g", "parametersJsonSchema": {"type": "object", "properties": {}}},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "name": "f"}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_a_choice_is_a_mode(choice, expected):
    """With the name of the function that must be called."""
    told = written(tools=[FUNCTION], tool_choice=choice).get("toolConfig", {})
    assert told.get("functionCallingConfig") == expected


def test_only_allowed_tools_are_declared():
    """Gemini's own list of names would forbid an answer without a call."""
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
    body = written(tools=[FUNCTION, {"type": "function", "name": "g"}], tool_choice=choice)
    assert [each["name"] for each in body["tools"][0]["functionDeclarations"]] == ["f"]


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ({"type": "web_search"}, "googleSearch"),
        ({"type": "web_search_preview", "search_context_size": "low"}, "googleSearch"),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "codeExecution"),
    ],
)
def test_hosted_tools_are_gemini_s(tool, name):
    """Beside functions, models with levels must be told that both may be used."""
    assert written(tools=[tool])["tools"] == [{name: {}}]
    assert "toolConfig" not in written(tools=[tool, FUNCTION])
    assert written(FLASH, tools=[tool, FUNCTION])["toolConfig"] == {"includeServerSideToolInvocations": True}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": [{"type": "web_search", "filters": {"allowed_domains": ["a"]}}]}, "tools[0].filters"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container"),
        (
            {
                "tools": [
                    FUNCTION,
                    {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["a"]}},
                ]
            },
            "tools[1].container.file_ids",
        ),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["a"]}]}, "tools[0].type"),
    ],
)
def test_tools_that_gemini_lacks_are_refused(asked, param):
    """By their path."""
    assert fault_of(**asked).param == param


# Counting.


def test_a_count_is_asked_for_the_whole_request():
    """With the model's full name."""
    body = {"input": "Hi", "instructions": "A", "tools": [FUNCTION]}
    asked = asking(normalized(body), "gemini", model=OLD)
    counted = write_gemini_count(normalized(body), asked)["generateContentRequest"]
    assert counted == {"model": f"models/{OLD}", **write("gemini", body, "gemini", model=OLD)}


@needs_recordings
def test_recorded_counts_are_read():
    """The total."""
    counts = [read_gemini_count(each.body) for each in exchanges("gemini.countTokens", "plain")]
    assert counts == [8, 13]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"totalTokens":"8"}', b"[8]"])
def test_an_answer_that_does_not_count_is_a_fault_of_the_upstream(body):
    """Nothing is guessed."""
    with pytest.raises(UpstreamFault):
        read_gemini_count(body)
