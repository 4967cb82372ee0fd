"""`antiphon cache`: what is in the cache, and taking it out."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

_Command = Callable[..., None]

_PROMPT_SHOWN = 40


@click.group()
def cache() -> None:
    """Look into the cache, purge it, and pin what is to stay.

    Orders go to the gateway that runs; where none answers, or it has no admin key, they are carried out in storage.
    """


def _reaching(command: _Command) -> _Command:
    """Add the options that say where the cache is, and how to write what came of it."""
    for option in reversed(
        (
            click.option(
                "--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file."
            ),
            click.option("--url", metavar="URL", help="The gateway, if not the one of the configuration."),
            click.option(
                "--admin-key",
                envvar="ANTIPHON_ADMIN_KEY",
                metavar="KEY",
                help="Its admin key, if not that of the configuration; better in ANTIPHON_ADMIN_KEY.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Write one JSON object."),
        )
    ):
        command = option(command)
    return command


def _selecting(command: _Command) -> _Command:
    """Add the options that say which entries are meant: those to which all of them apply."""
    for option in reversed(
        (
            click.option("--key", metavar="HEX", help="The entry with this key, as Cache-Status shows it."),
            click.option("--response", metavar="ID", help="The entry that answers with this response id."),
            click.option("--model", metavar="NAME", help="Of a model: an alias, or PROVIDER/MODEL."),
            click.option("--tag", metavar="TAG", help="With this tag."),
            click.option("--scope", metavar="SCOPE", help="`key:NAME`, `project:NAME`, or `global`."),
            click.option("--prompt", metavar="TEXT", help="Whose prompt begins so."),
            click.option("--older-than", metavar="DURATION", help="Stored longer ago: 3600, 90m, 1d."),
        )
    ):
        command = option(command)
    return command


def _naming(command: _Command) -> _Command:
    for option in (
        click.option("--response", metavar="ID", help="The response id of the answer."),
        click.option("--key", metavar="HEX", help="The key of the answer, as Cache-Status shows it."),
    ):
        command = option(command)
    return command


@cache.command()
@_selecting
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--pinned", is_flag=True, help="Pinned entries too.")
@click.option("--soft", is_flag=True, help="Let them be stale instead of removing them.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@_reaching
def purge(everything: bool, **options: Any) -> None:
    """Remove entries, in every worker of every host."""
    would = "would be " if options["dry_run"] else ""
    name, done = ("expired", "made stale") if options["soft"] else ("removed", "purged")
    _order("purge", {"all": everything, **options}, lambda said: f"{_entries(said[name])} {would}{done}.")


@cache.command()
@_naming
@_reaching
def pin(**options: Any) -> None:
    """Keep an answer, whatever its age."""
    _order("pin", options, lambda said: f"{_entries(said['pinned'])} pinned.")


@cache.command()
@_naming
@_reaching
def unpin(**options: Any) -> None:
    """Let a pinned answer expire as others do."""
    _order("unpin", options, lambda said: f"{_entries(said['unpinned'])} unpinned.")


@cache.command()
@_naming
@_reaching
def wrong(**options: Any) -> None:
    """Remove an answer that is wrong, and those that are likely to be wrong with it."""
    _order("wrong", options, lambda said: f"{_entries(said['removed'] + said['neighbours'])} removed.")


@cache.command("list")
@_selecting
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@_reaching
def list_(**options: Any) -> None:
    """Show entries, newest first."""
    _order("entries", options, _table)


@cache.command()
@_reaching
def stats(**options: Any) -> None:
    """Show how much there is, by model."""
    _order("stats", options, _totals)


def _order(name: str, options: dict[str, Any], write: Callable[[dict[str, Any]], str]) -> None:
    """Give an order and write what came of it; the exit code is 1 if that failed, 2 if it cannot be asked for."""
    from antiphon.cli.cache_access import Access, Failed

    access = Access(options.pop("config"), options.pop("url"), options.pop("admin_key"))
    as_json = options.pop("as_json")
    try:
        said = access.carry_out(
            name, {key: value for key, value in options.items() if value not in (None, False)}
        )
    except Failed as error:
        click.echo(f"antiphon: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(said, ensure_ascii=False) if as_json else write(said))


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _table(said: dict[str, Any]) -> str:
    rows = [("KEY", "MODEL", "AGE", "TTL", "", "TAGS", "PROMPT")]
    for entry in said["data"]:
        prompt = " ".join(_printable(entry["prompt"]).split())
        rows.append(
            (
                entry["key"],
                entry["target"],
                f"{entry['age']}s",
                f"{entry['ttl']}s",
                "pinned" if entry["pinned"] else "",
                _printable(",".join(entry["tags"])),
                prompt if len(prompt) <= _PROMPT_SHOWN else prompt[: _PROMPT_SHOWN - 1] + "…",
            )
        )
    return _aligned(rows)


def _totals(said: dict[str, Any]) -> str:
    rows = [("LEVEL", "MODEL", "ENTRIES", "BYTES", "PINNED")]
    for level in ("memory", "stored"):
        if level not in said:
            continue
        for model, share in (*said[level]["models"].items(), ("all", said[level])):
            rows.append((level, model, *(str(share[name]) for name in ("entries", "bytes", "pinned"))))
    return _aligned(rows)


def _printable(text: str) -> str:
    """What a client sent must not steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
