"""Finding and reading the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from antiphon.settings.checks import checked, completed, problems
from antiphon.settings.environment import demonstration, provider_origins, providers_from
from antiphon.settings.faults import ConfigurationError
from antiphon.settings.values import Cache, Settings

FILE_NAME: Final = "antiphon.yaml"
"""What is looked for in the working directory."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they come from."""

    settings: Settings
    source: str
    """For a person: the file as it was named, or what stands in for one."""
    origins: Mapping[str, str]
    """Where values come from, by the paths of `describe`; those that are missing are defaults."""


def load(path: Path | str | None, environ: Mapping[str, str], cwd: Path | str) -> Settings:
    """Read the named file, or `antiphon.yaml` in `cwd`, or do without; ConfigurationError if it cannot be used.

    A file without a `providers` section takes them from the environment, as if there were no file.
    """
    return read(path, environ, cwd).settings


def read(path: Path | str | None, environ: Mapping[str, str], cwd: Path | str) -> Loaded:
    """As `load`, with where each value comes from."""
    folder = Path(cwd)
    if path is not None:
        return _from_file(folder / path, str(path), environ)
    if (folder / FILE_NAME).exists():
        return _from_file(folder / FILE_NAME, FILE_NAME, environ)
    settings = checked(_with_providers(Settings(cache=Cache()), environ))
    return Loaded(settings, f"no {FILE_NAME} here; {_stand_in(environ)}", provider_origins(environ))


def _with_providers(settings: Settings, environ: Mapping[str, str]) -> Settings:
    providers = providers_from(environ)
    if providers:
        return replace(settings, providers=providers)
    providers, models = demonstration()
    return replace(settings, providers=providers, models=models | settings.models)


def _stand_in(environ: Mapping[str, str]) -> str:
    variables = provider_origins(environ).values()
    if variables:
        return f"providers are taken from the environment ({', '.join(variables)})"
    return "no provider in the environment either, so the demo cassette is played"


def _from_file(path: Path, name: str, environ: Mapping[str, str]) -> Loaded:
    from antiphon.settings.document import Document  # YAML is not needed without a file

    document = Document(_text(path, name), name, environ)
    settings = document.settings()
    source, origins = name, document.origins()
    if not document.has("providers"):
        settings = _with_providers(settings, environ)
        source, origins = f"{name}; {_stand_in(environ)}", origins | provider_origins(environ)
    settings = completed(settings)
    for problem in problems(settings):
        raise document.fault(problem.path, problem.message)
    return Loaded(settings, source, origins)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror or 'cannot be read'}") from None
