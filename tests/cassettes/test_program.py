"""`antiphon record` and `antiphon replay` around real programs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cassettes.upstreams import KEY, upstreams
from scripted import scenarios
from waiting import PATIENCE

AGENT = Path(__file__).parent / "weather_agent.py"
ASK = """
import json, os, sys, urllib.request
for question in sys.argv[1:]:
    body = json.dumps({"model": "gpt-5.2", "input": question}).encode()
    try:
        with urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/responses", body) as answer:
            print(json.load(answer)["output"][0]["content"][0]["text"], flush=True)
    except urllib.error.HTTPError as error:
        print(error.code, json.load(error)["error"]["message"], flush=True)
"""
"""Nothing but the standard library: what is quick to start is quick to test."""


RECORD = (sys.executable, "-m", "antiphon", "record", "--cassette", "tape", "--")


def antiphon(*arguments, folder, environ=None, **options):
    """Run the command line in an environment that has nothing of ours but what is given."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        (sys.executable, "-m", "antiphon", *map(str, arguments)),
        cwd=folder,
        env={**kept, "HOME": str(folder), "OPENAI_AGENTS_DISABLE_TRACING": "1", **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )


def record(folder, upstream, *command, options=()):
    return antiphon(
        "record", "--cassette", "tape", *options, "--", *command, folder=folder, environ=upstream.environ
    )


def ask(*questions):
    return (sys.executable, "-c", ASK, *questions)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "tape").iterdir()}


def test_an_agent_with_tools_says_offline_what_it_said_when_it_was_recorded(tmp_path):
    """The same output and exit code with the upstream gone; each recording is used once; its files hold no key."""
    program = (sys.executable, AGENT)
    with upstreams() as upstream, upstream.scripted.playing(scenarios.tool):
        recorded = record(tmp_path, upstream, *program)
        asked = len(upstream.scripted.calls)
    replayed = antiphon("replay", "--cassette", "tape", "--strict", "--", *program, folder=tmp_path)

    assert (recorded.returncode, recorded.stdout) == (3, replayed.stdout), recorded.stderr
    assert "It is sunny in Rome." in recorded.stdout
    assert "antiphon: tape: 4 recorded" in recorded.stderr
    assert (replayed.returncode, replayed.stderr) == (3, "antiphon: tape: 4 played\n")
    assert asked == 4
    assert [name[:4] for name in sorted(files(tmp_path))] == ["0001", "0002", "0003", "0004"]
    assert not any(KEY.encode() in data for data in files(tmp_path).values())


def test_recording_twice_changes_no_byte(tmp_path):
    """Names and contents are the same, times too: git has nothing to show."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        assert record(tmp_path, upstream, *ask("One", "Two", "One")).returncode == 0
        first = files(tmp_path)
        assert record(tmp_path, upstream, *ask("One", "Two", "One")).returncode == 0

    assert files(tmp_path) == first
    assert len(first) == 3


def test_what_is_no_longer_asked_is_gone_after_recording_again(tmp_path):
    """`record` replaces a cassette."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tmp_path, upstream, *ask("One", "Two"))
        before = files(tmp_path)
        record(tmp_path, upstream, *ask("One"))

    assert list(files(tmp_path)) == [min(before)]


def test_a_run_that_asks_nobody_destroys_nothing(tmp_path):
    """As when a program fails before its first request."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tmp_path, upstream, *ask("One"))
        before = files(tmp_path)
        failed = record(tmp_path, upstream, sys.executable, "-c", "raise SystemExit(9)")

    assert (failed.returncode, files(tmp_path)) == (9, before)


def test_only_what_is_missing_is_recorded(tmp_path):
    """`--mode new` asks for the rest, `--mode once` for nothing once there is something."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tmp_path, upstream, *ask("One"))
        new = record(tmp_path, upstream, *ask("One", "Two"), options=("--mode", "new"))
        once = record(tmp_path, upstream, *ask("One", "Three"), options=("--mode", "once"))
        asked = len(upstream.scripted.calls)

    assert "1 recorded, 1 played" in new.stderr
    assert asked == 2
    assert 'differs in `input` (recorded "One", asked "Three")' in once.stdout


def test_without_anybody_to_record_from_it_says_what_to_do(tmp_path):
    """Exit code 2, before the program has begun."""
    ended = antiphon("record", "--cassette", "tape", "--", "touch", "begun", folder=tmp_path)

    assert ended.returncode == 2
    assert "set one of OPENAI_API_KEY, ANTHROPIC_API_KEY" in ended.stderr
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize(("command", "status"), [("/no/such/program", 127), ("/dev/null", 126)])
def test_a_command_that_cannot_be_run_is_named(tmp_path, command, status):
    """With the exit code that a shell has for it."""
    ended = antiphon("replay", "--cassette", "tape", "--", command, folder=tmp_path)

    assert ended.returncode == status
    assert f"antiphon: {command}: " in ended.stderr


def test_a_killed_recording_leaves_whole_files_only(tmp_path):
    """What had been answered before the kill is there, and plays."""
    loop = ASK.replace("sys.argv[1:]", "map(str, range(100000))")
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        process = subprocess.Popen(
            (*RECORD, sys.executable, "-c", loop),
            cwd=tmp_path,
            env={**os.environ, **upstream.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "tape").exists() or len(list((tmp_path / "tape").glob("*.json"))) < 5:
            assert time.monotonic() < deadline
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    replayed = antiphon("replay", "--cassette", "tape", "--", *ask("0", "4"), folder=tmp_path)
    assert replayed.stdout == f"{scenarios.TEXT}\n" * 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 7), (signal.SIGKILL, 128 + 9)])
def test_a_program_that_is_told_to_stop_is_told_so_and_waited_for(tmp_path, number, status):
    """SIGTERM is passed on; the exit code is that of a shell, and what was recorded stays."""
    program = f"""{ASK}
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), flush=True)
signal.pause()
"""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        process = subprocess.Popen(
            (*RECORD, sys.executable, "-c", program, "One"),
            cwd=tmp_path,
            env={**os.environ, **upstream.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == f"{scenarios.TEXT}\n"
        child = int(process.stdout.readline())
        os.kill(process.pid if number == signal.SIGTERM else child, number)
        _, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, said) == (status, "antiphon: tape: 1 recorded\n")
    assert len(files(tmp_path)) == 1


def test_a_fault_can_be_planned_for_a_replay(tmp_path):
    """The second request fails, the others do not."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tmp_path, upstream, *ask("One", "Two"))
    ended = antiphon(
        "replay", "--cassette", "tape", "--fault", "2:503", "--", *ask("One", "Two", "One"), folder=tmp_path
    )

    assert ended.stdout.splitlines() == [
        scenarios.TEXT,
        "503 The status 503 was planned for this request.",
        scenarios.TEXT,
    ]


def test_a_cassette_is_served_without_a_command(tmp_path):
    """It says what to set in the shell of the program."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tmp_path, upstream, *ask("One"))
    process = subprocess.Popen(
        (sys.executable, "-m", "antiphon", "replay", "--cassette", "tape", "--port", "0"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(4)]
        variables = dict(line.split()[1].split("=", 1) for line in lines if "export" in line)
        said = subprocess.run(
            ask("One"), env={**os.environ, **variables, "OPENAI_API_KEY": "x"}, capture_output=True
        )
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=PATIENCE)
    assert (said.stdout.decode(), process.returncode) == (f"{scenarios.TEXT}\n", 0), rest
