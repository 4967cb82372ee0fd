import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from antiphon.cli.demo import run
from antiphon.cli.demo.gateway import demo_settings
from antiphon.cli.demo.walk import walk

COMMAND = (sys.executable, "-m", "antiphon", "demo")
ESCAPE = "\x1b"


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH"}}
    return {**kept, "PYTHONUTF8": "1", **more}


def hurried(folder, **changes):
    settings = demo_settings(folder)
    tape = structs.replace(settings.providers["tape"], pace="x2")
    return structs.replace(settings, providers={"tape": tape}, **changes)


def on_a_terminal(**more):
    """Run the hurried demo on a terminal of its own, and return what it wrote."""
    ours, theirs = pty.openpty()
    env = environment(COLUMNS="80", LINES="50", TERM="xterm-256color", **more)
    here = str(Path(__file__).parent)
    program = f"import sys; sys.path.insert(0, {here!r}); import test_demo; sys.exit(test_demo.walk(test_demo.hurried))"
    with subprocess.Popen(
        (sys.executable, "-c", program), stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:
            pass  # what Linux says when the last writer has gone
        os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


def test_it_ends_well_as_plain_text_where_it_is_piped(tmp_path):
    """Exit code 0, no escape codes, nothing on standard error, no line wider than 80; proxies and keys are ignored."""
    env = environment(
        HTTP_PROXY="http://127.0.0.1:9", OPENAI_BASE_URL="http://127.0.0.1:9", OPENAI_API_KEY="sk-mine"
    )
    ended = subprocess.run(COMMAND, capture_output=True, text=True, env=env, cwd=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ESCAPE not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert [line for line in ended.stdout.splitlines() if line != line.rstrip()] == []
    assert list(tmp_path.iterdir()) == []
    for said in (
        r"Cache-Status: antiphon; fwd=miss\n",
        r"Cache-Status: antiphon; hit; ttl=\d+; key=\"[0-9a-f]+\"\n",
        r"Cache-Status: antiphon; fwd=miss; collapsed  \(9 times\)\n",
        r"bytes, the same as before but for the response's id and created_at\n",
        r"one upstream call",
        r"Heard: events 0 to 19, then 20 to 102",
        r"1,276 of 1,624 tokens came from recordings: 79% saved\n",
        r"collapsed +9 +1,044 +\$0\.0000 +\$0\.\d{4}\n",
    ):
        assert re.search(said, ended.stdout), said


@pytest.mark.parametrize("columns", [30, 60])
def test_no_line_is_wider_than_the_terminal(columns, monkeypatch, capsys):
    """Everything is wrapped, tables too."""
    monkeypatch.setenv("COLUMNS", str(columns))

    status = walk(hurried)

    assert status == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_a_terminal_without_colour_gets_none():
    """NO_COLOR is respected; what is bold stays bold, and the bars of ten answers grow."""
    written = on_a_terminal(NO_COLOR="1")

    codes = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", written) for code in codes.split(";")}
    assert codes <= {"", "0", "1", "2"}
    assert "━━━" in written


def test_a_check_that_fails_is_said_and_makes_the_exit_code_1(capsys):
    """Without a cache the second answer is no hit."""
    status = walk(lambda folder: hurried(folder, cache=None))

    assert status == 1
    assert "The demo failed: the first answer says" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["openai", "rich"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package, monkeypatch, capsys):
    """Exit code 2, as for every error of use."""
    monkeypatch.setitem(sys.modules, package, None)

    status = run()

    assert status == 2
    assert capsys.readouterr().err == f"antiphon: the demo needs {package}: pip install 'antiphon[demo]'\n"
