"""Claude Code as its user runs it, in front of every upstream."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from docs.page import ROOT, blocks
from npm.behind import Behind, Ended, behind, play
from npm.installed import CLAUDE_CODE, program
from npm.scripted import COUNTED, DIALECTS, SIGNATURE, SIGNED, Asked, Call, Turn, call_then_say

pytestmark = pytest.mark.npm

PAGE = {
    block.mark.removeprefix("file="): block.text for block in blocks(ROOT / "docs/clients/claude-code.md")
}
SETTINGS = PAGE[".claude/settings.json"]
MODEL = "fast"
"""The one on the page."""

PROMPT = "Make something."
COMMAND = "printf 'made-%s' here | tee made.txt"
MADE = "made-here"
TEXT = "It says what was made."
SHELL = Call("Bash", {"command": COMMAND, "description": "Make something"})
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
ALLOWED = ("--allowedTools", "Agent,Bash,Read,ToolSearch,WebSearch")


@pytest.fixture(scope="session")
def claude() -> Path:
    return program(CLAUDE_CODE, "@anthropic-ai/claude-code-*/claude")


async def run(
    there: Behind, claude: Path, options: Sequence[str] = (), model: str = MODEL, prompt: str = PROMPT
) -> Ended:
    home = there.home / ".claude"
    home.mkdir(exist_ok=True)
    (home / "settings.json").write_text(there.here(SETTINGS).replace(f'"{MODEL}"', f'"{model}"'))
    return await there.run((claude, "-p", prompt, *ALLOWED, *options), {"ANTHROPIC_AUTH_TOKEN": "any"})


def last(asked: Asked) -> str:
    """What a request to a chat upstream ends with."""
    return json.dumps(asked.body["messages"][-1])


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        *((MODEL, dialect) for dialect in DIALECTS),
        *(
            (model, dialect)
            for model in ("claude-sonnet-5", "claude-haiku-4-5")
            for dialect in ("chat", "gemini")
        ),
    ],
)
def test_claude_code_runs_a_command_and_says_what_came_of_it(
    tmp_path: Path, claude: Path, model: str, dialect: str
):
    """A whole loop of the agent; reasoning goes back signed to an upstream that had signed it."""

    async def test() -> None:
        async with behind(tmp_path, call_then_say(SHELL, MADE, TEXT), aliases=(model,), to=dialect) as there:
            ended = await run(there, claude, model=model)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert (there.work / "made.txt").read_text() == MADE
            assert [asked.dialect for asked in there.upstream.asked] == [dialect] * 2
            assert all(asked.stream for asked in there.upstream.asked)
            assert (SIGNATURE in there.upstream.asked[1].text) == (dialect in SIGNED)
            assert {heard.path for heard in there.heard} == {b"/v1/messages"}

    play(test())


def test_nothing_is_left_out_in_front_of_anthropic(tmp_path: Path, claude: Path):
    """Query, betas and body pass as Claude Code has written them, but for the model."""

    async def test() -> None:
        async with behind(tmp_path, lambda _: TEXT, aliases=(MODEL,), to="messages") as there:
            await run(there, claude)
            (heard,), (asked,) = there.heard, there.upstream.asked

            assert asked.path == "/v1/messages?beta=true"
            for name in ("anthropic-beta", "anthropic-version"):
                assert asked.headers[name] == heard.headers[name.encode()].decode()
            assert asked.body == json.loads(heard.body) | {"model": "m"}

    play(test())


def test_a_tool_that_claude_code_loads_later_can_be_called(tmp_path: Path, claude: Path):
    """What it defers is not told before; its placeholder never."""

    def script(asked: Asked) -> Turn:
        if "NotebookEdit" in asked.tool_names:
            return TEXT
        return Call("ToolSearch", {"query": "select:NotebookEdit", "max_results": 5})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to="chat") as there:
            ended = await run(there, claude)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert "NotebookEdit can be called now" in last(there.upstream.asked[1])
            assert not any("Placeholder" in name for name in there.upstream.asked[1].tool_names)

    play(test())


def test_a_picture_that_claude_code_reads_is_seen(tmp_path: Path, claude: Path):
    """It comes in the result of a tool."""

    def script(asked: Asked) -> Turn:
        seen = "data:image/png;base64," in asked.text
        return TEXT if seen else Call("Read", {"file_path": str(tmp_path / "work/picture.png")})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to="chat") as there:
            (there.work / "picture.png").write_bytes(base64.b64decode(PICTURE))
            ended = await run(there, claude)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert len(there.upstream.asked) == 2

    play(test())


def test_an_agent_of_claude_code_has_its_own_conversation(tmp_path: Path, claude: Path):
    """And what it finds comes back to the first."""
    task = {"description": "Count", "prompt": "Count the files.", "subagent_type": "general-purpose"}

    def script(asked: Asked) -> Turn:
        if PROMPT not in asked.text:
            return "Three files."
        return TEXT if "Three files." in asked.text else Call("Agent", task | {"run_in_background": False})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to="chat") as there:
            ended = await run(there, claude)

            assert ended.status == 0, ended
            assert ended.out.endswith(f"{TEXT}\n")
            assert task["prompt"] in there.upstream.asked[1].text
            assert PROMPT not in there.upstream.asked[1].text

    play(test())


@pytest.mark.parametrize(
    ("dialect", "told"), [("messages", "web_search"), ("responses", "web_search"), ("gemini", "googleSearch")]
)
def test_claude_code_searches_the_web_where_the_upstream_does(
    tmp_path: Path, claude: Path, dialect: str, told: str
):
    """In its own form."""
    searches: list[Asked] = []

    def script(asked: Asked) -> Turn:
        if len(asked.tools) == 1:
            searches.append(asked)
            return "Found."
        if searches:
            return TEXT
        if "WebSearch" in asked.tool_names:
            return Call("WebSearch", {"query": "antiphon"})
        return Call("ToolSearch", {"query": "select:WebSearch", "max_results": 5})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to=dialect) as there:
            ended = await run(there, claude)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert told in json.dumps(searches[0].body["tools"])

    play(test())


def test_the_model_is_told_that_nobody_searches_the_web(tmp_path: Path, claude: Path):
    """And goes on."""

    def script(asked: Asked) -> Turn:
        if "is not available" in asked.text:
            return TEXT
        if "WebSearch" in asked.tool_names:
            return Call("WebSearch", {"query": "antiphon"})
        return Call("ToolSearch", {"query": "select:WebSearch", "max_results": 5})

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to="chat") as there:
            ended = await run(there, claude)

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert "The tool type 'web_search' is not available" in last(there.upstream.asked[-1])

    play(test())


@pytest.mark.parametrize("dialect", ["chat", "messages", "gemini"])
def test_claude_code_counts_its_context(tmp_path: Path, claude: Path, dialect: str):
    """By the upstream where that counts; within the window that the page's settings have."""

    async def test() -> None:
        async with behind(tmp_path, lambda _: TEXT, aliases=(MODEL,), to=dialect) as there:
            ended = await run(there, claude, prompt="/context")

            assert ended.status == 0, ended
            assert "/ 128k" in ended.out
            assert {heard.path for heard in there.heard} == {b"/v1/messages/count_tokens"}
            assert bool(there.upstream.others) == (dialect != "chat")
            assert (f"{COUNTED / 1000:.1f}k" in ended.out) == (dialect != "chat")

    play(test())


