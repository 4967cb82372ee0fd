"""A model in this process: a small one that the test makes, since none can be downloaded here."""

import asyncio
import json
import struct

import numpy as np
import pytest

from antiphon.cache.semantic.likeness import likeness
from antiphon.drivers.local_embedder import LocalEmbedder

WORDS = ["[UNK]", "hello", "hi", "world", "stone"]
VECTORS = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)


def save_model(folder):
    """Write a static model of a few words, as model2vec does."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    data = VECTORS.tobytes()
    head = json.dumps(
        {"embeddings": {"dtype": "F32", "shape": list(VECTORS.shape), "data_offsets": [0, len(data)]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "config.json").write_text("{}")


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path)
    return tmp_path


def vectors_of(name, *texts):
    async def make():
        embedder = LocalEmbedder(name)
        try:
            return [await embedder.vector(text) for text in texts]
        finally:
            embedder.close()

    return asyncio.run(make())


def test_a_model_in_a_folder_makes_vectors(folder):
    hello, hi, stone = vectors_of(str(folder), "Hello", "hi", "stone")
    assert likeness(hello, hi) > 0.95
    assert likeness(hello, stone) == pytest.approx(0.0)


def test_a_long_text_is_read_to_its_end(folder):
    beginning, whole = vectors_of(str(folder), "hello " * 200, "hello " * 200 + "stone " * 200)
    assert likeness(beginning, whole) < 0.9


def test_a_model_that_is_not_there_makes_none_and_says_so(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    assert vectors_of(str(tmp_path / "empty"), "Hello", "Hello") == [None, None]
    assert caplog.text.count("cannot be used") == 1
