"""What is known of providers: which dialects each speaks, and in what its dialect differs from the usual.

One row a provider type. A difference that only some have is a member with a default, never a condition
elsewhere. Sources: the providers' documentation in autumn 2026, and their recorded answers.
"""

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import urlsplit

from antiphon.wire.errors import ClientFault

_OPENAI_ROUTES: Final = ("chat", "completions", "embeddings", "rerank", "transcriptions")
OPENAI_ALONE: Final = ("input_tokens", "compact")
"""What others that have the Responses API do not have."""
_OPENAI_TOOLS: Final = frozenset(
    {
        *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
        *("file_search", "code_interpreter", "image_generation", "mcp"),
        *("computer", "computer_use_preview", "shell", "local_shell", "apply_patch", "tool_search"),
        "programmatic_tool_calling",
    }
)
"""What the Responses API has beside functions; what a model there lacks, its provider refuses."""
GENERATIVE: Final = ("responses", "chat", "messages", "gemini", "ollama", "completions")
"""Dialects that answers can be translated from, the richest first."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a provider has, and how it wants to be told."""

    label: str
    """What errors call it."""
    speaks: tuple[str, ...]
    """The dialects that pass through unchanged."""
    native_prefix: str = ""
    """What stands before their paths, where they are not right below the base URL."""
    hosted_tools: frozenset[str] = frozenset()
    """Types of tools that it runs itself and that its dialect can be told of."""
    schema: Literal["native", "tool", "json"] = "native"
    """How it answers with JSON of a schema."""
    schema_models: str = ""
    """Pattern of the models that take a schema natively; the others are given a tool. Empty: all."""
    schema_alone: str = ""
    """Pattern of the models that take a schema natively only where they have no tools. Empty: none."""
    budget_models: str = ""
    """Pattern of the models whose thinking is set by a budget of tokens instead of an effort."""
    # Chat Completions and what imitates them.
    limit_member: str = "max_tokens"
    """What the limit of output tokens is called."""
    developer_role: bool = False
    """Whether `developer` is a role; else it is told as `system`."""
    custom_tools: bool = False
    """Whether it has free-form tools; else they are wrapped as functions."""
    effort: Literal["reasoning_effort", "reasoning", "thinking", "none"] = "reasoning_effort"
    """How an effort is told: a member, OpenRouter's object, a member beside DeepSeek's switch, or not at all."""
    effort_models: str = ""
    """Pattern of the models that can be told an effort; others refuse it. Empty: all."""
    efforts: tuple[str, ...] = ()
    """The efforts that it knows, the weakest first, where it knows but some; empty: all."""
    reasoning_back: Literal[
        "reasoning_content", "reasoning", "reasoning_details", "thinking_parts", "none"
    ] = "none"
    """The member of an assistant message that takes earlier reasoning back, or parts of its content."""
    seed_member: str = "seed"
    """What the seed is called."""
    stream_options: bool = True
    """Whether chat streams are asked for usage; else they have it unasked."""
    named_choice: bool = True
    """Whether one tool can be forced by its name; else it is the only one that is offered."""
    json_object: bool = True
    """Whether it can be held to JSON without a schema; else it is given the schema of any object."""
    short_call_ids: bool = False
    """Whether ids of calls must be nine letters and digits."""
    files: bool = False
    """Whether messages may hold files."""
    counts: bool = True
    """Whether it counts the tokens of a request, where its dialect has a form for that."""
    image_urls: bool = True
    """Whether it fetches images itself."""
    file_urls: bool = False
    """Whether it fetches other files itself."""
    own_files: tuple[str, ...] = ()
    """How URLs start that lead to files which are kept there."""
    prompt_cache_key: bool = False
    parallel_tool_calls: bool = True
    """Whether it knows the member; else surplus calls are dropped."""
    store: bool = False
    """Whether it takes `metadata`, `store`, `safety_identifier` and `service_tier`."""

    def takes_schema(self, model: str, *, has_tools: bool = False) -> bool:
        """Whether `model` takes a JSON schema natively, where it is given tools or not."""
        if has_tools and self.schema_alone and re.search(self.schema_alone, model):
            return False
        return self.schema == "native" and (
            not self.schema_models or re.search(self.schema_models, model) is not None
        )

    def takes_effort(self, model: str) -> bool:
        """Whether `model` can be told an effort."""
        return self.effort != "none" and (
            not self.effort_models or re.search(self.effort_models, model) is not None
        )

    def has_budget(self, model: str) -> bool:
        """Whether the thinking of `model` is set by a budget of tokens."""
        return bool(self.budget_models) and re.search(self.budget_models, model) is not None

    @property
    def translates_to(self) -> str | None:
        """The dialect that requests of other dialects are translated into."""
        return next((dialect for dialect in GENERATIVE if dialect in self.speaks), None)


_CHAT: Final = Profile("an OpenAI-compatible server", _OPENAI_ROUTES)

