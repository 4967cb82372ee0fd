"""A page of the documentation, and somebody who does what it says.

What a fence's info string means, after the language:

    sh              run, with the page's gateway in place of http://127.0.0.1:8080
    sh setup        only looked at: the commands exist and take these arguments
    python          run as a program of its own
    text output     what the block before it wrote; `…` stands for anything, alone on a line for any lines
    yaml            loaded as a configuration file
    yaml serve      loaded, and from here on the page's gateway runs with it
    sql             run on the gateway's database, and finds something
    json            parsed; `json log`: has the members of a line in the gateway's log
    LANG file=PATH  written there, below the folder in which everything happens
    text            a picture
"""

import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(
    page
    for page in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("docs/clients/*.md")),
    )
    if page.name != "benchmarks.md"
)
"""All but the page that `make bench` writes."""
BY_NAME = {str(page.relative_to(ROOT)).removeprefix("docs/"): page for page in PAGES}
"""`README.md`, `cache.md`, `clients/codex.md` …"""
ADDRESS = "http://127.0.0.1:8080"
SECRETS = {
    "ALICE_KEY": "key-of-alice",
    "ANTIPHON_ADMIN_KEY": "key-of-admin",
    "WEBHOOK_SECRET": "whsec_" + "MDEyMzQ1Njc4" * 3,
}

_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GREETING = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page):
    text = page.read_text()
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2].strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


def matches(expected, written):
    """Whether `written` is what `expected` says."""
    lines = [
        r"(?:[^\n]*\n)*?" if line == "…" else re.escape(line).replace("…", "[^\n]*") + r" *\n"
        for line in expected.rstrip("\n").splitlines()
    ]
    whole = written.replace("\r\n", "\n").rstrip("\n") + "\n"
    return re.fullmatch("".join(lines), whole) is not None


class Gateway:
    """A gateway as a user starts it."""

    def __init__(self, folder, environ):
        self._process = subprocess.Popen(
            (sys.executable, "-m", "antiphon", "serve", "--port", "0"),
            cwd=folder,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = []
        self.url = None
        self._is_up = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._is_up.wait(PATIENCE)
        assert self.url is not None, "".join(self.log)

    def _read(self):
        for line in self._process.stderr:
            self.log.append(line)
            if self.url is None and (found := _GREETING.search(line)):
                self.url = found[0]
                self._is_up.set()
        self._is_up.set()

    def stop(self):
        """Stop as an operator does, and return the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._reader.join()
            self._process.stderr.close()


def run(command, folder, environ):
    """Run a program to its end; what it wrote, errors too."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return ended.returncode, ended.stdout
