"""The command line."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from antiphon import __version__
from antiphon.settings import ConfigurationError, Settings, checked, load


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="antiphon")
def cli() -> None:
    """Antiphon: an LLM gateway that records every answer, and replays it."""


@cli.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1), help="How many processes share the port.")
@click.option(
    "--role",
    type=click.Choice(["api", "worker", "api,worker"]),
    help="Answer clients, run what is queued in the background, or both.",
)
def serve(config: Path | None, **given: Any) -> None:
    """Run the gateway."""
    from antiphon.cli.serve import serve as run

    try:
        settings = _settings(config, given)
    except (ConfigurationError, OSError) as error:
        _fail(str(error))
    try:
        sys.exit(run(settings, lambda bound: _greet(settings, bound)))
    except ConfigurationError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror}")


@cli.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="Probe this provider, not all.")
@click.option("--model", "models", multiple=True, metavar="PROVIDER/MODEL", help="Ask this model for a word.")
@click.option("--offline", is_flag=True, help="Look at the configuration, and ask nobody.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.option("--defaults", is_flag=True, help="Show the settings that have their defaults too.")
@click.option(
    "--timeout", default="15s", show_default=True, metavar="DURATION", help="The longest single wait."
)
def check(config: Path | None, **options: Any) -> None:
    """Look at the configuration and probe each provider; 0 if all is well, 1 if something failed."""
    from antiphon.cli.check import Options, run

    sys.exit(run(config, Options(**options)))


@cli.command()
def demo() -> None:
    """Show a miss, a hit, and ten requests that share one answer; no key and no network."""
    from antiphon.cli.demo import run

    sys.exit(run())


@cli.command()
@click.option("--cassette", required=True, metavar="DIR", help="The folder of recordings.")
@click.option(
    "--mode",
    type=click.Choice(["record", "once", "new", "append"]),
    default="record",
    show_default=True,
    help="Replace what the cassette holds, record only if it is empty, record only what is missing, or add to it.",
)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--redact", multiple=True, metavar="PATH", help="Leave out what stands there in requests.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def record(cassette: str, mode: str, command: Any, **options: Any) -> None:
    """Run COMMAND and record what it asks models, and what they answer."""
    from antiphon.cli.cassettes import run

    try:
        sys.exit(run(command, cassette, mode, **options))
    except ConfigurationError as error:
        _fail(str(error))


@cli.command()
@click.option("--cassette", required=True, metavar="DIR", help="The folder of recordings.")
@click.option("--strict", is_flag=True, help="Let each recording answer only once.")
@click.option("--pace", metavar="PACE", help="`recorded`, `x2` or `50/s` instead of at once.")
@click.option("--fault", "faults", multiple=True, metavar="FAULT", help="`break@3`, `2:stall@0`, `503` …")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="The port, without a COMMAND.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def replay(cassette: str, strict: bool, port: int, command: Any, **options: Any) -> None:
    """Run COMMAND, or serve, with answers from a cassette; nobody else is asked."""
    from antiphon.cli.cassettes import run, serve_cassette

    mode = "strict" if strict else "replay"
    try:
        if command:
            sys.exit(run(command, cassette, mode, **options))
        sys.exit(serve_cassette(cassette, mode, port, **options))
    except ConfigurationError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"cannot listen on port {port}: {error.strerror}")


@cli.group()
def cache() -> None:
    """Look after the entries of the cache."""


@cache.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--model", metavar="NAME", help="Only entries of this model.")
@click.option("--tag", metavar="TAG", help="Only entries with this tag.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path, config: Path | None, **given: str | None) -> None:
    """Write the entries of the cache into FOLDER, one file each."""
    from antiphon.cache.selecting import Selector
    from antiphon.cli.cache_files import export_entries

    try:
        sys.exit(export_entries(folder, config, Selector(model=given["model"], tag=given["tag"])))
    except (ConfigurationError, OSError) as error:
        _fail(str(error))


@cache.command("import")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option(
    "--ttl", metavar="DURATION", help="How long they are fresh from now, instead of until when they say."
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def import_cache(folder: Path, config: Path | None, ttl: str | None) -> None:
    """Put the entries in FOLDER into the cache."""
    from antiphon.cli.cache_files import import_entries
    from antiphon.recording.cassette import UnreadableCassetteError
    from antiphon.settings import Timeout

    try:
        seconds = None if ttl is None else Timeout.parse(ttl)
    except ValueError:
        _fail(f"--ttl: {ttl!r} is no duration such as 12h or 30d")
    try:
        sys.exit(import_entries(folder, config, seconds))
    except (ConfigurationError, UnreadableCassetteError, ValueError, OSError) as error:
        _fail(str(error))


@cli.group()
def cassette() -> None:
    """Look after cassettes."""


@cassette.group("import")
def import_() -> None:
    """Take over recordings of other tools."""


@import_.command()
@click.option(
    "--into", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The folder of recordings."
)
@click.option("--redact", multiple=True, metavar="PATH", help="Leave out what stands there in requests.")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
def vcr(files: tuple[Path, ...], into: Path, redact: tuple[str, ...]) -> None:
    """Import cassettes of VCR.py, YAML or JSON."""
    from antiphon.cli.cassettes import import_vcr
    from antiphon.recording.cassette import UnreadableCassetteError
    from antiphon.recording.redaction import Redaction

    try:
        sys.exit(import_vcr(files, into, Redaction(redact)))
    except (UnreadableCassetteError, ValueError, OSError) as error:
        _fail(str(error))


def main() -> None:
    """Run the command line."""
    cli(prog_name="antiphon")


def _settings(config: Path | None, given: Mapping[str, Any]) -> Settings:
    import msgspec

    settings = load(config, os.environ, Path.cwd())
    changes = {name: value for name, value in given.items() if value is not None}
    server = msgspec.structs.replace(settings.server, **changes)
    return checked(msgspec.structs.replace(settings, server=server))


def _greet(settings: Settings, port: int) -> None:
    names = ", ".join(settings.providers)
    host = settings.server.host
    shown = f"[{host}]" if ":" in host else host
    at = f"http://{shown}:{port}"
    if not settings.server.is_api:
        click.echo(f"Antiphon {__version__} runs what is queued; it answers at {at}/healthz", err=True)
        return
    click.echo(f"Antiphon {__version__} answers at {at}/v1 (providers: {names})", err=True)
    if settings.models:
        click.echo(f"Models: {', '.join(settings.models)}, or provider/model", err=True)


def _fail(message: str) -> NoReturn:
    click.echo(f"antiphon: {message}", err=True)
    sys.exit(2)
