"""Which dialects an upstream speaks itself, by the type of its provider."""

_SPOKEN = {
    "openai": frozenset({"responses", "chat", "completions", "embeddings"}),
    "openai-chat": frozenset({"responses", "chat", "completions", "embeddings"}),
    "anthropic": frozenset({"messages", "count_tokens"}),
}


def speaks(provider_type: str, dialect: str) -> bool:
    """Whether requests in `dialect` go to such a provider as they are; playback has whatever was recorded."""
    return provider_type == "playback" or dialect in _SPOKEN[provider_type]
