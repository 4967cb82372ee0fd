"""`antiphon check` as a process: what it writes, and how it ends."""

import asyncio
import contextlib
import json
import os
import pty
import re
import socket
import sqlite3
import subprocess
import sys

import pytest

from antiphon.drivers.simulator import Answer, Simulator, refused_base_url
from antiphon.drivers.simulator.samples import chat_frames
from antiphon.wire.sse import DONE
from certificates import authority
from serving import serving, settings_for
from waiting import PATIENCE

KEY = "sk-this-must-not-be-shown"
SECRETS = (KEY, "key-of-alice", "admin-secret", "header-secret")
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
CHAT = Answer(frames=[*chat_frames(5)[:-1], b"data: %b\n\n" % json.dumps(USAGE).encode(), DONE])
MODELS = Answer(body=b'{"data": [{"id": "llama"}, {"id": "other"}]}')


def healthy(received):
    return MODELS if received.path.endswith("/models") else CHAT


def configure(folder, base_url, **sections):
    """Write a configuration file; sections are JSON, which YAML is too."""
    config = {
        "server": {"port": 0},
        "providers": {"up": {"type": "openai-chat", "base_url": base_url, "api_key": "${UP_KEY}"}},
        "models": {"fast": {"target": "up/llama"}},
        **sections,
    }
    (folder / "antiphon.yaml").write_text(json.dumps(config, indent=1))


