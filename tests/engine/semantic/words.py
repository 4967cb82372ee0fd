"""Vectors that say which words are in a text: a stand-in for a model, without any."""

import hashlib
import re

DIMENSIONS = 128
_POLITE = {"please", "kindly", "tell", "me"}


def vector_of(text):
    """Return a vector in which each word has a place."""
    vector = [0.0] * DIMENSIONS
    for word in sorted(set(re.findall(r"\w+", text.casefold())) - _POLITE):
        digest = hashlib.sha256(word.encode()).digest()
        for place in range(8):
            vector[digest[place] % DIMENSIONS] += 1.0 if digest[place + 8] % 2 else -1.0
    return vector if any(vector) else [1.0] * DIMENSIONS
