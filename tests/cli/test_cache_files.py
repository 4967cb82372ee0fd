"""Entries of the cache that are exported from one gateway and imported by another."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from antiphon.cli import cli
from antiphon.drivers.simulator import Answer, Simulator, samples
from antiphon.settings import Cache, Key, Secret
from e2e.plain_client import plain_client
from serving import serving, settings_for

BODY = samples.responses_body(1200)
STREAM = samples.chat_frames(8, usage=True)
RESPONSE = {"model": "up/gpt-test", "input": "Hi", "metadata": {"for": "this"}}
CHAT = {"model": "up/gpt-test", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
KEYS = tuple(Key(name=name, key=Secret(f"key-of-{name}")) for name in ("alice", "bob"))


def answers(received):
    return Answer(frames=STREAM) if b"messages" in received.body else Answer(body=BODY)


async def asked(folder, upstream_url, *names, tag="keep"):
    """Ask both questions in the name of each; the cache results and the bodies."""
    settings = settings_for(folder, upstream_url, cache=Cache(ttl=600), keys=KEYS)
    told = []
    async with serving(settings) as running, plain_client(running.port) as client:
        for name in names:
            for path, body in (("/v1/responses", RESPONSE), ("/v1/chat/completions", CHAT)):
                headers = {"Authorization": f"Bearer key-of-{name}", "X_Antiphon_Cache_Tag": tag}
                answer = await client.post(path, body, **headers)
                told.append((answer.is_hit, answer.body))
    return told


def run(folder, *command):
    config = folder / "antiphon.yaml"
    config.write_text(
        json.dumps(
            {
                "providers": {"up": {"type": "openai"}},
                "storage": {"url": f"sqlite:///{folder}/antiphon.db"},
                "cache": {},
            }
        )
    )
    return CliRunner().invoke(cli, ["cache", *map(str, command), "--config", str(config)])


@pytest.fixture
def exported(tmp_path):
    """A folder of what one gateway has in its cache: a response and a stream, each of alice's and bob's."""

    async def fill():
        async with Simulator(answers) as simulator:
            await asked(tmp_path, simulator.base_url, "alice", "bob")

    asyncio.run(fill())
    return tmp_path / "entries"


def ask_elsewhere(folder, *names):
    """Ask a gateway whose upstream has other answers."""

    async def ask():
        async with Simulator(Answer(status=500)) as simulator:
            return await asked(folder, simulator.base_url, *names)

    return asyncio.run(ask())


def test_an_imported_entry_is_a_hit_for_the_same_request_and_scope(tmp_path, exported):
    """Byte for byte, streams and JSON, for nobody else."""
    done = run(tmp_path, "export", exported)
    assert (done.exit_code, done.output) == (0, f"antiphon: {exported}: 4 exported\n")
    for path in exported.glob("*.json"):
        if "key:bob" in path.read_text():
            path.unlink()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    done = run(elsewhere, "import", exported)
    assert (done.exit_code, done.output) == (0, f"antiphon: {exported}: 2 imported\n")

    (is_hit, response), (is_streamed_hit, stream) = ask_elsewhere(elsewhere, "alice")
    assert (is_hit, is_streamed_hit) == (True, True)
    assert json.loads(response)["output"] == json.loads(BODY)["output"]
    assert stream == b"".join(frame for frame in STREAM if b'"choices":[]' not in frame)
    assert [is_hit for is_hit, _ in ask_elsewhere(elsewhere, "bob")] == [False, False]


def test_exporting_again_changes_no_byte(tmp_path, exported):
    """The names come from the keys."""
    run(tmp_path, "export", exported)
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    run(tmp_path, "export", exported)

    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert all(name.startswith(("cache-responses-", "cache-chat-")) for name in before)


def test_only_what_is_meant_is_exported(tmp_path, exported):
    """By tag and by model."""
    assert "0 exported" in run(tmp_path, "export", exported, "--tag", "other").output
    assert "4 exported" in run(tmp_path, "export", exported, "--tag", "keep", "--model", "up/gpt-test").output


def test_what_has_expired_comes_back_with_a_new_time(tmp_path, exported):
    """`--ttl`; without it such an entry is left out by number."""
    run(tmp_path, "export", exported)
    for path in exported.iterdir():
        told = json.loads(path.read_text())
        told["cache"]["expires_at"] = "2020-01-01T00:00:00Z"
        path.write_text(json.dumps(told))
    assert "4 left out, since they have expired" in run(tmp_path, "import", exported).output
    (elsewhere := tmp_path / "elsewhere").mkdir()
    assert "4 imported" in run(elsewhere, "import", exported, "--ttl", "1h").output
    assert all(is_hit for is_hit, _ in ask_elsewhere(elsewhere, "alice", "bob"))
    assert run(elsewhere, "import", exported, "--ttl", "soon").exit_code == 2


def test_an_entry_with_a_secret_in_it_is_left_out(tmp_path):
    """Redacted it would be found by nobody, or answer something else."""
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
    told = BODY.replace(b"A call, ", secret.encode(), 1)

    async def fill():
        async with Simulator([Answer(body=BODY), Answer(body=told)]) as simulator:
            settings = settings_for(tmp_path, simulator.base_url)
            async with serving(settings) as running, plain_client(running.port) as client:
                for question in (f"My key is {secret}", "What is my key?"):
                    await client.post("/v1/responses", {"model": "up/gpt-test", "input": question})

    asyncio.run(fill())
    assert "2 left out" in run(tmp_path, "export", tmp_path / "entries").output
    assert not (tmp_path / "entries").exists()


def test_a_folder_with_a_broken_file_says_which(tmp_path):
    """Exit code 2."""
    (tmp_path / "broken.json").write_text("{")
    done = run(tmp_path, "import", tmp_path)

    assert done.exit_code == 2
    assert "antiphon.yaml" not in done.output
    assert ".json is not a recorded exchange" in done.output
