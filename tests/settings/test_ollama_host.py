"""Where Ollama is, as its users write it."""

import pytest

from antiphon.settings import ConfigurationError, Provider, Secret, load
from antiphon.settings.ollama_host import ollama_url


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8080", "http://box:8080"),
        (":9999", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("[::]:1234", "http://[::1]:1234"),
        ("::", "http://[::1]:11434"),
        ("fe80::1", "http://[fe80::1]:11434"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("http://box", "http://box"),
        ("https://ollama.com", "https://ollama.com"),
        ("https://box:8443/ollama/", "https://box:8443/ollama"),
        ("box/ollama", "http://box:11434/ollama"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434"),
        ("http://127.0.0.1:11434/api", "http://127.0.0.1:11434"),
        (" box ", "http://box:11434"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(written: str, url: str):
    """Its port is 11434 unless a scheme is named; all interfaces are this machine."""
    assert ollama_url(written) == url


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        ({"OLLAMA_HOST": "box:1"}, Provider(type="ollama", base_url="http://box:1")),
        (
            {"OLLAMA_HOST": "https://ollama.com", "OLLAMA_API_KEY": "k"},
            Provider(type="ollama", base_url="https://ollama.com", api_key=Secret("k")),
        ),
    ],
)
def test_the_environment_makes_a_provider(tmp_path, environ, provider):
    """The address does; a key is for whoever asks for one."""
    assert load(None, environ, tmp_path).providers == {"ollama": provider}


def test_a_key_alone_makes_no_provider(tmp_path):
    """It says not where."""
    assert "ollama" not in load(None, {"OLLAMA_API_KEY": "k"}, tmp_path).providers


@pytest.mark.parametrize(
    ("line", "url"),
    [("{type: ollama}", "http://127.0.0.1:11434"), ("{type: ollama, base_url: box}", "http://box:11434")],
)
def test_a_file_may_say_it_in_the_same_ways(tmp_path, line, url):
    """Or not at all."""
    (tmp_path / "antiphon.yaml").write_text(f"providers: {{near: {line}}}")
    assert load(None, {}, tmp_path).providers["near"].base_url == url


@pytest.mark.parametrize("written", ["ftp://box", "http://me:secret@box", "a b", "box:port", "box?a=b"])
def test_what_is_no_address_is_refused(tmp_path, written):
    """With its place, like any other base URL."""
    (tmp_path / "antiphon.yaml").write_text(f"providers: {{near: {{type: ollama, base_url: '{written}'}}}}")
    with pytest.raises(ConfigurationError, match=r"providers\.near\.base_url: expected http"):
        load(None, {}, tmp_path)
