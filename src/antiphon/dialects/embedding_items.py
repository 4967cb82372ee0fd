"""The items of a request for embeddings: each string, or each list of tokens, of its `input`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from antiphon.dialects.chat.usage import read_usage
from antiphon.dialects.items import MOST_ITEMS, ItemForm, ItemList, Part
from antiphon.turn.usage import NO_USAGE, Usage
from antiphon.wire.json import Members
from antiphon.wire.objects import DECODE_FAULTS

_MEMBER: Final = "input"
_SEPARABLE: Final = frozenset(
    {
        *("model", _MEMBER, "dimensions", "encoding_format", "user", "metadata", "service_tier"),
        *("cache", "nomyo"),
        *("input_type", "truncation", "output_dimension", "output_dtype"),  # Voyage, Mistral
        *("truncate", "embedding_types"),  # Cohere, NVIDIA, Ollama
        *("task", "normalized", "embedding_type"),  # Jina, whose `late_chunking` makes one text of all inputs
        *("truncate_prompt_tokens", "add_special_tokens", "priority"),  # vLLM
        *("provider", "prompt_name"),  # OpenRouter, Text Embeddings Inference
    }
)
"""Members with which the vector of an input is known not to depend on the other inputs."""

_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_texts = msgspec.json.Decoder(list[str]).decode
_tokens = msgspec.json.Decoder(list[list[int]]).decode
_encode = msgspec.json.Encoder().encode


class _EmbeddingItems:
    def read(self, members: Members) -> ItemList | None:
        """Read the items; a list of numbers is one input, and no list at all."""
        given = members.get(_MEMBER)
        if given is None or not bytes(given).startswith(b"[") or not _SEPARABLE.issuperset(members):
            return None
        try:
            items = _raws(given)
            if not 0 < len(items) <= MOST_ITEMS:
                return None
            if bytes(memoryview(items[0])[:1]) == b'"':
                texts = _texts(given)
                canonical, weights = [_encode(text) for text in texts], [len(text.encode()) for text in texts]
            else:
                tokens = _tokens(given)
                canonical, weights = [_encode(each) for each in tokens], [len(each) for each in tokens]
        except DECODE_FAULTS:
            return None
        alone = {name: value for name, value in members.items() if name != _MEMBER}
        return ItemList(_MEMBER, items, canonical, weights, alone, b"%b")

    def usage(self, counted: Mapping[str, Any]) -> Usage:
        """Read what the provider has counted."""
        return read_usage(counted.get("usage")) or NO_USAGE

    def order(self, parts: Sequence[Part], members: Members) -> Sequence[int]:
        """Keep the order of the request."""
        del members
        return range(len(parts))


EMBEDDING_ITEMS: Final[ItemForm] = _EmbeddingItems()
