import contextlib
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner

from antiphon.cli import cli
from antiphon.settings import load
from docs import local_server, ollama
from docs.page import ADDRESS, BY_NAME, ROOT, SECRETS, Gateway, blocks, matches, run

VARIABLES = {
    **SECRETS,
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-test",
    **{
        f"{name}_API_KEY": "sk-test"
        for name in (
            *("AZURE_OPENAI", "GEMINI", "GROQ", "DEEPSEEK", "MISTRAL", "OPENROUTER", "XAI", "TOGETHER"),
        )
    },
    "REDIS_PASSWORD": "secret",
    "BOB_KEY_SHA256": "ab" * 32,
}
DATABASE = "postgresql://antiphon:secret@db.internal/antiphon"
REDIS = "redis://hints.internal:6379"
CLIENTS = {
    re.split(r"[\[<>=]", requirement)[0]
    for requirement in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["clients"]
}
"""Packages that the pages may tell to install."""
CHECKED = {"sh": {"", "setup"}, "python": {""}, "yaml": {"", "serve"}, "sql": {""}, "json": {"", "log"}}


def curl_version():
    if shutil.which("curl") is None:
        return ()
    said = subprocess.run(("curl", "--version"), capture_output=True, text=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))


needs_tools = pytest.mark.skipif(
    curl_version() < (7, 83) or shutil.which("make") is None,
    reason="the examples need curl 7.83 or newer, and make",
)


class Follower:
    """Somebody who follows one page from top to bottom, in a folder of their own."""

    def __init__(self, folder, upstreams):
        self.folder = folder
        self._upstreams = upstreams
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONUTF8": "1",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        self.written = ""
        self._gateway = None

    @property
    def gateway(self):
        if self._gateway is None:
            self._gateway = Gateway(self.folder, self.environ)
        return self._gateway

    def stop(self):
        gateway, self._gateway = self._gateway, None
        return 0 if gateway is None else gateway.stop()

    def follow(self, block):
        if block.mark.startswith("file="):
            path = self.folder / block.mark.removeprefix("file=")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "text":
            if block.mark == "output" and not matches(block.text, self.written):
                pytest.fail(f"{block.place} shows something else than was written:\n{self.written}")
        else:
            assert block.mark in CHECKED[block.language], block.place
            getattr(self, f"_{block.language}")(block)

    def _sh(self, block):
        if block.mark == "setup":
            for line in block.text.splitlines():
                check_commands(line)
        else:
            self._run(block, ("sh", "-ec", block.text.replace(ADDRESS, self.gateway.url)))

    def _python(self, block):
        program = block.text.replace(ADDRESS, self.gateway.url) if ADDRESS in block.text else block.text
        self._run(block, (sys.executable, "-W", "error", "-c", program))

    def _run(self, block, command):
        status, self.written = run(command, self.folder, self.environ)
        assert status == 0, f"{block.place}\n{self.written}"

    def _yaml(self, block):
        path = self.folder / "antiphon.yaml" if block.mark == "serve" else self.folder / "example.yaml"
        path.write_text(replaced(block.text, self._upstreams))
        load(path, VARIABLES, self.folder)
        if block.mark == "serve":
            assert self.stop() == 0
            self.environ.update(SECRETS)

    def _sql(self, block):
        self._flush()
        with contextlib.closing(sqlite3.connect(self.folder / "antiphon.db")) as connection:
            assert connection.execute(block.text).fetchall(), f"{block.place} finds nothing"

    def _json(self, block):
        members = json.loads(block.text)
        if block.mark == "log":
            self._flush()
            logged = [json.loads(line) for line in self.gateway.log if line.startswith("{")]
            assert members.keys() == next(line for line in logged if line["event"] == "request").keys()

    def _flush(self):
        """The ledger and the log are written in batches; whoever asks for metrics gets what there is."""
        urllib.request.urlopen(f"{self.gateway.url}/metrics").close()


def replaced(text, addresses):
    """The text with the addresses of those who stand in."""
    for named, address in addresses.items():
        text = text.replace(named, address)
    return text


def check_commands(line):
    """Whether the commands of a line exist and take their arguments, without running them."""
    for command in re.split(r"&&|;", line.partition("#")[0]):
        words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        match words:
            case [] | ["cd", _] | ["git", "clone", _] | ["export", *_] | ["kill", "-TERM", _]:
                pass
            case ["npm" | "codex" | "claude", *_]:
                pass  # tests/npm runs them
            case ["make", *targets]:
                ended = subprocess.run(("make", "-n", *targets), cwd=ROOT, capture_output=True, text=True)
                assert ended.returncode == 0, ended.stderr
            case ["antiphon", name, *options]:
                # A wrong option is told before help would be.
                result = CliRunner().invoke(cli, [name, *options, "--help"])
                assert result.exit_code == 0, result.output
            case ["pip", "install", what]:
                assert (
                    re.fullmatch(r"antiphon(\[(demo|postgres,redis|semantic)\])?", what)
                    or what.partition("[")[0] in CLIENTS
                )
            case _:
                pytest.fail(f"nobody knows how to check: {command}")


@pytest.fixture(scope="module")
def upstreams():
    """Who stands in for the servers of the pages, by the address that a page gives."""
    with ollama.standing_in() as ollama_url, local_server.standing_in() as local_url:
        yield {ollama.ADDRESS: ollama_url, local_server.ADDRESS: local_url}


@pytest.fixture
def servers(name, request):
    """Real databases for the page that tells how to run with them, by the address that it gives."""
    if name != "several-hosts.md":
        return {}
    return {
        DATABASE: request.getfixturevalue("postgres_url"),
        REDIS: request.getfixturevalue("redis_server").url,
    }


def recordable(upstreams):
    """What makes the program of the page on cassettes find somebody to record from, and pytest its plugin."""
    at = upstreams[local_server.ADDRESS].replace("/chat/", "/responses/")
    is_installed = any(each.name == "antiphon" for each in entry_points(group="pytest11"))
    plugin = "" if is_installed else "-p antiphon.cassettes.plugin"
    return {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": at, "PYTEST_ADDOPTS": plugin}


@needs_tools
@pytest.mark.parametrize("name", BY_NAME)
def test_whoever_follows_the_page_sees_what_it_says(name, tmp_path, upstreams, servers):
    """Every example runs, in the order of the page, and shows what is said to be shown."""
    follower = Follower(tmp_path, {**upstreams, **servers})
    if name == "testing-with-cassettes.md":
        follower.environ |= recordable(upstreams)
    try:
        for block in blocks(BY_NAME[name]):
            follower.follow(block)
    finally:
        status = follower.stop()
    assert status == 0


@pytest.mark.parametrize(
    ("expected", "written", "is_so"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\r\n", True),
        ("a\n", "a\nb\n", False),
        ("a…\n…\nc\n", "a1\nb\nb\nc\n", True),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n", "b\n", False),
    ],
)
def test_output_is_compared_line_by_line(expected, written, is_so):
    """An ellipsis stands for the rest of a line, or for any lines."""
    assert matches(expected, written) is is_so
