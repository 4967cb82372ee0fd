"""What a recorded answer says: a second, simple-minded reading that knows nothing of the hub.

Streams are put together as a client of the upstream's own dialect would do it: by the folds of native answers,
which other tests compare with the official libraries.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.messages.dialect import MESSAGES
from dialects.gemini_reading import chunks_of, read
from official_anthropic import messages_in
from official_library import events_of, first_answer, frames_of
from recorded import Exchange
from said import (
    Said,
    said_chat,
    said_completion,
    said_gemini,
    said_message,
    said_ollama,
    said_response,
)


def said_in(exchange: Exchange) -> Said:
    """Return what a recorded answer with status 200 says."""
    return _READERS[exchange.api](exchange)


def body_of(exchange: Exchange) -> bytes:
    """Return the first answer in a recording: some recorders have put several into one file."""
    if exchange.mode == "plain":
        return exchange.body
    if exchange.api == "openai.responses":
        return b"".join(first_answer(exchange.body))
    return messages_in(exchange.body)[0] if exchange.api == "anthropic.messages" else exchange.body


def _chat(exchange: Exchange) -> Said:
    answer = _folded(exchange, CHAT.fold)
    said = said_chat(answer)
    reason = answer["choices"][0].get("finish_reason")
    is_cut = exchange.mode == "stream" and reason is None
    # llama.cpp tells its errors in a field that no reader of events knows.
    is_broken = is_cut or answer.get("error") or b"\nerror:" in exchange.body or reason == "error"
    return replace(said, finish="error") if is_broken else said


def _completion(exchange: Exchange) -> Said:
    return said_completion(_folded(exchange, COMPLETIONS.fold))


def _message(exchange: Exchange) -> Said:
    return said_message(_folded(exchange, MESSAGES.fold))


def _response(exchange: Exchange) -> Said:
    if exchange.mode == "plain":
        return said_response(json.loads(exchange.body))
    events = events_of(first_answer(exchange.body))
    # The terminal event is the truth, but some upstreams say nothing of the output there.
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    response = events[-1]["response"]
    return said_response(response | {"output": response["output"] or items})


def _gemini(exchange: Exchange) -> Said:
    found = read(exchange)
    said = said_gemini(chunks_of(exchange))
    return replace(
        said,
        calls=tuple(found.calls),
        citations=tuple((url, passage) for passage, url in dict.fromkeys(found.passages)),
        searches=tuple(found.queries),
    )


def _ollama(exchange: Exchange) -> Said:
    return said_ollama([json.loads(line) for line in exchange.body.splitlines() if line.strip()])


def _folded(exchange: Exchange, fold: Callable[[list[bytes]], bytes]) -> Any:
    body = body_of(exchange)
    return json.loads(fold(frames_of(body)) if exchange.mode == "stream" else body)


_READERS: dict[str, Callable[[Exchange], Said]] = {
    "openai.chat": _chat,
    "openai.completions": _completion,
    "openai.responses": _response,
    "anthropic.messages": _message,
    "gemini.generateContent": _gemini,
    "ollama.chat": _ollama,
}
