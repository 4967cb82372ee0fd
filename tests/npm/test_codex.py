"""Codex as its user runs it, in front of every upstream, over HTTP and over WebSockets.

A model whose name Codex does not know gets functions; gpt-5.5 gets a free-form tool and a search for tools; gpt-6-sol
gets its tools as an item of the input, in namespaces, and writes programs that call them.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from docs.page import ROOT, blocks
from npm.behind import Behind, Ended, behind, play
from npm.installed import CODEX, program
from npm.scripted import DIALECTS, SIGNATURE, SIGNED, Asked, Call, Turn, call_then_say

pytestmark = pytest.mark.npm

PAGE = {block.mark.removeprefix("file="): block.text for block in blocks(ROOT / "docs/clients/codex.md")}
CONFIGURATION = PAGE[".codex/config.toml"]
NO_SEARCH = 'web_search = "disabled"\n'
OVER_HTTP = ("-c", "model_providers.antiphon.supports_websockets=false")
TRANSPORTS = pytest.mark.parametrize("options", [OVER_HTTP, ()], ids=["http", "websocket"])
EVERY_UPSTREAM = pytest.mark.parametrize("dialect", DIALECTS)

PROMPT = "Make something."
COMMAND = "printf 'made-%s' here | tee made.txt"
MADE = "made-here"
TEXT = "It says what was made."
SHELL = Call("exec_command", {"cmd": COMMAND})
PROGRAM = Call("exec", f"text((await tools.exec_command({{cmd: {json.dumps(COMMAND)}}})).output)")
PATCH = Call("apply_patch", f"*** Begin Patch\n*** Add File: made.txt\n+{MADE}\n*** End Patch\n")


@pytest.fixture(scope="session")
def codex() -> Path:
    return program(CODEX, "@openai/codex-*/vendor/*/bin/codex")


async def run(
    there: Behind, codex: Path, model: str, options: Sequence[str] = (), configuration: str = CONFIGURATION
) -> Ended:
    home = there.home / ".codex"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(there.here(configuration))
    bypassing = ("--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check")
    command = (codex, "exec", "--strict-config", *bypassing, "-m", model, *options, PROMPT)
    return await there.run(command, {"CODEX_HOME": str(home), "ANTIPHON_KEY": "any"})


@TRANSPORTS
@EVERY_UPSTREAM
def test_codex_runs_a_command_and_says_what_came_of_it(
    tmp_path: Path, codex: Path, dialect: str, options: tuple[str, ...]
):
    """A whole loop of the agent; reasoning goes back signed to an upstream that had signed it."""

    async def test() -> None:
        async with behind(tmp_path, call_then_say(SHELL, MADE, TEXT)) as there:
            ended = await run(there, codex, f"{dialect}/m", options)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert (there.work / "made.txt").read_text() == MADE
            assert [asked.dialect for asked in there.upstream.asked] == [dialect] * 2
            assert (SIGNATURE in there.upstream.asked[1].text) == (dialect in SIGNED)
            assert [heard.path for heard in there.heard] == ([b"/v1/responses"] * 2 if options else [])
            assert there.upstream.others == []

    play(test())


@EVERY_UPSTREAM
@pytest.mark.parametrize(
    ("model", "call", "ending"),
    [("gpt-5.5", PATCH, "\n"), ("gpt-6-sol", PROGRAM, "")],
    ids=["patch", "program"],
)
def test_codex_uses_the_tools_that_it_has_for_models_it_knows(
    tmp_path: Path, codex: Path, dialect: str, model: str, call: Call, ending: str
):
    """An alias with the name of such a model, whatever model stands behind it."""

    def script(asked: Asked) -> Turn:
        return call if len(there.upstream.asked) == 1 else TEXT

    async def test() -> None:
        nonlocal there
        async with behind(tmp_path, script, aliases=(model,), to=dialect) as there:
            ended = await run(there, codex, model)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert (there.work / "made.txt").read_text() == MADE + ending
            assert [asked.dialect for asked in there.upstream.asked] == [dialect] * 2

    there: Behind
    play(test())


def test_codex_finds_tools_and_calls_them(tmp_path: Path, codex: Path):
    """Its search is a function for an upstream that has no such tool; what it finds can be called in the next turn."""

    def script(asked: Asked) -> Turn:
        if "multi_agent_v1__spawn_agent" in asked.tool_names:
            return TEXT
        return Call("tool_search", {"query": "spawn agent"})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=("gpt-5.5",), to="chat") as there:
            ended = await run(there, codex, "gpt-5.5")

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert len(there.upstream.asked) == 2

    play(test())


def test_agents_of_codex_tell_each_other_what_to_do(tmp_path: Path, codex: Path):
    """The task comes to the second agent as it was written, and its answer back to the first."""
    task = {"message": "Count the files.", "task_name": "helper", "fork_turns": "none"}

    def script(asked: Asked) -> Turn:
        if PROMPT not in asked.text:
            return "Three files."
        if '"tool_calls"' not in asked.text:
            return Call("collaboration__spawn_agent", task)
        if "Three files." not in asked.text:
            return Call("collaboration__wait_agent", {"timeout_ms": 10_000})
        return TEXT

    async def test() -> None:
        async with behind(tmp_path, script, aliases=("gpt-6-sol",), to="chat") as there:
            ended = await run(there, codex, "gpt-6-sol")

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            (told,) = (asked for asked in there.upstream.asked if PROMPT not in asked.text)
            assert told.body["messages"][-1]["role"] == "user"
            assert task["message"] in json.dumps(told.body["messages"][-1])

    play(test())


@pytest.mark.parametrize("dialect", ["chat", "ollama"])
def test_a_search_of_the_web_is_refused_where_nobody_has_it(tmp_path: Path, codex: Path, dialect: str):
    """Codex asks for it unless it is told not to."""

    async def test() -> None:
        async with behind(tmp_path, lambda _: TEXT) as there:
            ended = await run(
                there, codex, f"{dialect}/m", configuration=CONFIGURATION.replace(NO_SEARCH, "")
            )

            assert ended.status == 1
            assert "The tool type 'web_search' is not available" in ended.err
            assert there.upstream.asked == []

    assert NO_SEARCH in CONFIGURATION
    play(test())


@pytest.mark.parametrize("dialect", ["responses", "messages", "gemini"])
def test_a_search_of_the_web_goes_to_an_upstream_that_has_it(tmp_path: Path, codex: Path, dialect: str):
    """In its own form."""

    async def test() -> None:
        async with behind(tmp_path, lambda _: TEXT) as there:
            ended = await run(
                there, codex, f"{dialect}/m", configuration=CONFIGURATION.replace(NO_SEARCH, "")
            )

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert re.search(r"web_search|googleSearch", json.dumps(there.upstream.asked[0].body["tools"]))

    play(test())


def test_codex_goes_on_with_a_session(tmp_path: Path, codex: Path):
    """From its own files, over a connection that knows nothing of it: signed reasoning opens again."""

    async def test() -> None:
        async with behind(tmp_path, call_then_say(SHELL, MADE, TEXT)) as there:
            await run(there, codex, "messages/m")
            ended = await run(there, codex, "messages/m", ("resume", "--last"))

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            roles = [message["role"] for message in there.upstream.asked[-1].body["messages"]]
            assert roles == ["user", "assistant", "user", "assistant", "user"]
            assert SIGNATURE in there.upstream.asked[-1].text

    play(test())


def test_codex_sums_up_a_long_session(tmp_path: Path, codex: Path):
    """By asking the model for a summary, in front of any upstream."""
    asks = "CONTEXT CHECKPOINT COMPACTION"
    summary = "A file was made."

    def script(asked: Asked) -> Turn:
        if asks in asked.text:
            return summary
        return TEXT if summary in asked.text or len(there.upstream.asked) > 3 else SHELL

    async def test() -> None:
        nonlocal there
        async with behind(tmp_path, script) as there:
            ended = await run(there, codex, "chat/m", ("-c", "model_auto_compact_token_limit=10"))

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended.err
            assert [asks in asked.text for asked in there.upstream.asked] == [False, True, False]
            assert summary in there.upstream.asked[2].text

    there: Behind
    play(test())
