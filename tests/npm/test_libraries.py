"""The libraries for Node in front of every upstream: the programs are those of the page."""

import shutil
from pathlib import Path

import pytest

from docs.page import ROOT, blocks
from npm.behind import behind, play
from npm.installed import LIBRARIES, installed
from npm.scripted import DIALECTS, SIGNATURE, SIGNED, Asked, Call, Turn

pytestmark = pytest.mark.npm

PAGE = {block.mark.removeprefix("file="): block for block in blocks(ROOT / "docs/clients/node.md")}
MODEL = "fast"
"""The one on the page."""
CALL = Call("weather", {"city": "Oslo"})
TEXT = "It rains in Oslo."
WITHOUT_TOOLS = "Hello to you."
SAID = {
    "openai.mjs": [
        ("responses.create", WITHOUT_TOOLS),
        ("responses.stream", TEXT),
        ("chat.completions.create", WITHOUT_TOOLS),
        ("chat.completions.runTools", TEXT),
    ],
    "anthropic.mjs": [
        ("messages.create", WITHOUT_TOOLS),
        ("messages.stream", TEXT),
        ("messages.countTokens", "true"),
    ],
    "ai-sdk.mjs": [
        (f"{name}, {function}", text)
        for name in ("openai", "openai.chat", "anthropic", "openai-compatible")
        for function, text in (("generateText", WITHOUT_TOOLS), ("streamText", TEXT))
    ],
}


def script(asked: Asked) -> Turn:
    if not asked.tools:
        return WITHOUT_TOOLS
    return TEXT if "rain in Oslo" in asked.text else CALL


@pytest.fixture(scope="session")
def libraries() -> Path:
    return installed(LIBRARIES)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("program", SAID)
def test_a_program_says_the_same_in_front_of_every_upstream(
    tmp_path: Path, libraries: Path, program: str, dialect: str
):
    """With an answer at once and streamed, and with a tool that is called."""

    async def test() -> None:
        async with behind(tmp_path, script, aliases=(MODEL,), to=dialect) as there:
            (there.work / "node_modules").symlink_to(libraries / "node_modules")
            (there.work / program).write_text(there.here(PAGE[program].text))
            node = shutil.which("node")
            assert node is not None
            ended = await there.run((node, program), {"ANTIPHON_KEY": "any"})

            assert ended.status == 0, ended
            assert ended.out.splitlines() == [f"{what}: {said}" for what, said in SAID[program]]
            after = [asked for asked in there.upstream.asked if "rain in Oslo" in asked.text]
            assert any(SIGNATURE in asked.text for asked in after) == (dialect in SIGNED)

    play(test())


def test_the_page_names_the_versions_that_were_run():
    """All of them."""
    named = next(block for block in PAGE.values() if block.text.startswith("npm install")).text

    assert set(LIBRARIES.versions) <= set(named.split())
