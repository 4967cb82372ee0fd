"""Answers of Gemini, recorded and made up, as the hub's events."""

import json

import pytest

from antiphon.turn.grammar import violations
from dialects.gemini_reading import chunks_of, read
from recorded import exchanges, needs_recordings
from translated import read_answer, read_recording, telling, unseal, whole

API = "gemini.generateContent"
BLOCKED = {"promptFeedback": {"blockReason": "MODEL_ARMOR", "blockReasonMessage": "Not this."}}


def recorded(mode):
    return [pytest.param(exchange, id=exchange.id[-10:]) for exchange in exchanges(API, mode)]


def response_of(exchange):
    """The response to a recorded answer; a stream without events is a list of its chunks."""
    if exchange.body.startswith(b"["):
        events = read_answer("gemini", telling(provider="gemini"), exchange.body, stream=False)
        assert violations(events) == []
    else:
        events = read_recording("gemini", exchange, telling(provider="gemini"))
    return whole(events)


def kept_signatures(output):
    """The signatures in the envelopes of reasoning items, in their order."""
    found = []
    for item in output:
        if item["type"] == "reasoning" and "encrypted_content" in item:
            envelope = unseal(item["encrypted_content"])
            found += [part["thoughtSignature"] for part in envelope.get("parts", [])]
            found += [each["signature"] for each in envelope.get("next", [])]
    return found


def texts(output, kind, holder, member="text"):
    return "".join(part[member] for item in output if item["type"] == kind for part in item[holder])


def events_of(*chunks, told=None, finish="STOP", **candidate):
    """The events of a streamed answer with these parts in a chunk each, or whole chunks."""
    made = [
        chunk
        if "candidates" in chunk or "promptFeedback" in chunk or "error" in chunk
        else {"candidates": [{"content": {"parts": [chunk], "role": "model"}}]}
        for chunk in chunks
    ]
    if finish:
        made.append({"candidates": [{"finishReason": finish, **candidate}]})
    data = b"".join(b"data: %b\r\n\r\n" % json.dumps(chunk).encode() for chunk in made)
    events = read_answer("gemini", told or telling(provider="gemini"), data, stream=True)
    assert violations(events) == []
    return events


