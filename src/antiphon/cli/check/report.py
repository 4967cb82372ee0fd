"""The report of a check: plain text for a person, one JSON object for a machine."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
import msgspec

from antiphon import __version__
from antiphon.engine.verdicts import Step, Verdict, has_failed
from antiphon.settings import Loaded, Provider, Setting, describe

_DEFAULT = "default"
_COLOURS = {Verdict.OK: "green", Verdict.FAILED: "red", Verdict.SKIPPED: "yellow"}
_NARROWEST = 40


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    loaded: Loaded
    configuration: Sequence[Step]
    providers: Mapping[str, Sequence[Step]]

    @property
    def steps(self) -> list[Step]:
        """All steps."""
        return [*self.configuration, *(step for steps in self.providers.values() for step in steps)]

    @property
    def has_failed(self) -> bool:
        """Whether any step has failed."""
        return has_failed(self.steps)

    def origin(self, setting: Setting) -> str:
        """Where a value comes from."""
        return self.loaded.origins.get(setting.path, _DEFAULT)

    def as_json(self) -> dict[str, object]:
        """Everything, for a machine; members are added in later releases, none is renamed."""
        return {
            "ok": not self.has_failed,
            "version": __version__,
            "source": self.loaded.source,
            "configuration": [_step_as_json(step) for step in self.configuration],
            "providers": {
                name: {
                    "type": self.loaded.settings.providers[name].type,
                    "base_url": self.loaded.settings.providers[name].base_url,
                    "steps": [_step_as_json(step) for step in steps],
                }
                for name, steps in self.providers.items()
            },
            "settings": [
                {
                    "path": each.path,
                    "value": each.value,
                    "redacted": each.redacted,
                    "origin": self.origin(each),
                }
                for each in describe(self.loaded.settings)
            ],
        }


def write_json(value: Mapping[str, object]) -> None:
    """Write one object."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_text(report: Report, *, defaults: bool) -> None:
    """Write for a person: in colour and wrapped on a terminal, each step on one line elsewhere."""
    colour = False if "NO_COLOR" in os.environ else None
    for line in _lines(report, defaults=defaults):
        click.echo(line, color=colour)


def _lines(report: Report, *, defaults: bool) -> Iterator[str]:
    yield click.style("Settings", bold=True)
    yield from _settings(report, defaults=defaults)
    yield ""
    yield click.style("Configuration", bold=True)
    yield from _steps(report.configuration)
    for name, steps in report.providers.items():
        yield ""
        yield (
            click.style(f"Provider {name}", bold=True)
            + f" ({_about(report.loaded.settings.providers[name])})"
        )
        yield from _steps(steps)
    yield ""
    yield _summary(report.steps)


def _about(provider: Provider) -> str:
    return ", ".join(filter(None, (provider.type, provider.base_url or provider.cassette)))


def _settings(report: Report, *, defaults: bool) -> Iterator[str]:
    described = describe(report.loaded.settings)
    shown = [each for each in described if defaults or report.origin(each) != _DEFAULT]
    width = max((len(each.path) + len(each.value) for each in shown), default=0) + 4
    for each in shown:
        yield "  " + f"{each.path} = {each.value}".ljust(min(width, 60)) + f"  {report.origin(each)}"
    if hidden := len(described) - len(shown):
        yield f"  {hidden} {'others have' if shown else 'have all'} their defaults; --defaults shows them"


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        verdict = click.style(f"{step.verdict:<8}", fg=_COLOURS[step.verdict])
        first, *rest = _wrapped(step.message)
        yield f"  {verdict} {step.name:<10} {first}"
        yield from (" " * 22 + line for line in rest)


def _wrapped(text: str) -> list[str]:
    if not sys.stdout.isatty():
        return [text]
    return textwrap.wrap(
        text, max(_NARROWEST, shutil.get_terminal_size().columns - 23), break_on_hyphens=False
    )


def _summary(steps: Sequence[Step]) -> str:
    counts = {verdict: sum(step.verdict is verdict for step in steps) for verdict in Verdict}
    if counts[Verdict.FAILED]:
        text = f"{counts[Verdict.FAILED]} of {len(steps)} steps failed"
        return click.style(f"{text}, {counts[Verdict.SKIPPED]} were skipped.", fg="red", bold=True)
    skipped = f", {counts[Verdict.SKIPPED]} were skipped" if counts[Verdict.SKIPPED] else ""
    return click.style(f"All is well: {counts[Verdict.OK]} steps are ok{skipped}.", fg="green", bold=True)


def _step_as_json(step: Step) -> dict[str, object]:
    return {"step": step.name, "verdict": step.verdict, "message": step.message, **step.details}
