"""`antiphon record` and `antiphon replay`."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from antiphon.cassettes.composing import Wanted, settings_for
from antiphon.cassettes.program import run_program
from antiphon.cassettes.variables import variables_for
from antiphon.cli.serve import serve
from antiphon.drivers.cassette_files import last_order, write_exchange
from antiphon.drivers.vcr import read_vcr
from antiphon.recording.redaction import Redaction


def run(command: Sequence[str], cassette: str, mode: str, **options: Any) -> int:
    """Run a program with a cassette, and say what became of that; returns its exit code. Raises ConfigurationError."""
    status, gateway = run_program(command, Wanted(cassette, mode, **options), os.environ)
    for miss in gateway.misses:
        click.echo(f"antiphon: {miss}", err=True)
    done = [
        f"{number} {verb}"
        for number, verb in ((gateway.recorded, "recorded"), (gateway.played, "played"))
        if number
    ]
    click.echo(f"antiphon: {cassette}: {', '.join(done) or 'no exchange'}", err=True)
    return status


def import_vcr(files: Sequence[Path], into: Path, redaction: Redaction) -> int:
    """Write what files of VCR.py hold into a cassette, behind what is there; returns the exit code."""
    order = last_order(into)
    written = 0
    for file in files:
        for found in read_vcr(file):
            if isinstance(found, str):
                click.echo(
                    f"antiphon: {file}: left out {found}, which is not asked through a gateway", err=True
                )
                continue
            order += 1
            write_exchange(into, order, redaction.apply(found))
            written += 1
    click.echo(f"antiphon: {into}: {written} imported", err=True)
    return 0 if written else 1


def serve_cassette(cassette: str, mode: str, port: int, **options: Any) -> int:
    """Serve from a cassette until told to stop. Raises ConfigurationError, OSError."""
    with tempfile.TemporaryDirectory(prefix="antiphon-") as scratch:
        settings = settings_for(Wanted(cassette, mode, **options), os.environ, Path.cwd(), Path(scratch))
        settings = replace(settings, server=replace(settings.server, port=port))

        def greet(bound: int) -> None:
            url = f"http://{settings.server.host}:{bound}"
            click.echo(f"Antiphon plays {cassette} at {url}/v1. In the shell of the program:", err=True)
            for name, value in variables_for(url, os.environ, is_offline=True).items():
                click.echo(f"  export {name}={value}", err=True)

        return serve(settings, greet)