async def check(folder, *arguments, **environ):
    """Run the command in `folder`: its exit code, standard output and standard error."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antiphon", "check", *arguments,
        cwd=folder, env={**kept, "UP_KEY": KEY, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        out, err = (data.decode() for data in await process.communicate())
    for secret in SECRETS:
        assert secret not in out + err
    return process.returncode, out, err


def newer(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE t (a)")


def checked(folder, *arguments, **environ):
    return asyncio.run(check(folder, *arguments, **environ))


def checked_with(answers, folder, *arguments, **sections):
    """Run the command with a simulated provider."""

    async def main():
        async with Simulator(answers) as upstream:
            configure(folder, upstream.base_url, **sections)
            return await check(folder, *arguments), len(upstream.calls)

    return asyncio.run(main())


def verdicts(out):
    """The verdict of each step in plain text."""
    found = re.findall(r"^  (ok|failed|skipped) +(\w+) ", out, re.MULTILINE)
    return {name: verdict for verdict, name in found}


def test_all_is_well(tmp_path):
    """Exit code 0; each step on a line of its own, no escape codes, nothing on standard error, nothing made."""
    (status, out, err), calls = checked_with(healthy, tmp_path)

    assert (status, err, calls) == (0, "", 2)
    assert set(verdicts(out).values()) == {"ok"}
    assert list(verdicts(out)) == [
        *("settings", "storage", "port", "keys", "clients"),
        *("reachable", "key", "dialect", "models", "answer"),
    ]
    assert "\x1b" not in out
    assert "All is well: 10 steps are ok." in out
    assert "antiphon.db would be made" in out
    assert [path.name for path in tmp_path.iterdir()] == ["antiphon.yaml"]


def test_something_failed(tmp_path):
    """Exit code 1, and it is counted."""
    with refused_base_url() as base_url:
        configure(tmp_path, base_url)
        status, out, err = checked(tmp_path)

    assert (status, err) == (1, "")
    assert verdicts(out)["reachable"] == "failed"
    assert out.endswith("1 of 10 steps failed, 4 were skipped.\n")


def test_settings_are_shown_with_where_they_come_from_and_without_secrets(tmp_path):
    """The line of the file, the variables that went in, and defaults on demand."""
    sections = {
        "admin": {"key": "admin-secret"},
        "keys": [{"name": "alice", "key": "key-of-alice"}],
    }
    (_, short, _), _ = checked_with(healthy, tmp_path, "--offline", **sections)
    _, long, _ = checked(tmp_path, "--offline", "--defaults")

    assert re.search(r"providers\.up\.api_key = \*\*\* +antiphon\.yaml:9 \(UP_KEY\)\n", short)
    assert re.search(r"keys\[0\]\.key = \*\*\* +antiphon\.yaml:\d+\n", short)
    assert "log.level" not in short
    assert re.search(r"log\.level = info +default\n", long)


def test_a_header_is_a_secret_too(tmp_path):
    """And an upstream that repeats what it was sent tells nobody."""

    def echo(received):
        said = f"{received.headers['authorization']} {received.headers['x-api-key']}"
        return Answer(500, body=json.dumps({"error": {"message": said}}).encode())

    async def main():
        async with Simulator(echo) as upstream:
            provider = {
                "type": "openai-chat",
                "base_url": upstream.base_url,
                "api_key": "${UP_KEY}",
                "headers": {"x-api-key": "header-secret"},
            }
            configure(tmp_path, upstream.base_url, providers={"up": provider})
            return await check(tmp_path), await check(tmp_path, "--json")

    (status, out, _), (_, as_json, _) = asyncio.run(main())

    assert status == 1
    assert "Bearer [redacted] [redacted]" in out
    assert "[redacted]" in as_json


def test_json_for_machines(tmp_path):
    """The same in one object."""
    (status, out, err), _ = checked_with(healthy, tmp_path, "--json")
    report = json.loads(out)

    assert (status, err, report["ok"]) == (0, "", True)
    steps = {step["step"]: step for step in report["providers"]["up"]["steps"]}
    assert list(steps) == ["reachable", "key", "dialect", "models", "answer"]
    assert steps["models"]["count"] == 2
    assert (steps["answer"]["model"], steps["answer"]["output_tokens"]) == ("llama", 2)
    settings = {setting["path"]: setting for setting in report["settings"]}
    assert settings["providers.up.api_key"] == {
        "path": "providers.up.api_key",
        "value": "***",
        "redacted": True,
        "origin": "antiphon.yaml:9 (UP_KEY)",
    }
    assert settings["server.host"]["origin"] == "default"


def test_offline_asks_nobody(tmp_path):
    """The providers are skipped, but for those that need no network."""
    (status, out, _), calls = checked_with(
        healthy,
        tmp_path,
        "--offline",
        providers={
            "up": {"type": "openai-chat", "base_url": "http://127.0.0.1:9/v1"},
            "tape": {"type": "playback", "cassette": "builtin:demo"},
        },
    )

    up, tape = out.split("Provider ")[1:]
    assert (status, calls) == (0, 0)
    assert set(verdicts(up).values()) == {"skipped"}
    assert verdicts(tape)["answer"] == "ok"


def test_one_provider_and_one_model(tmp_path):
    """Others are not asked."""
    up = {"type": "openai-chat", "api_key": "${UP_KEY}"}

    async def main():
        async with Simulator(healthy) as one, Simulator(healthy) as two:
            providers = {
                "one": {**up, "base_url": one.base_url},
                "two": {**up, "base_url": two.base_url},
            }
            configure(tmp_path, "", providers=providers, models={})
            ended = await check(tmp_path, "--provider", "two", "--model", "two/other")
            return ended, len(one.calls), json.loads(two.calls[1].body)["model"]

    (status, out, _), asked, model = asyncio.run(main())

    assert (status, asked, model) == (0, 0, "other")
    assert "Provider one" not in out


def test_without_a_file(tmp_path):
    """What stands in for it is said."""
    demo = checked(tmp_path)
    with refused_base_url() as base_url:
        status, out, _ = checked(tmp_path, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=base_url)

    assert demo[0] == 0
    assert "so the demo cassette is played" in demo[1]
    assert status == 1
    assert "providers are taken from the environment (OPENAI_API_KEY, OPENAI_BASE_URL)" in out
    assert re.search(r"providers\.openai\.api_key = \*\*\* +OPENAI_API_KEY\n", out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--provider", "upp"), "no provider 'upp' is configured; did you mean 'up'?"),
        (("--model", "else/where"), "no provider 'else' is configured; there is up"),
        (("--model", "up"), "expected PROVIDER/MODEL"),
        (("--timeout", "0"), "expected a duration"),
        (("--timeout", "soon"), "expected a duration"),
        (("--config", "absent.yaml"), "absent.yaml"),
        (("more",), "more"),
    ],
)
def test_a_usage_error_is_exit_code_2(tmp_path, arguments, said):
    """Nobody is asked."""
    configure(tmp_path, "http://127.0.0.1:9/v1")
    status, out, err = checked(tmp_path, *arguments)

    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_an_unusable_configuration_is_exit_code_2(tmp_path):
    """One line for a person; an object for a machine too."""
    (tmp_path / "antiphon.yaml").write_text("server: {prot: 80}\n")
    status, out, err = checked(tmp_path, "--json")

    assert status == 2
    assert err.startswith("antiphon: antiphon.yaml:1:10: unknown key 'prot'")
    assert json.loads(out) == {"ok": False, "error": err.removeprefix("antiphon: ").strip()}


def test_a_cassette_that_is_not_there_fails(tmp_path):
    """With the sentence that `antiphon serve` would have said."""
    configure(tmp_path, "", providers={"tape": {"type": "playback", "cassette": "./absent"}}, models={})
    status, out, _ = checked(tmp_path)

    assert status == 1
    assert re.search(r"failed +reachable +providers\.tape: The cassette './absent' cannot be read", out)


def test_a_provider_on_the_network_without_a_key(tmp_path):
    """It is said without asking anybody."""
    provider = {"type": "openai", "base_url": "https://api.example.invalid/v1"}
    configure(tmp_path, "", providers={"up": provider}, models={})
    status, out, _ = checked(tmp_path, "--offline")

    assert status == 1
    assert re.search(r"failed +keys +no `api_key` for up", out)


def test_a_certificate_of_an_authority_of_ones_own(tmp_path):
    """The advice helps: with SSL_CERT_FILE it is trusted."""
    tls, file = authority(tmp_path)

    async def main():
        async with Simulator(healthy, tls=tls) as upstream:
            port = upstream.base_url.rpartition(":")[2]
            configure(tmp_path, f"https://localhost:{port}")
            return await check(tmp_path), await check(tmp_path, SSL_CERT_FILE=str(file))

    (status, out, _), (then, _, _) = asyncio.run(main())

    assert (status, then) == (1, 0)
    assert "SSL_CERT_FILE" in out


def test_a_proxy_of_the_environment_is_named(tmp_path):
    """Or else the provider would be searched for what the proxy does; its password is not shown."""
    configure(tmp_path, "http://provider.invalid/v1")
    with refused_base_url() as base_url:
        proxy = base_url.removeprefix("http://").removesuffix("/v1")
        _, out, _ = checked(tmp_path, HTTP_PROXY=f"http://user:header-secret@{proxy}")
    status, broken, _ = checked(tmp_path, HTTP_PROXY="http://user:header-secret:x")

    assert f"nothing listens at the proxy {proxy} (from the environment)" in out
    assert status == 1
    assert "the environment names a proxy that is none" in broken


def test_a_port_that_is_taken(tmp_path):
    """By a gateway that is fine, by another program it is not."""

    async def main():
        async with serving(settings_for(tmp_path, "http://127.0.0.1:9/v1")) as running:
            configure(tmp_path, "http://127.0.0.1:9/v1", server={"port": running.port})
            gateway = await check(tmp_path, "--provider", "up", "--timeout", "1s")
        with socket.create_server(("127.0.0.1", 0)) as other:
            configure(tmp_path, "", server={"port": other.getsockname()[1]}, providers={}, models={})
            return gateway, await check(tmp_path, "--offline")

    (_, gateway, _), (status, other, _) = asyncio.run(main())

    assert re.search(r"ok +port +a gateway answers at 127\.0\.0\.1:\d+ already", gateway)
    assert re.search(r"ok +storage +antiphon\.db is there", gateway)
    assert status == 1
    assert re.search(r"failed +port +127\.0\.0\.1:\d+ is taken by another program", other)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_text("no database" * 99), "file is not a database"),
        (lambda file: file.mkdir(), "cannot be opened"),
        (newer, "schema version 99"),
    ],
    ids=["text", "folder", "newer"],
)
def test_storage_that_cannot_be_opened(tmp_path, make, said):
    """And nothing is changed by looking."""
    make(tmp_path / "antiphon.db")
    configure(tmp_path, "", providers={}, models={})
    before = sorted(path.name for path in tmp_path.iterdir())
    status, out, _ = checked(tmp_path, "--offline")

    assert status == 1
    assert re.search(rf"failed +storage +storage\.url: antiphon\.db .*{said}", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_storage_in_a_folder_that_is_not_there(tmp_path):
    """SQLite makes files, not folders."""
    configure(tmp_path, "", providers={}, models={}, storage={"url": "sqlite:///no/such/folder.db"})
    status, out, _ = checked(tmp_path, "--offline")

    assert status == 1
    assert "there is no such folder" in out


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_and_wrapped_lines(tmp_path, environ, coloured):
    """Unless it does not want them."""
    ours, theirs = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    env = {**kept, "COLUMNS": "70", "TERM": "xterm", "PYTHONUTF8": "1", **environ}
    command = (sys.executable, "-m", "antiphon", "check", "--offline")
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:
            pass  # what Linux says when the last writer has gone
        os.close(ours)

    plain = re.sub(r"\x1b\[[0-9;]*m", "", written.decode())
    assert process.returncode == 0, plain
    assert (b"\x1b[32m" in written) is coloured
    assert max(map(len, plain.splitlines())) <= 70


def test_a_redis_that_answers_and_one_that_does_not(tmp_path, redis_server):
    """The gateway would run without; whoever has configured it wants to know."""
    configure(tmp_path, "", providers={}, models={}, redis={"url": redis_server.url})
    _, out, _ = asyncio.run(check(tmp_path))
    assert re.search(r"ok +redis +it answers", out)
    redis_server.kill()
    status, out, _ = asyncio.run(check(tmp_path))
    assert status == 1
    assert re.search(r"failed +redis +redis\.url: nobody answers there", out)
