"""How providers are asked which models they have."""

import pytest

from antiphon.dialects.model_lists import model_list
from antiphon.dialects.providers import PROVIDERS


@pytest.mark.parametrize(
    ("provider", "path", "body"),
    [
        ("openai", "/models", b'{"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}'),
        ("openai-completions", "/models", b'{"data": [{"id": "a"}, {"id": "b"}]}'),
        ("ollama", "/api/tags", b'{"models": [{"name": "a", "size": 1}, {"name": "b"}]}'),
    ],
)
def test_a_list_is_read_as_its_provider_writes_it(provider: str, path: str, body: bytes):
    """By its own route."""
    listing = model_list(PROVIDERS[provider])

    assert (listing.path, listing.read(body)) == (path, ["a", "b"])
    with pytest.raises(ValueError, match="missing required field"):
        listing.read(b'{"error": "no"}')
