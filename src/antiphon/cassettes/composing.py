"""The settings of a gateway that records or plays a cassette for one program.

Where everything comes from the cassette, the cassette says which providers there were: no key and no configuration
is needed to play it. Programs ask for models by the names that their makers gave them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from msgspec.structs import replace

from antiphon.drivers.cassette_files import read_cassette
from antiphon.drivers.deck import has_recordings
from antiphon.recording.cassette import Exchange, UnreadableCassetteError
from antiphon.settings import (
    FILE_NAME,
    Cassette,
    ConfigurationError,
    Log,
    Model,
    Provider,
    ProviderType,
    Settings,
    Storage,
    checked,
    load,
)
from antiphon.settings.environment import PROVIDERS, providers_from

MODES: Final = ("once", "new", "replay", "strict", "record", "append")
_OFFLINE: Final = frozenset({"replay", "strict"})
_TYPES: Final = frozenset(get_args(ProviderType))
_TYPE_OF_DIALECT: Final = {
    "messages": "anthropic",
    "count_tokens": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}
_HOST: Final = "127.0.0.1"
_NOWHERE: Final = "http://recorded.invalid/v1"
"""The address of providers that are not asked."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a program is to be given."""

    cassette: str | None
    """None: nothing is recorded or played, and everything passes through."""
    mode: str = "once"
    config: Path | None = None
    pace: str | None = None
    redact: tuple[str, ...] = ()
    redact_text: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def is_offline(self) -> bool:
        """Whether nobody is to be asked."""
        if self.cassette is None:
            return False
        return self.mode in _OFFLINE or (self.mode == "once" and has_recordings(Path(self.cassette)))


def settings_for(wanted: Wanted, environ: Mapping[str, str], cwd: Path, scratch: Path) -> Settings:
    """Return the settings of a gateway for this host alone, which keeps what it must in `scratch`.

    Raises ConfigurationError.
    """
    if wanted.mode not in MODES:
        raise ConfigurationError(f"{wanted.mode!r} is no mode of a cassette; there is: {', '.join(MODES)}")
    recorded = _recorded(wanted.cassette)
    if wanted.config is not None or (not wanted.is_offline and (cwd / FILE_NAME).exists()):
        settings = load(wanted.config, environ, cwd)
    else:
        settings = _without_file(wanted, recorded, environ)
    given = settings.cassette
    return checked(
        replace(
            settings,
            server=replace(settings.server, host=_HOST, workers=1, role="api,worker"),
            cache=None,  # an answer from the cache would be missing in the cassette
            cassette=Cassette(
                record=wanted.cassette,
                mode=cast("Any", wanted.mode),
                pace=wanted.pace or given.pace,
                redact=(*given.redact, *wanted.redact),
                redact_text=(*given.redact_text, *wanted.redact_text),
                faults=wanted.faults or given.faults,
            ),
            storage=Storage(url=f"sqlite:///{scratch / 'antiphon.db'}"),
            redis=None,
            keys=(),
            webhooks=(),
            log=Log(level="warning", requests=False),
        )
    )


def _without_file(wanted: Wanted, recorded: list[Exchange], environ: Mapping[str, str]) -> Settings:
    providers = {} if wanted.is_offline else providers_from(environ)
    models: dict[str, Model] = {}
    for exchange in recorded:
        name, model = exchange.recording.provider, exchange.recording.model
        known = providers.get(name)
        if known is None:
            providers[name] = _recorded_provider(exchange)
        elif known.models is not None:
            models_of = dict.fromkeys((*known.models, model))
            # Of a provider whose type nobody has written down the richest dialect tells most.
            is_guessed = not exchange.provider_type and exchange.recording.dialect == "responses"
            providers[name] = replace(
                known, models=tuple(models_of), type="openai" if is_guessed else known.type
            )
        models.update({alias: Model(target=f"{name}/{model}") for alias in exchange.names if alias != "*"})
    if not providers and wanted.is_offline:
        # A program that asks for nothing needs no recordings; who asks is told that there are none.
        providers = {"openai": Provider(type="openai", base_url=_NOWHERE, models=())}
    if not providers:
        names = ", ".join(dict.fromkeys(each.made_by for each in PROVIDERS))
        raise ConfigurationError(
            f"there is nobody to record from: set one of {names}, or name a configuration file"
        )
    if len(providers) == 1 or wanted.is_offline:
        models["*"] = Model(target=f"{next(iter(providers))}/*")
    return Settings(providers=providers, models=models)


def _recorded_provider(exchange: Exchange) -> Provider:
    """Return a provider that is asked as the recorded one was."""
    name, dialect = exchange.recording.provider, exchange.recording.dialect
    by_dialect = "openai" if dialect == "responses" else _TYPE_OF_DIALECT.get(dialect, "openai-chat")
    named = exchange.provider_type or (name if name in _TYPES - {"playback"} else by_dialect)
    if named not in _TYPES:
        raise ConfigurationError(f"cassette: {exchange.recording.id}: {named!r} is no type of a provider")
    host = exchange.provider_host
    return Provider(
        type=cast("ProviderType", named),
        base_url=f"https://{host}/v1" if host else _NOWHERE,
        models=(exchange.recording.model,),
    )


def _recorded(cassette: str | None) -> list[Exchange]:
    if cassette is None or not (cassette.startswith("builtin:") or has_recordings(Path(cassette))):
        return []
    try:
        return list(read_cassette(cassette).values())
    except UnreadableCassetteError as error:
        raise ConfigurationError(f"cassette: {error}") from error
