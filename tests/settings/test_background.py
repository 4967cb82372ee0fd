"""What can be said of background answers and of webhooks."""

import pytest

from antiphon.settings import ConfigurationError, describe, load

SECRET = "whsec_" + "MDEy" * 8
HEAD = "providers: {up: {type: openai, api_key: k}}\nresponses: {background: {providers: %s}}"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / "antiphon.yaml").write_text(text)
        return load(None, {}, tmp_path)

    return read_text


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("off", "off"),
        ("false", "off"),
        ("'off'", "off"),
        ("all", "all"),
        ("[up, vllm]", ("up", "vllm")),
        ("[]", ()),
    ],
)
def test_providers_are_none_all_or_a_list(read, written, read_as):
    """YAML makes `false` of `off`."""
    assert read(HEAD % written).responses.background.providers == read_as


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[upp]", "neither a provider"),
        ("some", "off, all or a list"),
        ("true", "off, all or a list"),
        ("3", "a list"),
    ],
)
def test_other_providers_are_refused(read, written, why):
    """A name that means nothing would never match."""
    with pytest.raises(ConfigurationError, match=why):
        read(HEAD % written)


def test_webhooks_are_those_of_all_and_of_a_key(read):
    """With the secret that signs them, which is not shown."""
    hook = f"{{url: 'https://example.com/hook?a=b', secret: '{SECRET}', events: [response.failed]}}"
    settings = read(f"webhooks: [{hook}]\nkeys: [{{name: a, key: sk-a, webhooks: [{hook}]}}]")
    assert settings.webhooks == settings.keys[0].webhooks
    assert settings.webhooks[0].events == ("response.failed",)
    shown = {each.path: each.value for each in describe(settings)}
    assert (shown["webhooks[0].url"], shown["webhooks[0].secret"]) == ("***", "***")


@pytest.mark.parametrize(
    "hook",
    [
        f"{{url: 'ftp://example.com', secret: '{SECRET}'}}",
        f"{{url: 'https://me:secret@example.com', secret: '{SECRET}'}}",
        "{url: 'https://example.com', secret: whsec_c2hvcnQ=}",
        "{url: 'https://example.com', secret: plain-secret-0123456789}",
        "{url: 'https://example.com', secret: whsec_ÄÄ}",
    ],
)
def test_webhooks_that_cannot_be_told_are_refused(read, hook):
    """And what is wrong is not shown."""
    with pytest.raises(ConfigurationError, match=r"webhooks\[0\]") as raised:
        read(f"providers: {{}}\nwebhooks: [{hook}]")
    assert "secret@" not in str(raised.value)
