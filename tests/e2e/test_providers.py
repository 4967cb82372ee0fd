"""Each type of provider, configured as `docs/providers.md` says, in front of an upstream that remembers what it got."""

import json
import re
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from antiphon.dialects.probes import PROBES
from antiphon.dialects.providers import PROVIDERS
from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import ProviderType, load
from antiphon.settings.checks import BASE_URLS
from docs.answer_features import ANSWERS
from docs.feature import MARK
from docs.page import blocks
from docs.provider_tables import PAGE
from docs.test_examples import VARIABLES
from e2e.plain_client import plain_client
from e2e.scenes import play
from serving import serving, settings_for

BEARER = ("authorization", "Bearer sk-test")
TEXTS = ANSWERS[0].samples
"""A whole answer, whose text is the mark, in each dialect of upstreams."""
ANTHROPIC_REQUEST = {
    "max_tokens": 77,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hi"}],
    "output_config": {"effort": "low"},
}
CHAT_REQUEST = {
    "max_completion_tokens": 77,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "reasoning_effort": "low",
}


@dataclass(frozen=True)
class Asked:
    """What the upstream of a type gets, asked by a client of another dialect."""

    path: str
    key: tuple[str, str] | None
    """Header and value that carry the key; None: no key is configured."""
    told: dict[str, Any]
    """Members of the body."""


def chat(path: str, key: tuple[str, str] | None = BEARER, **told: Any) -> Asked:
    usual = {
        "max_tokens": 77,
        "reasoning_effort": "low",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }
    members = {name: value for name, value in (usual | told).items() if value is not None}
    return Asked(path, key, members)


def responses(path: str, key: tuple[str, str] = BEARER) -> Asked:
    told = {"max_output_tokens": 77, "instructions": "Be brief.", "store": False}
    return Asked(path, key, told | {"reasoning": {"effort": "low"}})


EXPECTED = {
    "openai": responses("/v1/responses"),
    "azure": responses("/openai/v1/responses", ("api-key", "sk-test")),
    "xai": responses("/v1/responses"),
    "openai-chat": chat("/v1/chat/completions", None),
    "vllm": chat("/v1/chat/completions", None),
    "llamacpp": chat("/v1/chat/completions", None),
    "lmstudio": chat("/v1/chat/completions", None),
    "groq": chat("/openai/v1/chat/completions", max_tokens=None, max_completion_tokens=77),
    "deepseek": chat("/v1/chat/completions", thinking={"type": "enabled"}),
    "mistral": chat("/v1/chat/completions", reasoning_effort="high"),
    "openrouter": chat("/api/v1/chat/completions", reasoning_effort=None, reasoning={"effort": "low"}),
    "together": chat("/v1/chat/completions"),
    "openai-completions": Asked(
        "/v1/completions",
        None,
        {"max_tokens": 77, "prompt": "system: Be brief.\nuser: Hi\nassistant:", "stop": ["\nuser:"]},
    ),
    "anthropic": Asked(
        "/v1/messages",
        ("x-api-key", "sk-test"),
        {"max_tokens": 77, "system": "Be brief.", "stop_sequences": None},
    ),
    "gemini": Asked(
        "/v1beta/models/mistral-small-latest:generateContent",
        ("x-goog-api-key", "sk-test"),
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    ),
    "ollama": Asked("/api/chat", None, {"options": {"num_predict": 77}, "think": True, "stream": False}),
}


def configurations() -> dict[str, str]:
    """The configurations on the page, by the type of provider."""
    found = {}
    for block in blocks(PAGE):
        (kind,) = re.findall(r"type: ([a-z-]+)", block.text)
        found[kind] = block.text
    return found


def test_every_type_has_a_row_wherever_there_is_a_table():
    """What is known of it, how it is probed, how it is configured, and what it is asked."""
    types = set(get_args(ProviderType))

    assert types == set(PROVIDERS) == set(PROBES) == set(configurations())
    assert types - set(EXPECTED) == {"playback"}


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_provider_configured_as_the_page_says_is_asked_as_it_wants(tmp_path, kind):
    """Where it is asked, with which key, and what its body has."""
    expected = EXPECTED[kind]
    dialect = PROVIDERS[kind].translates_to
    client = "chat" if dialect == "messages" else "messages"
    request = {"chat": CHAT_REQUEST, "messages": ANTHROPIC_REQUEST}[client]
    path = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}[client]
    (tmp_path / "antiphon.yaml").write_text(configurations()[kind])

    settings = load(tmp_path / "antiphon.yaml", VARIABLES, tmp_path)
    ((name, provider),) = settings.providers.items()
    usual = urlsplit(provider.base_url or "")

    async def run():
        async with Simulator([Answer(body=json.dumps(TEXTS[dialect]).encode())]) as simulator:
            origin = simulator.base_url.removesuffix("/v1")
            there = replace(provider, base_url=origin + usual.path, models=())
            running = settings_for(tmp_path, simulator.base_url, providers={name: there}, cache=None)
            async with serving(running) as gateway, plain_client(gateway.port) as asking:
                got = await asking.post(path, {"model": f"{name}/mistral-small-latest", **request})
            (call,) = simulator.calls
            body = json.loads(call.body)

            assert got.status == 200, got.body
            assert MARK in got.body.decode()
            assert call.path == expected.path
            if expected.key is None:
                assert not {"authorization", "x-api-key", "api-key"} & call.headers.keys()
            else:
                assert call.headers[expected.key[0]] == expected.key[1]
            assert {each: body.get(each) for each in expected.told} == expected.told

    play(run())


def test_recorded_answers_need_no_upstream(tmp_path):
    """The last configuration on the page."""
    (tmp_path / "antiphon.yaml").write_text(configurations()["playback"])
    settings = load(tmp_path / "antiphon.yaml", VARIABLES, tmp_path)

    async def run():
        running = settings_for(tmp_path, "http://127.0.0.1:9", providers=settings.providers)
        async with serving(running) as gateway, plain_client(gateway.port) as asking:
            got = await asking.post("/v1/responses", {"model": "demo", "input": "Hello"})

        assert got.json()["status"] == "completed"

    play(run())


@pytest.mark.parametrize("kind", BASE_URLS)
def test_a_default_address_ends_as_the_probe_expects(kind):
    """So that a mistake in one is seen in the other."""
    assert BASE_URLS[kind].endswith(PROBES[kind].suffix)
