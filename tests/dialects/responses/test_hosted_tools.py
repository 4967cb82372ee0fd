"""Tools that a provider of the Responses API runs itself, asked for in another dialect."""

import pytest

from antiphon.dialects.providers import profile_of
from antiphon.dialects.registry import CLIENTS, UPSTREAMS
from translated import asking

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
REQUEST = {
    "model": "m",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [SEARCH],
    "tool_choice": {"type": "tool", "name": "web_search"},
}


@pytest.mark.parametrize("provider", ["openai", "azure", "xai"])
def test_a_search_that_an_anthropic_client_asks_for_is_the_providers_own(provider):
    """Claude Code searches so."""
    request = CLIENTS["messages"].read(REQUEST)
    body = UPSTREAMS["responses"].write(request, asking(request, provider))

    assert (body["tools"], body["tool_choice"]) == ([{"type": "web_search"}], {"type": "web_search"})
    assert body["max_tool_calls"] == 8


def test_chat_completions_have_no_such_tools():
    """Nor has OpenAI behind them."""
    assert profile_of("openai-chat", "https://api.openai.com/v1").hosted_tools == frozenset()