def answer(*parts, told=None, finish="STOP", **members):
    """The response to a whole answer with these parts."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish, **members}
    data = json.dumps({"candidates": [candidate]}).encode()
    events = read_answer("gemini", told or telling(provider="gemini"), data, stream=False)
    assert violations(events) == []
    return whole(events)


def output_of(*chunks, finish="STOP", **candidate):
    return whole(events_of(*chunks, finish=finish, **candidate))["output"]


# Recordings.


@needs_recordings
@pytest.mark.parametrize("exchange", recorded("stream") + recorded("plain"))
def test_recorded_answers_keep_what_they_say(exchange):
    """Text, thoughts, calls, code, signatures, searches, usage and the end, against a second reading."""
    expected = read(exchange)
    response = response_of(exchange)
    output = response["output"]
    assert texts(output, "message", "content") == expected.text
    assert texts(output, "reasoning", "summary") == expected.thoughts
    calls = [
        (call["name"], json.loads(call["arguments"])) for call in output if call["type"] == "function_call"
    ]
    assert calls == expected.calls
    assert [item["code"] for item in output if item["type"] == "code_interpreter_call"] == expected.code
    if response["status"] != "failed":
        assert kept_signatures(output) == expected.signatures
    queries = [
        query for item in output if item["type"] == "web_search_call" for query in item["action"]["queries"]
    ]
    assert queries == expected.queries
    assert response["model"] == (expected.model or "m")


@needs_recordings
@pytest.mark.parametrize("exchange", recorded("stream") + recorded("plain"))
def test_recorded_usage_is_that_of_the_last_chunk_that_counts(exchange):
    """Tool prompts belong to the input, thoughts to the output."""
    counted = read(exchange).usage
    usage = response_of(exchange)["usage"]
    if counted:
        assert usage["input_tokens"] == counted["promptTokenCount"] + counted.get(
            "toolUsePromptTokenCount", 0
        )
        assert usage["output_tokens"] == counted.get("candidatesTokenCount", 0) + counted.get(
            "thoughtsTokenCount", 0
        )
        assert usage["total_tokens"] == counted["totalTokenCount"]
        assert usage["output_tokens_details"]["reasoning_tokens"] == counted.get("thoughtsTokenCount", 0)
        assert usage["input_tokens_details"]["cached_tokens"] == counted.get("cachedContentTokenCount", 0)


@needs_recordings
@pytest.mark.parametrize("exchange", recorded("stream") + recorded("plain"))
def test_recorded_citations_are_of_the_passages_that_they_quote(exchange):
    """Bytes of UTF-8 became characters."""
    expected = read(exchange).passages
    output = response_of(exchange)["output"]
    cited = [
        (part["text"][each["start_index"] : each["end_index"]], each["url"])
        for item in output
        if item["type"] == "message"
        for part in item["content"]
        for each in part["annotations"]
    ]
    assert cited == list(dict.fromkeys(expected))


ENDS = {
    "STOP": ("completed", None),
    1: ("completed", None),
    "MAX_TOKENS": ("incomplete", "max_output_tokens"),
    "SAFETY": ("incomplete", "content_filter"),
    "MODEL_ARMOR": ("incomplete", "content_filter"),
    "UNEXPECTED_TOOL_CALL": ("failed", None),
    None: ("failed", None),
}


@needs_recordings
@pytest.mark.parametrize("exchange", recorded("stream") + recorded("plain"))
def test_recorded_answers_end_as_they_say(exchange):
    """An answer without a candidate is a prompt that was blocked."""
    response = response_of(exchange)
    reason = (response["incomplete_details"] or {}).get("reason")
    assert (response["status"], reason) == ENDS[read(exchange).finish]


@needs_recordings
@pytest.mark.parametrize("exchange", recorded("stream"))
def test_a_stream_without_events_is_a_list_of_its_chunks(exchange):
    """What is sent without `alt=sse`."""
    body = json.dumps(chunks_of(exchange)).encode()
    listed = read_answer("gemini", telling(provider="gemini"), body, stream=False)
    assert whole(listed) == response_of(exchange)


# Parts.


def test_a_signature_stands_before_the_call_that_it_is_of():
    """In a reasoning item of its own, or in that of the thoughts before."""
    call = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "S"}
    item, told = output_of(call)
    assert unseal(item["encrypted_content"]) == {
        "next": [{"of": "functionCall", "signature": "S", "call_id": "c1"}]
    }
    assert (item["type"], item["summary"]) == ("reasoning", [])
    assert (told["call_id"], told["arguments"], told["status"]) == ("c1", '{"a":1}', "completed")
    thought, told = output_of({"text": "Hm", "thought": True}, call)
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm"}]
    assert thought["encrypted_content"] == item["encrypted_content"]
    assert told["type"] == "function_call"


def test_a_signature_that_comes_with_the_first_text_stands_before_it():
    """So it does in whole answers."""
    output = answer({"text": "Hm", "thought": True}, {"text": "Hi", "thoughtSignature": "S"})["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]
    assert unseal(output[0]["encrypted_content"]) == {"next": [{"of": "text", "signature": "S"}]}


@pytest.mark.parametrize("last", ["", "o"])
def test_a_signature_that_comes_after_its_text_stands_after_it(last):
    """It is given back as the empty part that Gemini itself sends."""
    output = output_of({"text": "Hell"}, {"text": last, "thoughtSignature": "S"})
    assert [item["type"] for item in output] == ["message", "reasoning"]
    assert output[0]["content"][0]["text"] == "Hell" + last
    assert unseal(output[1]["encrypted_content"]) == {"parts": [{"text": "", "thoughtSignature": "S"}]}


def test_a_text_that_was_cut_off_stays_the_last_item():
    """Its signature is of no use without its end."""
    response = whole(events_of({"text": "Hell"}, {"text": "", "thoughtSignature": "S"}, finish="MAX_TOKENS"))
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_signed_thought_is_kept_without_its_text():
    """The item has that. Thoughts after it are an item of their own."""
    output = output_of(
        {"text": "A", "thought": True, "thoughtSignature": "S"}, {"text": "B", "thought": True}, {"text": "C"}
    )
    assert [item["type"] for item in output] == ["reasoning", "reasoning", "message"]
    assert unseal(output[0]["encrypted_content"]) == {"parts": [{"thought": True, "thoughtSignature": "S"}]}
    assert "encrypted_content" not in output[1]


def test_what_only_gemini_understands_is_kept_as_it_is():
    """Its own tools beside functions must be given back."""
    parts = [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t"}, "thoughtSignature": "S"},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t", "response": {}}},
    ]
    output = output_of(*parts, {"functionCall": {"name": "f"}, "thoughtSignature": "T"})
    assert [item["type"] for item in output] == ["reasoning", "function_call"]
    envelope = unseal(output[0]["encrypted_content"])
    assert envelope["parts"] == parts
    assert envelope["next"][0]["signature"] == "T"


def test_a_call_without_an_id_gets_one():
    """Gemini before version 3 makes none."""
    (call,) = output_of({"functionCall": {"name": "f"}})
    assert call["call_id"].startswith("call_")
    assert call["arguments"] == "{}"


def test_arguments_are_streamed_as_they_come():
    """One delta a piece."""
    pieces = [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}]
    events = events_of(
        {"functionCall": {"name": "f", "willContinue": True}},
        {"functionCall": {"partialArgs": pieces, "willContinue": True}},
        {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}], "willContinue": True}},
        {"functionCall": {}},
    )
    deltas = [event["delta"] for event in events if event["type"].endswith("arguments.delta")]
    assert deltas == ['{"a":"x', 'y"', "}"]


def test_calls_of_tools_come_back_as_what_the_client_defined():
    """A custom tool is a function for Gemini."""
    tools = [{"type": "custom", "name": "run"}]
    told = telling(body={"input": "Hi", "tools": tools}, provider="gemini")
    (call,) = whole(events_of({"functionCall": {"name": "run", "args": {"input": "ls"}}}, told=told))[
        "output"
    ]
    assert (call["type"], call["input"]) == ("custom_tool_call", "ls")


def test_code_is_told_with_its_results():
    """Logs and images, once no more can come."""
    code, message = output_of(
        {"executableCode": {"language": "PYTHON", "code": "plot()"}},
        {"text": ""},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "done"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"text": "See."},
    )
    assert (code["type"], code["status"], code["code"]) == ("code_interpreter_call", "completed", "plot()")
    assert code["outputs"] == [
        {"type": "logs", "logs": "done"},
        {"type": "image", "url": "data:image/png;base64,AAAA"},
    ]
    assert message["content"][0]["text"] == "See."


@pytest.mark.parametrize("outcome", ["OUTCOME_FAILED", 2, "OUTCOME_DEADLINE_EXCEEDED"])
def test_code_that_failed_says_so(outcome):
    """Its item has failed, the answer has not."""
    result = {"codeExecutionResult": {"outcome": outcome, "output": "Traceback"}}
    response = whole(events_of({"executableCode": {"code": "x"}}, result))
    assert (response["status"], response["output"][0]["status"]) == ("completed", "failed")


def test_results_without_code_are_told_too():
    """The code is then not known; speech is nothing that an item could hold."""
    (code,) = output_of(
        {"codeExecutionResult": {"outcome": 1, "output": "1"}},
        {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}},
    )
    assert (code["code"], code["status"]) == ("", "completed")


def test_arguments_that_nobody_ended_end_with_the_answer():
    """Where the answer is whole; one that was cut off leaves its call incomplete."""
    call = {
        "functionCall": {
            "name": "f",
            "partialArgs": [{"jsonPath": "$.a", "numberValue": 1}],
            "willContinue": True,
        }
    }
    (ended,) = output_of(call)
    assert (ended["arguments"], ended["status"]) == ('{"a":1}', "completed")
    (cut_off,) = output_of(call, finish="MAX_TOKENS")
    assert (cut_off["arguments"], cut_off["status"]) == ('{"a":1', "incomplete")


def test_an_image_is_an_image_generation_call():
    """With its data as the result, and its signature before it."""
    part = {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}, "thoughtSignature": "S"}
    kept, image = output_of(part)
    assert unseal(kept["encrypted_content"])["next"][0]["of"] == "inlineData"
    assert (image["type"], image["result"], image["output_format"]) == (
        "image_generation_call",
        "AAAA",
        "webp",
    )


GROUNDING = {
    "webSearchQueries": ["q"],
    "groundingChunks": [
        {"web": {"uri": "https://a.example", "title": "A"}},
        {"retrievedContext": {"text": "x"}},
    ],
    "groundingSupports": [
        {"segment": {"startIndex": 4, "endIndex": 7, "text": "bär"}, "groundingChunkIndices": [0, 1, 7]}
    ],
}


def test_a_search_stands_before_the_text_of_a_whole_answer_and_after_a_streamed_one():
    """It is only known with the last chunk."""
    before = answer({"text": "É: bär."}, groundingMetadata=GROUNDING)["output"]
    after = output_of({"text": "É: bär."}, groundingMetadata=GROUNDING)
    assert [item["type"] for item in before] == ["web_search_call", "message"]
    assert [item["type"] for item in after] == ["message", "web_search_call"]
    assert before[0]["action"] == after[1]["action"]
    assert before[0]["action"] == {
        "type": "search",
        "query": "q",
        "queries": ["q"],
        "sources": [{"type": "url", "url": "https://a.example"}],
    }


def test_places_are_characters():
    """Gemini counts bytes; where they lead elsewhere, the passage is looked for."""
    citation = {"type": "url_citation", "url": "https://a.example", "title": "A"}
    (message, _) = output_of({"text": "É: bär."}, groundingMetadata=GROUNDING)
    assert message["content"][0]["annotations"] == [citation | {"start_index": 3, "end_index": 6}]
    (message, _) = output_of({"text": "Ein bär."}, groundingMetadata=GROUNDING)
    assert message["content"][0]["annotations"] == [citation | {"start_index": 4, "end_index": 7}]
    (message, _) = output_of({"text": "Nothing of that"}, groundingMetadata=GROUNDING)
    assert message["content"][0]["annotations"] == [citation | {"start_index": 15, "end_index": 15}]


def test_recitations_are_citations_too():
    """Whatever the API calls their list; one without an address is none."""
    for name in ("citationSources", "citations"):
        sources = [{"startIndex": 0, "endIndex": 2, "uri": "https://b.example"}, {"startIndex": 1}]
        (message,) = output_of({"text": "Hi"}, citationMetadata={name: sources})
        (found,) = message["content"][0]["annotations"]
        assert found == {
            "type": "url_citation",
            "url": "https://b.example",
            "title": "",
            "start_index": 0,
            "end_index": 2,
        }


def test_a_citation_is_told_once():
    """Grounding comes again with later chunks."""
    again = {"candidates": [{"content": {"parts": [{"text": "É: bär."}]}, "groundingMetadata": GROUNDING}]}
    (message, _) = output_of(again, groundingMetadata=GROUNDING)
    assert len(message["content"][0]["annotations"]) == 1


def test_logprobs_are_those_of_the_text():
    """Chosen tokens, with their alternatives."""
    result = {
        "chosenCandidates": [{"token": "Hé", "tokenId": 1, "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "Ha", "logProbability": -1.5}]}],
    }
    (message,) = answer({"text": "Hé"}, logprobsResult=result)["output"]
    assert message["content"][0]["logprobs"] == [
        {
            "token": "Hé",
            "logprob": -0.5,
            "bytes": [72, 195, 169],
            "top_logprobs": [{"token": "Ha", "logprob": -1.5, "bytes": [72, 97]}],
        }
    ]


def test_only_the_first_candidate_is_read():
    """Others would be another answer."""
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "B"}]}, "finishReason": "SAFETY"}]}
    (message,) = output_of({"text": "A"}, other)
    assert message["content"][0]["text"] == "A"


def test_audio_is_counted_by_its_modality():
    """By its name or its number."""
    usage = {
        "promptTokenCount": 9,
        "candidatesTokenCount": 4,
        "totalTokenCount": 13,
        "cachedContentTokenCount": 3,
        "promptTokensDetails": [
            {"modality": "AUDIO", "tokenCount": 5},
            {"modality": "TEXT", "tokenCount": 4},
        ],
        "candidatesTokensDetails": [{"modality": 4, "tokenCount": 2}],
    }
    chunk = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
    counted = whole(events_of(chunk, finish=None))["usage"]
    assert counted["input_tokens_details"] == {"cached_tokens": 3, "cache_write_tokens": 0, "audio_tokens": 5}
    assert counted["output_tokens_details"] == {"reasoning_tokens": 0, "audio_tokens": 2}


def test_without_usage_it_is_counted_here():
    """What was said, and what was asked."""
    usage = whole(events_of({"text": "four"}))["usage"]
    assert usage["output_tokens"] == 4
    assert usage["input_tokens"] > 0


# Ends.


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("STOP", "completed", None),
        (1, "completed", None),
        (2, "incomplete", "max_output_tokens"),
        (3, "incomplete", "content_filter"),
        *((name, "incomplete", "content_filter") for name in ("RECITATION", "LANGUAGE", "BLOCKLIST", "SPII")),
        *((name, "incomplete", "content_filter") for name in ("PROHIBITED_CONTENT", "IMAGE_SAFETY")),
        *((name, "failed", None) for name in ("OTHER", "NO_IMAGE", "MALFORMED_FUNCTION_CALL", 10)),
        *((name, "failed", None) for name in ("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "NEW", 99)),
    ],
)
def test_each_reason_has_its_ending(finish, status, reason):
    """By name or number; what is not known has failed."""
    response = whole(events_of({"text": "Hi"}, finish=finish))
    assert (response["status"], (response["incomplete_details"] or {}).get("reason")) == (status, reason)


def test_a_failure_says_what_gemini_says():
    """Else it names the reason."""
    failed = whole(events_of(finish="OTHER", finishMessage="It broke."))
    assert failed["error"] == {"code": "server_error", "message": "It broke."}
    named = whole(events_of(finish="OTHER"))["error"]["message"]
    assert named == "The upstream ended its answer with OTHER."


def test_a_blocked_prompt_has_failed_and_says_why():
    """Nothing of an answer was there."""
    error = whole(events_of(BLOCKED, finish=None))["error"]
    assert error == {
        "code": "invalid_prompt",
        "message": "The upstream blocked the prompt: MODEL_ARMOR (Not this.).",
    }
    numbered = whole(events_of({"promptFeedback": {"blockReason": 4}}, finish=None))["error"]["message"]
    assert "PROHIBITED_CONTENT" in numbered


def test_a_prompt_that_is_blocked_late_ends_a_filtered_answer():
    """What there is of it stays."""
    response = whole(events_of({"text": "Hi"}, BLOCKED, finish=None))
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "content_filter"},
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("RESOURCE_EXHAUSTED", "rate_limit_exceeded"),
        ("UNAVAILABLE", "server_error"),
        ("INVALID_ARGUMENT", "invalid_argument"),
        (None, "upstream_error"),
    ],
)
def test_an_error_within_the_stream_ends_it(status, code):
    """With its message."""
    response = whole(
        events_of({"text": "Hi"}, {"error": {"code": 503, "message": "Later", "status": status}})
    )
    assert (response["status"], response["error"]) == ("failed", {"code": code, "message": "Later"})


def test_an_error_may_be_a_text():
    """As those of some proxies are."""
    assert whole(events_of({"error": "Later"}))["error"] == {"code": "upstream_error", "message": "Later"}


def test_an_answer_without_a_finish_reason_has_not_ended():
    """Whoever listens is told that it broke off."""
    events = read_answer(
        "gemini",
        telling(provider="gemini"),
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}\n\n',
        stream=True,
    )
    assert events[-1]["type"] == "response.output_text.delta"


def test_arguments_that_go_back_are_a_fault_of_the_upstream():
    """They cannot be written any more."""
    pieces = [{"jsonPath": path, "stringValue": "x"} for path in ("$.a.b", "$.c", "$.a.d")]
    call = {"functionCall": {"name": "f", "partialArgs": pieces, "willContinue": True}}
    error = whole(events_of(call, finish=None))["error"]
    assert error["code"] == "upstream_protocol_error"
