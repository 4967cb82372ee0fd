"""Packages from npm, installed once a version into a folder outside the repository."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_DEADLINE_SECONDS = 240
_OLDEST_NODE = 20
_QUIET = (
    "--prefer-offline",
    "--fetch-retries=1",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
)


@dataclass(frozen=True)
class Packages:
    """What is installed together, with exact versions."""

    name: str
    versions: tuple[str, ...]
    """`package@version`."""

    @property
    def folder(self) -> Path:
        return cache_folder() / "-".join((self.name, *(each.rpartition("@")[2] for each in self.versions)))


CODEX = Packages("codex", ("@openai/codex@0.169.0",))
CLAUDE_CODE = Packages("claude-code", ("@anthropic-ai/claude-code@2.1.330",))
LIBRARIES = Packages(
    "libraries",
    (
        "openai@7.57.0",
        "@anthropic-ai/sdk@1.12.0",
        "ai@7.0.173",
        "@ai-sdk/openai@4.0.118",
        "@ai-sdk/anthropic@4.0.105",
        "@ai-sdk/openai-compatible@3.0.92",
        "zod@4.6.7",
    ),
)


def cache_folder() -> Path:
    """Return where packages are kept from run to run: `ANTIPHON_NPM_CACHE`, or below the user's cache."""
    named = os.environ.get("ANTIPHON_NPM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon-tests" / "npm"


def installed(packages: Packages) -> Path:
    """Return the folder with `node_modules`; skips the test, by name, where there is no npm or no registry."""
    if shutil.which("npm") is None or _node_version() < _OLDEST_NODE:
        pytest.skip(f"npm, or node {_OLDEST_NODE} or newer, is not on this machine")
    folder = packages.folder
    with _alone(folder):
        if not (folder / "node_modules").is_dir():
            _install(packages, folder)
    return folder


def program(packages: Packages, pattern: str) -> Path:
    """Return the program that an installed package has for this platform; skips the test where it has none."""
    found = next(installed(packages).glob(f"node_modules/{pattern}"), None)
    if found is None:
        pytest.skip(f"{packages.name} has no program for this platform")
    return found


def _node_version() -> int:
    if shutil.which("node") is None:
        return 0
    said = subprocess.run(("node", "--version"), capture_output=True, text=True).stdout
    return int(said.lstrip("v").partition(".")[0])


def _install(packages: Packages, folder: Path) -> None:
    making = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    (making / "package.json").write_text('{"private": true}')
    command = ("npm", "install", "--save-exact", *_QUIET, *packages.versions)
    try:
        ended = subprocess.run(command, cwd=making, capture_output=True, text=True, timeout=_DEADLINE_SECONDS)
        failure = ended.stderr.strip() if ended.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"it took more than {_DEADLINE_SECONDS} seconds"
    if failure:
        shutil.rmtree(making)
        pytest.skip(f"npm cannot install {' '.join(packages.versions)}: {failure[-300:]}")
    making.rename(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other test processes from installing the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
