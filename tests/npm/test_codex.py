"""Codex as its user runs it, in front of every upstream, over HTTP and over WebSockets."""

import json
from pathlib import Path
from typing import Any

import pytest

from docs.page import ROOT, blocks
from e2e.scenes import play
from npm.behind import Behind, Ended, behind
from npm.installed import CODEX, installed
from npm.scripted import DIALECTS, SIGNATURE, SIGNED, Call, call_then_say

pytestmark = pytest.mark.npm

COMMAND = "printf 'made-%s' here | tee made.txt"
MADE = "made-here"
TEXT = "It says what was made."
SHELL = Call("exec_command", {"cmd": COMMAND})
SCRIPT = call_then_say(SHELL, MADE, TEXT)
PAGE = {block.mark.removeprefix("file="): block.text for block in blocks(ROOT / "docs/clients/codex.md")}
CONFIGURATION = PAGE[".codex/config.toml"]
OVER_HTTP = ("-c", "model_providers.antiphon.supports_websockets=false")


@pytest.fixture(scope="session")
def codex() -> Path:
    folder = installed(CODEX)
    return next(folder.glob("node_modules/@openai/codex-*/vendor/*/bin/codex"))


async def run(there: Behind, codex: Path, model: str, *options: str) -> Ended:
    home = there.home / ".codex"
    home.mkdir()
    (home / "config.toml").write_text(there.here(CONFIGURATION))
    bypassing = ("--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check")
    command = (codex, "exec", "--strict-config", *bypassing, "-m", model, *options, "Make something.")
    return await there.run(command, {"CODEX_HOME": str(home), "ANTIPHON_KEY": "any"})


@pytest.mark.parametrize("options", [OVER_HTTP, ()], ids=["http", "websocket"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_codex_runs_a_command_and_says_what_came_of_it(
    tmp_path: Path, codex: Path, dialect: str, options: tuple[str, ...]
):
    """A whole loop of the agent; reasoning goes back signed to an upstream that had signed it."""

    async def test() -> None:
        async with behind(tmp_path, SCRIPT) as there:
            ended = await run(there, codex, f"{dialect}/m", *options)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert (there.work / "made.txt").read_text() == MADE
            assert [asked.dialect for asked in there.upstream.asked] == [dialect] * 2
            assert (SIGNATURE in there.upstream.asked[1].text) == (dialect in SIGNED)
            assert [r.path for r in there.heard] == ([b"/v1/responses"] * 2 if options else [])

    play(test())


@pytest.mark.parametrize("options", [OVER_HTTP, ()], ids=["http", "websocket"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6-sol"])
def test_x(tmp_path: Path, codex: Path, dialect: str, options: tuple[str, ...], model):
    script = (
        SCRIPT
        if model == "gpt-5.5"
        else call_then_say(
            Call(
                "exec", f"const r = await tools.exec_command({{cmd: {json.dumps(COMMAND)}}}); text(r.output);"
            ),
            MADE,
            TEXT,
        )
    )

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(model,), to=dialect) as there:
            ended = await run(there, codex, model, *options)
            for a in there.upstream.asked:
                print(a.dialect, a.tool_names, a.text[-1500:])

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert (there.work / "made.txt").read_text() == MADE

    play(test())