PROVIDERS: Final[dict[str, Profile]] = {
    "openai": Profile(
        "OpenAI",
        ("responses", *_OPENAI_ROUTES),
        hosted_tools=_OPENAI_TOOLS,
        limit_member="max_completion_tokens",
        developer_role=True,
        custom_tools=True,
        files=True,
        file_urls=True,
        prompt_cache_key=True,
        store=True,
    ),
    "openai-chat": replace(_CHAT, label="this chat provider"),
    "openai-completions": Profile("this provider of text completions", ("completions",), schema="json"),
    "azure": Profile(
        "Azure OpenAI",
        ("responses", *_OPENAI_ROUTES),
        hosted_tools=_OPENAI_TOOLS,
        limit_member="max_completion_tokens",
        developer_role=True,
        files=True,
        file_urls=True,
        prompt_cache_key=True,
    ),
    "vllm": replace(_CHAT, label="vLLM", reasoning_back="reasoning"),
    "llamacpp": replace(
        _CHAT,
        label="llama.cpp",
        reasoning_back="reasoning_content",
        image_urls=False,
        # Told by name, it takes `auto` instead: https://github.com/ggml-org/llama.cpp/issues/26535 (August 2026).
        named_choice=False,
    ),
    "lmstudio": replace(
        _CHAT,
        label="LM Studio",
        image_urls=False,
        # Both are refused: https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/670 and /189 (July 2026).
        named_choice=False,
        json_object=False,
    ),
    "groq": replace(_CHAT, label="Groq", limit_member="max_completion_tokens", reasoning_back="reasoning"),
    "deepseek": replace(
        _CHAT,
        label="DeepSeek",
        schema="tool",
        # https://api-docs.deepseek.com/guides/thinking_mode (autumn 2026); recorded requests have both members.
        effort="thinking",
        reasoning_back="reasoning_content",
    ),
    "mistral": replace(
        _CHAT,
        label="Mistral",
        # https://docs.mistral.ai/capabilities/reasoning/adjustable (autumn 2026).
        effort_models=r"mistral-(?:small-(?:latest|26)|medium-3-5|large-4)",
        efforts=("none", "high"),
        # So it takes its own parts back in a recorded request; `reasoning_content` is refused:
        # https://github.com/charmbracelet/crush/issues/1590 (December 2025).
        reasoning_back="thinking_parts",
        # https://docs.mistral.ai/api; recorded requests call it so. Unknown members are refused.
        seed_member="random_seed",
        # https://github.com/dnakov/anon-kode/issues/53; no recorded request has it, and all streams have usage.
        stream_options=False,
        # https://github.com/mistralai/mistral-vibe/issues/1075 (September 2026); so are those in recorded answers.
        short_call_ids=True,
    ),
    "openrouter": replace(
        _CHAT, label="OpenRouter", effort="reasoning", reasoning_back="reasoning_details", files=True
    ),
    "xai": replace(
        _CHAT,
        label="xAI",
        speaks=("responses", *_OPENAI_ROUTES),
        # https://docs.x.ai/developers/model-capabilities/text/comparison (autumn 2026).
        hosted_tools=frozenset({"web_search", "x_search", "code_interpreter", "file_search", "mcp"}),
        file_urls=True,
    ),
    "together": replace(_CHAT, label="Together", reasoning_back="reasoning"),
    "anthropic": Profile(
        "Anthropic",
        ("messages", "count_tokens"),
        hosted_tools=frozenset({"web_search", "web_search_preview", "code_interpreter"}),
        schema_models=r"claude-(?:opus-4-[1-9]|sonnet-4-[5-9]|haiku-4-[5-9]|[a-z]+-[5-9])",
        budget_models=r"claude-(?:3|[a-z]+-4(?:-[0-5])?(?:-\d{8})?$|[a-z]+-4-[0-5])",
        file_urls=True,
    ),
    "gemini": Profile(
        "Gemini",
        ("gemini",),
        hosted_tools=frozenset({"web_search", "web_search_preview", "code_interpreter"}),
        budget_models=r"gemini-2\.[5-9]",
        # https://github.com/googleapis/python-genai/issues/867; later ones take both (issue 706, December 2025).
        schema_alone=r"gemini-[12]\b",
        image_urls=False,
    ),
    "ollama": Profile(
        "Ollama",
        # Its own completions know a suffix, which chat has no form for.
        ("ollama", "completions", "embeddings"),
        native_prefix="/v1",
        schema_alone=".",
        image_urls=False,
    ),
    "playback": Profile(
        "the cassette",
        ("responses", "chat", "messages", "count_tokens", "completions", *_OPENAI_ROUTES[2:]),
    ),
}

HOSTS: Final = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral",
    "openrouter.ai": "openrouter",
    "api.x.ai": "xai",
    "api.together.xyz": "together",
}
"""Providers that are known by their address, whatever OpenAI-compatible type the configuration gives them."""


def upstream_dialect(profile: Profile, client: str, translated: Container[str]) -> str | None:
    """Return the dialect that a provider is asked in for a client's; None where it speaks that itself.

    `translated` are the dialects that can be translated. Raises ClientFault where there is no way.
    """
    if client in profile.speaks:
        return None
    target = profile.translates_to
    if client in translated and target is not None:
        return target
    raise ClientFault(
        f"{profile.label[:1].upper()}{profile.label[1:]} has no {client}: choose a model of another provider.",
        code="unsupported_parameter",
        param="model",
    )


def profile_of(provider_type: str, base_url: str | None) -> Profile:
    """Return what is known of a provider; a general type at a known address has that address's differences."""
    profile = PROVIDERS[provider_type]
    known = HOSTS.get(urlsplit(base_url).hostname or "") if base_url else None
    if provider_type == "openai-chat" and known is not None:
        # Tools that a provider runs itself, and files that it fetches, belong to its Responses API.
        return replace(PROVIDERS[known], speaks=profile.speaks, hosted_tools=frozenset(), file_urls=False)
    if provider_type == "openai" and known == "openai":
        return replace(profile, speaks=(*profile.speaks, *OPENAI_ALONE))
    return profile
