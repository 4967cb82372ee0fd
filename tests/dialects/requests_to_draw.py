"""Hypothesis draws requests of each dialect: with what the hub holds, in the one spelling that the writers have."""

from typing import Any

from hypothesis import strategies as st

from translated import seal

Body = dict[str, Any]
Draw = st.DrawFn

words = st.text(min_size=1, max_size=8).filter(str.strip)
"""Anthropic refuses blank text."""
names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
numbers = st.floats(0, 1)
counts = st.integers(1, 4096)
schemas = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={"properties": st.dictionaries(names, st.just({"type": "string"}), max_size=2)},
)
arguments = st.dictionaries(names, st.text(max_size=5) | st.integers(0, 9) | st.booleans(), max_size=2)
stops = st.lists(words, min_size=1, max_size=3)
kinds = st.sampled_from(["text", "picture", "file"])


def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    """Draw any of these members."""
    return st.fixed_dictionaries({}, optional=members)


# Chat Completions.

_SAMPLING = {
    "temperature": numbers,
    "top_p": numbers,
    "presence_penalty": numbers,
    "frequency_penalty": numbers,
    "seed": st.integers(),
    "top_k": counts,
    "min_p": numbers,
}
_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
_CHAT = {
    **_SAMPLING,
    "stop": stops,
    "max_completion_tokens": counts,
    "reasoning_effort": st.sampled_from(["low", "high"]),
    "verbosity": st.sampled_from(["low", "high"]),
    "metadata": st.dictionaries(names, words, max_size=2),
    "user": words,
    "safety_identifier": words,
    "service_tier": st.just("flex"),
    "prompt_cache_key": words,
    "response_format": st.just({"type": "json_object"})
    | st.builds(
        lambda name, schema: {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": schema, "strict": True},
        },
        names,
        schemas,
    ),
}


@st.composite
def chat_requests(draw: Draw) -> Body:
    """Draw requests to OpenAI."""
    body = {"model": "m", "messages": draw(_conversations()), **draw(some(**_CHAT))}
    if draw(st.booleans()):
        body |= {"logprobs": True, **draw(some(top_logprobs=st.integers(1, 20)))}
    if draw(st.booleans()):
        body |= _STREAMED
    return body | draw(st.just({}) | _chat_tools())


@st.composite
def _chat_tools(draw: Draw) -> Body:
    tools = draw(st.lists(_chat_tool(), min_size=1, max_size=3, unique_by=_tool_name))
    first = tools[0]["type"]
    choices = ["none", "required", {"type": first, first: {"name": _tool_name(tools[0])}}]
    more = some(tool_choice=st.sampled_from(choices), parallel_tool_calls=st.just(False))
    return {"tools": tools, **draw(more)}


@st.composite
def _chat_tool(draw: Draw) -> Body:
    told = {"name": draw(names), **draw(some(description=words))}
    if draw(st.booleans()):
        grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": draw(words)}}
        form = some(format=st.sampled_from([{"type": "text"}, grammar]))
        return {"type": "custom", "custom": told | draw(form)}
    told |= {"parameters": draw(schemas), "strict": draw(st.booleans())}
    return {"type": "function", "function": told}


def _tool_name(tool: Body) -> str:
    return str(tool[tool["type"]]["name"])


@st.composite
def _conversations(draw: Draw, reasoning: str | None = None) -> list[Body]:
    messages = [
        {"role": role, "content": draw(words)}
        for role in draw(st.lists(st.sampled_from(["system", "developer"]), max_size=2))
        if reasoning is None or role == "system"
    ]
    for turn in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(words | _chat_parts())})
        if draw(st.booleans()):
            messages += draw(_chat_turn(turn, reasoning))
    return messages


@st.composite
def _chat_parts(draw: Draw) -> list[Body]:
    texts = [{"type": "text", "text": draw(words)} for _ in range(2)]
    image = {"url": "https://a.example/a.png", **draw(some(detail=st.just("low")))}
    others = [
        {"type": "image_url", "image_url": image},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {
            "type": "file",
            "file": draw(st.sampled_from([{"file_id": "f"}, {"file_data": "d", "filename": "n"}])),
        },
    ]
    return draw(st.sampled_from([texts, [*texts, others[0]], [others[0]], [texts[0], *others[1:]]]))


@st.composite
def _chat_turn(draw: Draw, turn: int, reasoning: str | None) -> list[Body]:
    """Draw what an assistant says, and what the tools say that it called."""
    said: Body = {"role": "assistant", "content": draw(words)}
    if reasoning is not None:
        said[reasoning] = draw(words)
    elif draw(st.booleans()):
        said |= {"refusal": draw(words), "content": draw(st.none() | words)}
    calls = [_chat_call(draw, f"call_{turn}_{place}") for place in range(draw(st.integers(0, 2)))]
    if not calls:
        return [said]
    said["tool_calls"] = calls
    if "refusal" not in said and draw(st.booleans()):
        said["content"] = None
    return [said, *({"role": "tool", "tool_call_id": each["id"], "content": draw(words)} for each in calls)]


def _chat_call(draw: Draw, call_id: str) -> Body:
    told = {"name": draw(names)}
    kind = draw(st.sampled_from(["function", "custom"]))
    told["arguments" if kind == "function" else "input"] = draw(st.text(max_size=8))
    return {"id": call_id, "type": kind, kind: told}


