"""Lists of models, as providers have them."""

import pytest

from antiphon.dialects.model_lists import model_list_of
from antiphon.dialects.providers import PROVIDERS


def test_most_have_openai_s_list():
    """Names below `data`."""
    listed = model_list_of(PROVIDERS["groq"])
    assert listed.path == "/models"
    assert listed.read(b'{"object":"list","data":[{"id":"a","owned_by":"x"},{"id":"b"}]}') == ["a", "b"]


def test_gemini_lists_what_generates_content():
    """All on one page, without the name of the collection."""
    listed = model_list_of(PROVIDERS["gemini"])
    assert listed.path == "/models?pageSize=1000"
    names = listed.read(
        b'{"models":['
        b'{"name":"models/gemini-2.5-pro","supportedGenerationMethods":["generateContent","countTokens"]},'
        b'{"name":"models/gemini-embedding-001","supportedGenerationMethods":["embedContent"]},'
        b'{"name":"tunedModels/mine","supportedGenerationMethods":["generateContent"]}]}'
    )
    assert names == ["gemini-2.5-pro", "tunedModels/mine"]
    assert listed.read(b"{}") == []


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_what_is_no_list_is_an_error_of_value(provider):
    """The caller makes a warning of it."""
    with pytest.raises(ValueError, match="Expected"):
        model_list_of(PROVIDERS[provider]).read(b"[]")


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
    listing = model_list_of(PROVIDERS[provider])

    assert (listing.path, listing.read(body)) == (path, ["a", "b"])
    with pytest.raises(ValueError, match="missing required field"):
        listing.read(b'{"error": "no"}')
