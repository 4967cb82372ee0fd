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
    """The variables that make a provider: it is there when the first of `key` and `base_url` is."""

    name: str
    type: ProviderType
    key: str | None
    base_url: str | None


PROVIDERS: Final = (
    ProviderVariables(name="openai", type="openai", key="OPENAI_API_KEY", base_url="OPENAI_BASE_URL"),
    ProviderVariables(
        name="anthropic", type="anthropic", key="ANTHROPIC_API_KEY", base_url="ANTHROPIC_BASE_URL"
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
        key = environ.get(variables.key, "").strip() if variables.key else ""
        base_url = environ.get(variables.base_url, "").strip() if variables.base_url else ""
        if key if variables.key else base_url:
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
