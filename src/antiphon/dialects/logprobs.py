"""Log probabilities of tokens, as the hub has them (specification, section 7.1) and as text completions have them.

    hub               [{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}]
    text completions  {"tokens", "token_logprobs", "top_logprobs": [{token: logprob}], "text_offset"}

Chat Completions and Ollama have entries like the hub's, in which bytes and alternatives may be missing.
"""

from collections.abc import Sequence
from typing import Any

from antiphon.turn.events import Item


def hub_logprobs(entries: Any) -> list[Item]:
    """Read a list of entries as chat writes them; anything else is none."""
    if not isinstance(entries, list):
        return []
    return [_entry(entry) for entry in entries if isinstance(entry, dict)]


def _entry(entry: Item) -> Item:
    alternatives = entry.get("top_logprobs")
    known = (
        [each for each in alternatives if isinstance(each, dict)] if isinstance(alternatives, list) else []
    )
    return _token(entry) | {"top_logprobs": [_token(each) for each in known]}


def _token(entry: Item) -> Item:
    data = entry.get("bytes")
    token = entry.get("token")
    token = token if isinstance(token, str) else ""
    return {
        "token": token,
        "logprob": entry.get("logprob"),
        "bytes": data if isinstance(data, list) else list(token.encode(errors="replace")),
    }


def from_lists(told: Any) -> list[Item]:
    """Read the lists of a text completion; what is not such lists is none."""
    if not isinstance(told, dict) or not isinstance(told.get("tokens"), list):
        return []
    tokens = told["tokens"]
    logprobs, alternatives = (
        _filled(told.get(name), len(tokens)) for name in ("token_logprobs", "top_logprobs")
    )
    return [
        _entry(
            {
                "token": token,
                "logprob": logprob,
                "top_logprobs": [{"token": name, "logprob": value} for name, value in others.items()]
                if isinstance(others, dict)
                else [],
            }
        )
        for token, logprob, others in zip(tokens, logprobs, alternatives, strict=True)
    ]


def _filled(values: Any, length: int) -> list[Any]:
    known = values[:length] if isinstance(values, list) else []
    return [*known, *[None] * (length - len(known))]


def to_lists(entries: Sequence[Item], offset: int, *, alternatives: bool) -> Item:
    """Write entries as a text completion does.

    `offset` is how many characters of the text stand before them. `alternatives` is whether any were asked for.
    """
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {each["token"]: each["logprob"] for each in entry["top_logprobs"]} for entry in entries
        ]
        if alternatives
        else None,
        "text_offset": offsets,
    }
