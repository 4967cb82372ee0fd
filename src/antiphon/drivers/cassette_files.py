"""Cassettes on disk: a folder of exchanges, or one file of them."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon.recording.cassette import (
    Exchange,
    UnreadableCassetteError,
    comparable,
    from_json,
    same_but_for_times,
    to_json,
)

BUILTIN = "builtin:"
_BUILTIN_FOLDER = Path(__file__).resolve().parent / "cassettes"
UNFINISHED = ".tmp"
"""How the names of files end that are being written."""
_NUMBERED = re.compile(r"(\d{4,9})-[a-z_]+-[0-9a-f]{8}\.json")


def read_cassette(location: str) -> dict[str, Exchange]:
    """Read a folder (`*.json`, `*.jsonl`), a file, or `builtin:NAME`: exchanges by the name of their file.

    Raises UnreadableCassetteError, which names the file and what is wrong with it.
    """
    path = Path(location)
    if location.startswith(BUILTIN):
        path = _builtin(location.removeprefix(BUILTIN))
    try:
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir() if entry.suffix in {".json", ".jsonl"})
        else:
            files = [path]
        exchanges = {name: exchange for file in files for name, exchange in _read_file(file)}
    except OSError as error:
        raise UnreadableCassetteError(
            f"The cassette {location!r} cannot be read: {error.strerror}."
        ) from error
    if not exchanges:
        raise UnreadableCassetteError(f"The cassette {location!r} holds no recordings.")
    return exchanges


def write_file(folder: Path, name: str, data: bytes) -> Path:
    """Write a file of a cassette folder in one step: whoever reads meanwhile, or kills us, finds all of it or nothing.

    It holds prompts, so only its owner may read it. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    unfinished = path.with_suffix(f".{os.getpid()}{UNFINISHED}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return unfinished.replace(path)


def exchange_name(order: int, exchange: Exchange) -> str:
    """Return the name of the file of the exchange that was begun as number `order`.

    The same program makes the same names again.
    """
    recording = exchange.recording
    said = [exchange.method, exchange.path, recording.mode, *sorted(comparable(exchange.body).items())]
    digest = hashlib.sha256(msgspec.msgpack.encode([recording.model, *said])).hexdigest()
    return f"{order:04d}-{recording.dialect}-{digest[:8]}.json"


def order_of(name: str) -> int | None:
    """Return the number in a name of `exchange_name`; None for other files."""
    found = _NUMBERED.fullmatch(name)
    return int(found[1]) if found else None


def recordings_in(folder: Path) -> list[Path]:
    """Return the files that were recorded into a folder, in their order."""
    return sorted(path for path in folder.glob("*.json") if order_of(path.name) is not None)


def last_order(folder: Path) -> int:
    """Return the number of the last exchange that was recorded into a folder; 0 if there is none."""
    return max((order_of(path.name) or 0 for path in recordings_in(folder)), default=0)


def write_exchange(
    folder: Path, order: int, exchange: Exchange, earlier: Mapping[str, bytes] | None = None
) -> Path:
    """Write the exchange that was begun as number `order`. Raises OSError.

    One that differs from what stood `earlier` under its name only in its times is written as it was.
    """
    name = exchange_name(order, exchange)
    exchange.recording.id = name.removesuffix(".json")
    data = (earlier or {}).get(name, b"")
    if not data or not same_but_for_times(exchange, data):
        data = to_json(exchange)
    return write_file(folder, name, data)


def _builtin(name: str) -> Path:
    path = _BUILTIN_FOLDER / name
    if path.parent != _BUILTIN_FOLDER or not path.is_dir():
        known = ", ".join(sorted(entry.name for entry in _BUILTIN_FOLDER.iterdir()))
        raise UnreadableCassetteError(f"There is no built-in cassette {name!r}; there is: {known}.")
    return path


def _read_file(path: Path) -> Sequence[tuple[str, Exchange]]:
    data = path.read_bytes()
    if path.suffix != ".jsonl":
        return [(path.name, _read_exchange(path.name, data))]
    lines = [(f"{path.name}:{number}", line) for number, line in enumerate(data.split(b"\n"), 1)]
    return [(name, _read_exchange(name, line)) for name, line in lines if line.strip()]


def _read_exchange(name: str, data: bytes) -> Exchange:
    try:
        return from_json(data)
    except UnreadableCassetteError as error:
        raise UnreadableCassetteError(f"{name} is not a recorded exchange: {error}") from error
