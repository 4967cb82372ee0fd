"""The official library for Node with answers that are kept, in front of every upstream."""

import shutil
from pathlib import Path

import pytest

from npm.behind import behind, play
from npm.installed import LIBRARIES, installed
from npm.scripted import DIALECTS, Asked, Turn

pytestmark = pytest.mark.npm

PROGRAM = Path(__file__).with_name("background.mjs")
SAID = [
    "created: queued",
    "polled: Hello to you.",
    "resumed: true",
    "ended: Hello to you.",
    "stream: Hello to you.",
    "continued: true",
    "items: Say it again. | Hello to you. | And now?",
    "cancelled: completed",
    "deleted: 404",
]


def script(asked: Asked) -> Turn:
    return "Hello to you."


@pytest.mark.parametrize("dialect", DIALECTS)
def test_kept_answers_are_polled_resumed_continued_and_deleted(tmp_path: Path, dialect: str):
    """As its users would do it; what has ended is no longer cancelled."""
    libraries = installed(LIBRARIES)

    async def test() -> None:
        async with behind(tmp_path, script, aliases=("fast",), to=dialect) as there:
            (there.work / "node_modules").symlink_to(libraries / "node_modules")
            (there.work / PROGRAM.name).write_text(there.here(PROGRAM.read_text()))
            node = shutil.which("node")
            assert node is not None
            ended = await there.run((node, PROGRAM.name))

            assert ended.status == 0, ended
            assert ended.out.splitlines() == SAID

    play(test())
