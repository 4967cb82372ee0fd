"""Answers of Ollama's own API, read into the hub's events."""

import json
from typing import Any

import pytest

from antiphon.turn.events import Event
from antiphon.turn.grammar import violations
from recorded import Exchange, exchanges, needs_recordings
from translated import read_answer, read_recording, telling, whole

RECORDED = (*exchanges("ollama.chat", "stream"), *exchanges("ollama.chat", "plain"))
TOOLS = [
    {"type": "function", "name": "weather", "parameters": {"type": "object"}},
    {"type": "custom", "name": "run", "description": "Runs code."},
]


def ids(exchange: Exchange) -> str:
    return exchange.id


def line(content: str = "", *, done: bool = False, **members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    message |= {name: members.pop(name) for name in ("thinking", "tool_calls") if name in members}
    ending = {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5} if done else {}
    return {"model": "m:latest", "message": message, "done": done, **ending, **members}


def call(name: str, arguments: Any, **members: Any) -> dict[str, Any]:
    return {**members, "function": {"name": name, "arguments": arguments}}


def streamed(*lines: Any, **options: Any) -> list[Event]:
    data = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    events = read_answer("ollama", telling(provider="ollama", **options), data, stream=True)
    assert violations(events) == []
    return events


def kinds(events: list[Event]) -> list[str]:
    return [item["type"] for item in whole(events)["output"]]


@needs_recordings
@pytest.mark.parametrize("exchange", RECORDED, ids=ids)
def test_recorded_answers_say_in_the_hub_what_their_lines_say(exchange: Exchange):
    """Content, usage and reason of each recording; none of them thinks or calls."""
    lines = [json.loads(each) for each in exchange.body.splitlines() if each.strip()]
    last = lines[-1]
    content = "".join(each["message"]["content"] for each in lines)

    response = whole(read_recording("ollama", exchange, telling(provider="ollama")))

    assert response["status"] == "completed"
    assert last["done_reason"] == "stop"
    assert response["model"] == last["model"]
    assert [part["text"] for item in response["output"] for part in item["content"]] == [content]
    usage = response["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (last["prompt_eval_count"], last["eval_count"])
    assert usage["total_tokens"] == last["prompt_eval_count"] + last["eval_count"]


def test_thinking_is_raw_reasoning_before_the_text():
    """It is an item of its own, and white space between the two is the text's beginning."""
    events = streamed(
        line(thinking="Let me "), line(thinking="see."), line("\n"), line("Yes"), line(done=True)
    )
    reasoning, message = whole(events)["output"]

    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert message["content"][0]["text"] == "\nYes"


def test_calls_come_whole_and_get_an_id_where_they_have_none():
    """Arguments are JSON text; the white space before calls is no message."""
    events = streamed(
        line("\n"),
        line(tool_calls=[call("weather", {"at": "Bonn"}, id="call_x"), call("weather", {}, id=5)]),
        line(done=True),
        body={"input": "Hi", "tools": TOOLS},
    )
    first, second = whole(events)["output"]

    assert (first["type"], first["call_id"], json.loads(first["arguments"])) == (
        "function_call",
        "call_x",
        {"at": "Bonn"},
    )
    assert (second["arguments"], second["status"]) == ("{}", "completed")
    assert second["call_id"].startswith("call_")
    assert whole(events)["status"] == "completed"


def test_calls_in_several_lines_are_several_calls():
    """Old versions give all of them no id and no index, new ones an index that begins again."""
    events = streamed(
        line(tool_calls=[call("weather", {"n": 1})]),
        line(tool_calls=[call("weather", {"n": 2})]),
        line(done=True),
    )

    assert [json.loads(item["arguments"]) for item in whole(events)["output"]] == [{"n": 1}, {"n": 2}]


def test_a_custom_tool_is_called_with_its_text():
    """It was told as a function with one parameter."""
    events = streamed(
        line(tool_calls=[call("run", {"input": "print(1)\n"})]),
        line(done=True),
        body={"input": "Hi", "tools": TOOLS},
    )

    assert [(item["type"], item["input"]) for item in whole(events)["output"]] == [
        ("custom_tool_call", "print(1)\n")
    ]


def test_of_several_calls_only_the_first_is_passed_on_where_one_was_asked_for():
    """Ollama cannot be told."""
    events = streamed(
        line(tool_calls=[call("weather", {"n": 1}), call("weather", {"n": 2})]),
        line(done=True),
        body={"input": "Hi", "tools": TOOLS, "parallel_tool_calls": False},
    )

    assert [json.loads(item["arguments"]) for item in whole(events)["output"]] == [{"n": 1}]


def test_text_after_a_call_is_a_message_after_it():
    """Order is kept."""
    events = streamed(
        line("Looking."), line(tool_calls=[call("weather", {})]), line("Done."), line(done=True)
    )

    assert kinds(events) == ["message", "function_call", "message"]
    assert whole(events)["output_text"] == "Looking.Done."


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("load", "completed", None),
        ("unload", "completed", None),
        (None, "completed", None),
    ],
)
def test_the_reason_says_how_the_answer_ended(told: str | None, status: str, reason: str | None):
    """Old versions tell none; loading a model is an answer without words."""
    response = whole(streamed(line("Hi" if told != "load" else ""), line(done=True, done_reason=told)))

    assert response["status"] == status
    assert (response["incomplete_details"] or {}).get("reason") == reason


