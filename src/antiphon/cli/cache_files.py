"""`antiphon cache export` and `antiphon cache import`: entries of the second level as files of a cassette."""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from antiphon.app import Application
from antiphon.cache.entry import Entry
from antiphon.cache.selecting import Selector
from antiphon.drivers.cassette_files import write_file
from antiphon.drivers.entry_files import entry_name, read_entry_file, write_entry
from antiphon.recording.cassette import UnreadableCassetteError
from antiphon.settings import ConfigurationError, Settings, load
from antiphon.wire.errors import StoreFault

_AT_ONCE = 200


def export_entries(folder: Path, config: Path | None, selector: Selector) -> int:
    """Write the entries that are meant into a folder; returns the exit code. Raises ConfigurationError, OSError."""
    return asyncio.run(_export(folder, load(config, os.environ, Path.cwd()), selector))


def import_entries(folder: Path, config: Path | None, ttl: float | None) -> int:
    """Put the entries of a folder into the second level, for `ttl` seconds from now or as long as they say.

    Returns the exit code. Raises ConfigurationError, UnreadableCassetteError, OSError.
    """
    return asyncio.run(
        _import(folder, sorted(folder.glob("*.json")), load(config, os.environ, Path.cwd()), ttl)
    )


async def _export(folder: Path, settings: Settings, selector: Selector) -> int:
    application = await _opened(settings)
    written = left_out = 0
    try:
        async for entry in _entries(application, selector):
            data = write_entry(entry)
            if data is None:
                left_out += 1
                continue
            write_file(folder, entry_name(entry), data)
            written += 1
    except StoreFault as fault:
        raise ConfigurationError(f"storage: {fault.message}") from fault
    finally:
        await application.stop()
    if left_out:
        click.echo(f"antiphon: {left_out} left out, since something in them looks like a secret", err=True)
    click.echo(f"antiphon: {folder}: {written} exported", err=True)
    return 0


async def _entries(application: Application, selector: Selector) -> AsyncIterator[Entry]:
    """Yield what is meant, newest first, a few at a time."""
    assert application.second_level is not None
    seen: set[bytes] = set()
    while True:
        page = await application.second_level.select(selector, _AT_ONCE)
        fresh = [entry for entry in page if entry.digest not in seen]
        for entry in fresh:
            seen.add(entry.digest)
            yield entry
        if len(page) < _AT_ONCE or not fresh:
            return
        # Entries of one moment may stand on both sides of the end of a page.
        selector = replace(selector, stored_before=math.nextafter(page[-1].stored_at, math.inf))


async def _import(folder: Path, files: Sequence[Path], settings: Settings, ttl: float | None) -> int:
    application = await _opened(settings)
    assert application.second_level is not None
    now = time.time()
    done = expired = 0
    try:
        for path in files:
            try:
                entry = read_entry_file(path.read_bytes())
            except UnreadableCassetteError as error:
                raise UnreadableCassetteError(f"{path.name} is not a recorded exchange: {error}") from error
            if entry is None:
                continue
            if ttl is not None:
                entry.stored_at, entry.expires_at = now, now + ttl
            if entry.expires_at <= now and not entry.is_pinned:
                expired += 1
                continue
            application.second_level.put(entry)
            done += 1
    finally:
        await application.stop()
    if expired:
        click.echo(f"antiphon: {expired} left out, since they have expired; --ttl brings them back", err=True)
    click.echo(f"antiphon: {folder}: {done} imported", err=True)
    return 0 if done or expired else 1


async def _opened(settings: Settings) -> Application:
    """Open what keeps the cache, without serving. Raises ConfigurationError."""
    application = await Application.open(settings)
    if application.second_level is None:
        await application.stop()
        raise ConfigurationError(
            "there is no second level of the cache: see `cache.store` in the configuration"
        )
    return application
