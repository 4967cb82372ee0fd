"""What the environment gives: variables inside a file, and providers without one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from antiphon.settings.quantities import Secret
from antiphon.settings.values import Model, Provider, ProviderType

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}]*))?\})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProviderVariables:
    """The variables that make a provider: it is there when `made_by` is set."""

    name: str
    type: ProviderType
    key: str
    base_url: str
    made_by: str


PROVIDERS: Final = (  # of several with one name the last counts
    ProviderVariables("openai", "openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", made_by="OPENAI_API_KEY"),
    ProviderVariables(
        "anthropic", "anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", made_by="ANTHROPIC_API_KEY"
    ),
    ProviderVariables("gemini", "gemini", "GOOGLE_API_KEY", "GEMINI_BASE_URL", made_by="GOOGLE_API_KEY"),
    ProviderVariables("gemini", "gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", made_by="GEMINI_API_KEY"),
    # The key is for Ollama's cloud; who has Ollama at hand needs none.
    ProviderVariables("ollama", "ollama", "OLLAMA_API_KEY", "OLLAMA_HOST", made_by="OLLAMA_HOST"),
    ProviderVariables(
        "azure", "azure", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", made_by="AZURE_OPENAI_ENDPOINT"
    ),
    ProviderVariables("groq", "groq", "GROQ_API_KEY", "GROQ_BASE_URL", made_by="GROQ_API_KEY"),
    ProviderVariables(
        "deepseek", "deepseek", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", made_by="DEEPSEEK_API_KEY"
    ),
    ProviderVariables("mistral", "mistral", "MISTRAL_API_KEY", "MISTRAL_BASE_URL", made_by="MISTRAL_API_KEY"),
    ProviderVariables(
        "openrouter",
        "openrouter",
        "OPENROUTER_API_KEY",
        "OPENROUTER_BASE_URL",
        made_by="OPENROUTER_API_KEY",
    ),
    ProviderVariables("xai", "xai", "XAI_API_KEY", "XAI_BASE_URL", made_by="XAI_API_KEY"),
    ProviderVariables(
        "together", "together", "TOGETHER_API_KEY", "TOGETHER_BASE_URL", made_by="TOGETHER_API_KEY"
    ),
)


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Replace `${NAME}` and `${NAME:-default}` in `text`; say whether anything of it came from outside.

    As in the shell, the default also stands in for an empty variable. `$${` is a plain `${`.
    ValueError says what is wrong, without any value.
    """
    if "${" not in text:
        return text, False
    expanded = False

    def replacement(found: re.Match[str]) -> str:
        nonlocal expanded
        name, has_default, default = found.groups()
        if found[0] == "$${":
            return "${"
        if name is None:
            raise ValueError(
                "`${` is not followed by `NAME}` or `NAME:-default}`; a plain `${` is written `$${`"
            )
        expanded = True
        if has_default is None:
            if name not in environ:
                raise ValueError(
                    f"the environment variable {name} is not set; `${{{name}:-}}` lets it be absent"
                )
            return environ[name]
        if "${" in default:
            raise ValueError(f"the default of {name} has a variable in it, which is not possible")
        return environ.get(name) or str(default)

    return _REFERENCE.sub(replacement, text), expanded


def variables_in(text: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that `expand` takes out of the environment for `text`, not those that a default stands in for."""
    named = (found[1] for found in _REFERENCE.finditer(text) if found[1])
    return tuple(name for name in dict.fromkeys(named) if environ.get(name))


def providers_from(environ: Mapping[str, str]) -> dict[str, Provider]:
    """Make the providers whose usual variables are set."""
    found = {}
    for variables in PROVIDERS:
        key, base_url, made_by = (
            environ.get(name, "").strip() for name in (variables.key, variables.base_url, variables.made_by)
        )
        if made_by:
            found[variables.name] = Provider(
                type=variables.type,
                api_key=Secret(key) if key else None,
                base_url=base_url or None,
            )
    return found


def provider_origins(environ: Mapping[str, str]) -> dict[str, str]:
    """Which variables the values of `providers_from` come from, by their paths."""
    names = {each.name: each for each in PROVIDERS if each.name in providers_from(environ)}
    pairs = [(f"providers.{name}.api_key", each.key) for name, each in names.items()]
    pairs += [(f"providers.{name}.base_url", each.base_url) for name, each in names.items()]
    return {path: variable for path, variable in pairs if variable and environ.get(variable, "").strip()}


def demonstration() -> tuple[dict[str, Provider], dict[str, Model]]:
    """Make what runs with no key and no network: the recordings that come with the product."""
    return (
        {"tape": Provider(type="playback", cassette="builtin:demo")},
        {"demo": Model(target="tape/demo")},
    )
