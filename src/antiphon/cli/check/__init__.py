"""`antiphon check`: the configuration and the providers, each with a clear verdict."""

import asyncio
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from antiphon.app import probe_provider
from antiphon.cli.check.configuration import configuration_steps
from antiphon.cli.check.report import Report, write_json, write_text
from antiphon.engine.probing import unlooked
from antiphon.engine.verdicts import Step
from antiphon.settings import ConfigurationError, Settings, Timeout, read


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    providers: tuple[str, ...]
    models: tuple[str, ...]
    offline: bool
    as_json: bool
    defaults: bool
    timeout: str


def run(config: Path | None, options: Options) -> int:
    """Check, and write a report; 0 if all is well, 1 if something failed, 2 if the configuration cannot be used."""
    seconds = _seconds(options.timeout)
    try:
        loaded = read(config, os.environ, Path.cwd())
    except ConfigurationError as error:
        click.echo(f"antiphon: {error}", err=True)
        if options.as_json:
            write_json({"ok": False, "error": str(error)})
        return 2
    names = _names(loaded.settings, options)

    async def look() -> tuple[list[Step], dict[str, tuple[Step, ...]]]:
        steps = await configuration_steps(loaded, offline=options.offline)
        return steps, await _probe(loaded.settings, names, options, seconds)

    steps, probed = uvloop.run(look())
    report = Report(loaded, steps, probed)
    if options.as_json:
        write_json(report.as_json())
    else:
        write_text(report, defaults=options.defaults)
    return 1 if report.has_failed else 0


async def _probe(
    settings: Settings, names: Mapping[str, list[str]], options: Options, seconds: float
) -> dict[str, tuple[Step, ...]]:
    """Probe providers side by side: the slowest of them decides how long it takes."""

    async def steps(name: str) -> tuple[Step, ...]:
        # A cassette needs no network.
        if options.offline and settings.providers[name].type != "playback":
            return unlooked("--offline")
        return await probe_provider(settings, name, models=names[name], seconds=seconds, environ=os.environ)

    return dict(zip(names, await asyncio.gather(*map(steps, names)), strict=True))


def _names(settings: Settings, options: Options) -> dict[str, list[str]]:
    """The providers to probe, each with the models to ask."""
    for name in options.providers:
        _known(name, settings, "--provider")
    names: dict[str, list[str]] = {name: [] for name in options.providers or settings.providers}
    for asked in options.models:
        name, _, model = asked.partition("/")
        _known(name, settings, "--model")
        if not model:
            raise click.BadParameter("expected PROVIDER/MODEL", param_hint="--model")
        names.setdefault(name, []).append(model)
    return names


def _known(name: str, settings: Settings, option: str) -> None:
    if name in settings.providers:
        return
    near = difflib.get_close_matches(name, settings.providers, n=1)
    mend = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(settings.providers)}"
    raise click.BadParameter(f"no provider '{name}' is configured; {mend}", param_hint=option)


def _seconds(text: str) -> float:
    try:
        # On the command line everything is text; a bare number is seconds, as in the file.
        return Timeout.parse(text)
    except ValueError:
        message = "expected a duration of more than zero, such as 15, 500ms, 15s or 2m"
        raise click.BadParameter(message, param_hint="--timeout") from None