def test_log_probabilities_stand_beside_their_text():
    """Those of a token without text go with the next text, those of thinking with none."""

    def entry(token: str, **more: Any) -> dict[str, Any]:
        return {"token": token, "logprob": -0.5, **more}

    events = streamed(
        line(thinking="Hm", logprobs=[entry("Hm")]),
        line(logprobs=[entry("\ufffd", bytes=[240, 159])]),
        line(
            "😊", logprobs=[entry("\ufffd", bytes=[152, 138], top_logprobs=[{"token": "a", "logprob": -3}])]
        ),
        line(done=True, logprobs=[entry("<eos>")]),
    )
    (part,) = whole(events)["output"][1]["content"]

    assert part["logprobs"] == [
        {"token": "\ufffd", "logprob": -0.5, "bytes": [240, 159], "top_logprobs": []},
        {
            "token": "\ufffd",
            "logprob": -0.5,
            "bytes": [152, 138],
            "top_logprobs": [{"token": "a", "logprob": -3, "bytes": [97]}],
        },
    ]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 3, "eval_count": 2}, (3, 2)),
        ({"eval_count": 2}, ("counted", 2)),
        ({}, ("counted", 5)),
        ({"prompt_eval_count": True, "eval_count": -1}, ("counted", 5)),
    ],
)
def test_what_is_not_counted_is_counted_here(counts: dict[str, Any], usage: tuple[Any, int]):
    """A prompt that was cached as a whole has no count in some versions."""
    told = telling(provider="ollama")
    data = json.dumps({"message": {"content": "Hello"}, "done": True, **counts}).encode()
    counted = whole(read_answer("ollama", told, data, stream=False))["usage"]
    prompt = told.count_input(told.request) if usage[0] == "counted" else usage[0]

    assert (counted["input_tokens"], counted["output_tokens"]) == (prompt, usage[1])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("an error was encountered while running the model", "upstream_error", "an error was encountered"),
        ({"message": "no", "code": "x"}, "x", "no"),
    ],
)
def test_an_error_in_a_line_ends_the_answer_as_failed(error: Any, code: str, message: str):
    """What was said before it stays; nothing is heard after it."""
    response = whole(streamed(line("Half"), {"error": error}, line("more"), line(done=True)))

    assert response["status"] == "failed"
    assert response["error"]["code"] == code
    assert response["error"]["message"].startswith(message)
    assert response["output_text"] == "Half"


def test_a_body_without_done_has_not_ended():
    """However cleanly it stops."""
    data = json.dumps(line("Half")).encode() + b"\n"
    events = read_answer("ollama", telling(provider="ollama"), data, stream=True)

    assert events[-1]["type"] == "response.output_text.delta"


def test_the_last_line_may_lack_its_line_end():
    """The end of the body ends it."""
    data = json.dumps(line("Hi")).encode() + b"\n" + json.dumps(line(done=True)).encode()

    assert whole(read_answer("ollama", telling(provider="ollama"), data, stream=True))["output_text"] == "Hi"


def test_a_line_that_is_no_json_fails_the_answer():
    """It is told in the answer, with what came before."""
    data = json.dumps(line("Hi")).encode() + b'\n{"message": \n'
    response = whole(read_answer("ollama", telling(provider="ollama"), data, stream=True))

    assert (response["status"], response["error"]["code"]) == ("failed", "upstream_invalid_json")


def test_odd_members_cost_only_themselves():
    """No message, null content, calls without a name, images: nothing of it is an answer."""
    events = streamed(
        {"model": "m"},
        {"message": None, "done": False},
        {"message": {"content": None, "tool_calls": [None, {}, {"function": {}}], "images": ["aGk="]}},
        {"message": {"content": "", "tool_calls": "none"}, "logprobs": [{"token": None, "bytes": 5}]},
        line("Hi", logprobs="none"),
        line(done=True),
    )

    assert kinds(events) == ["message"]
    assert whole(events)["output_text"] == "Hi"