def test_claude_code_answers_with_json_of_a_schema(tmp_path: Path, claude: Path):
    """It has a tool for that."""
    schema = {"type": "object", "properties": {"made": {"type": "string"}}, "required": ["made"]}
    answer = Call("StructuredOutput", {"made": "a file"})

    async def test() -> None:
        async with behind(tmp_path, lambda _: answer, aliases=(MODEL,), to="chat") as there:
            ended = await run(there, claude, ("--output-format", "json", "--json-schema", json.dumps(schema)))

            assert json.loads(ended.out)["structured_output"] == answer.arguments

    play(test())


def test_claude_code_goes_on_with_a_session(tmp_path: Path, claude: Path):
    """From its own files, which keep no reasoning."""

    async def test() -> None:
        async with behind(tmp_path, call_then_say(SHELL, MADE, TEXT), aliases=(MODEL,), to="gemini") as there:
            await run(there, claude)
            ended = await run(there, claude, ("--continue",))

            assert (ended.status, ended.out.strip()) == (0, TEXT), ended
            assert there.upstream.asked[-1].text.count(f'"{PROMPT}"') == 2
            assert MADE in there.upstream.asked[-1].text

    play(test())


def test_claude_code_sums_up_a_long_session(tmp_path: Path, claude: Path):
    """By asking the model for a summary; the session goes on with that."""
    summary = "A file was made, and that was all."

    def script(asked: Asked) -> Turn:
        return f"<summary>{summary}</summary>" if "<summary>" in last(asked) else TEXT

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to="chat") as there:
            await run(there, claude)
            compacted = await run(there, claude, ("--continue",), prompt="/compact")
            ended = await run(there, claude, ("--continue",), prompt="And now?")

            assert (compacted.status, ended.status, ended.out.strip()) == (0, 0, TEXT), (compacted, ended)
            assert len(there.upstream.asked) == 3
            assert summary in there.upstream.asked[-1].text

    play(test())


def test_claude_code_says_which_model_there_is_not(tmp_path: Path, claude: Path):
    """At once: it is no error that goes away."""

    async def test() -> None:
        async with behind(tmp_path, lambda _: TEXT) as there:
            ended = await run(there, claude, model="nobody/knows")

            assert ended.status == 1
            assert "nobody/knows" in ended.out
            assert len(there.heard) <= 2

    play(test())