@st.composite
def reasoning_chat_requests(draw: Draw, member: str) -> Body:
    """Draw requests to a provider that takes earlier reasoning back under the name `member`."""
    messages = draw(_conversations(reasoning=member))
    for message in messages:
        texts = [
            part for part in message["content"] or () if isinstance(part, dict) and part["type"] == "text"
        ]
        if isinstance(message["content"], list):
            message["content"] = [*texts, {"type": "text", "text": "?"}, {"type": "text", "text": "!"}]
        for call in message.get("tool_calls", ()):
            if call["type"] == "custom":
                told = call.pop("custom")
                call |= {"type": "function", "function": {"name": told["name"], "arguments": told["input"]}}
    return {"model": "m", "messages": messages, **draw(some(**_SAMPLING, max_tokens=counts))}


# Text completions.


@st.composite
def completion_requests(draw: Draw) -> Body:
    """Draw requests for a text completion."""
    more = some(
        **_SAMPLING,
        max_tokens=counts,
        stop=words | stops,
        logit_bias=st.dictionaries(names, st.integers(-100, 100), max_size=2),
        user=words,
        logprobs=st.integers(0, 5),
    )
    body = {"model": "m", "prompt": draw(st.text(max_size=20)), **draw(more)}
    return body | draw(st.sampled_from([{}, _STREAMED]))


# Messages.

_CACHED = some(cache_control=st.sampled_from([{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}]))


@st.composite
def messages_requests(draw: Draw) -> Body:
    """Draw requests to a model of Anthropic's that thinks as much as it wants."""
    body = {"model": "claude-sonnet-4-6", "max_tokens": draw(counts), "messages": draw(_turns())}
    body |= draw(
        some(
            system=words | st.builds(_cached_text, words),
            stop_sequences=stops,
            metadata=st.builds(lambda user: {"user_id": user}, words),
            service_tier=st.sampled_from(["auto", "standard_only"]),
            stream=st.just(True),
        )
    )
    body |= draw(st.just({}) | _messages_tools())
    config: Body = {}
    if draw(st.booleans()):
        config["format"] = {"type": "json_schema", "schema": draw(schemas)}
    if body.get("tool_choice", {}).get("type") not in {"any", "tool"} and draw(st.booleans()):
        effort = draw(some(effort=st.sampled_from(["low", "medium", "high", "max"])))
        config |= effort
        shown = draw(st.sampled_from(["summarized", "omitted"])) if effort else "summarized"
        body["thinking"] = {"type": "adaptive", "display": shown}
    else:
        body |= draw(some(temperature=numbers, top_k=counts) | some(top_p=numbers))
    return body | ({"output_config": config} if config else {})


def _cached_text(text: str) -> list[Body]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]


@st.composite
def _messages_tools(draw: Draw) -> Body:
    tool = st.builds(
        lambda name, schema, more: {"name": name, "input_schema": schema, **more},
        names,
        schemas,
        some(description=words),
    )
    tools = draw(st.lists(tool, min_size=1, max_size=3, unique_by=lambda each: each["name"]))
    more = some(max_uses=st.integers(1, 9), allowed_domains=st.just(["a.example"]))
    search = {"type": "web_search_20250305", "name": "web_search", **draw(more)}
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    body = {"tools": [*tools, *draw(st.sampled_from([[], [search], [code]]))]}
    alone = {"disable_parallel_tool_use": True}
    chosen = {"type": "tool", "name": tools[0]["name"]}
    choices = [{"type": "none"}, {"type": "any"}, {"type": "any"} | alone, {"type": "auto"} | alone, chosen]
    return body | draw(some(tool_choice=st.sampled_from(choices)))


@st.composite
def _turns(draw: Draw) -> list[Body]:
    messages: list[Body] = []
    calls: list[str] = []
    for turn in range(draw(st.integers(1, 3))):
        content = [draw(_result(call)) for call in calls]
        content += draw(st.lists(_user_block(), min_size=0 if content else 1, max_size=2))
        messages.append({"role": "user", "content": content})
        said = draw(st.lists(_said_block(), min_size=1, max_size=2))
        calls = [f"toolu_{turn}_{place}" for place in range(draw(st.integers(0, 2)))]
        said += [
            {"type": "tool_use", "id": each, "name": draw(names), "input": draw(arguments)} for each in calls
        ]
        messages.append({"role": "assistant", "content": said})
    content = [draw(_result(call)) for call in calls]
    return [*messages, {"role": "user", "content": [*content, {"type": "text", "text": "?"}]}]


@st.composite
def _result(draw: Draw, call_id: str) -> Body:
    texts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, words), min_size=1, max_size=2)
    result = {"type": "tool_result", "tool_use_id": call_id, "content": draw(words | texts)}
    return result | draw(some(is_error=st.just(True)))


@st.composite
def _said_block(draw: Draw) -> Body:
    text = draw(words)
    if draw(st.booleans()):
        return {"type": "text", "text": text}
    sealed = seal({"thinking": text, "signature": "signed"})
    return {"type": "thinking", "thinking": text, "signature": sealed}


@st.composite
def _user_block(draw: Draw) -> Body:
    there = [{"type": "url", "url": "https://a.example/a"}, {"type": "file", "file_id": "file_1"}]
    match draw(kinds):
        case "picture":
            picture = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}
            block = {"type": "image", "source": draw(st.sampled_from([picture, *there]))}
        case "file":
            pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}
            block = {"type": "document", "source": draw(st.sampled_from([pdf, *there]))}
            block |= draw(some(title=words))
        case _:
            block = {"type": "text", "text": draw(words)}
    return block | draw(_CACHED)
