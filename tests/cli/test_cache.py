"""`antiphon cache`, as a user runs it: before a gateway that runs, and where none does."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.drivers.simulator.samples import chat_body
from cli.served import serving
from e2e.plain_client import plain_client
from waiting import PATIENCE, eventually

CHAT = "/v1/chat/completions"
ADMIN = {"admin": {"key": "admin-key"}}
CACHE = {"cache": {"lookup_timeout": 10, "memory": {"trust": 2}}}


def run(scenario):
    async def within_reason():
        async with asyncio.timeout(PATIENCE):
            await scenario

    asyncio.run(within_reason())


async def antiphon(folder, *arguments, **environ):
    """Run `antiphon cache` in a folder; return its exit code and what it wrote."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "antiphon", "cache", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**inherited, **environ},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def ask(client, text="Hi"):
    return await client.post(CHAT, {"model": "up/gpt-test", "messages": [{"role": "user", "content": text}]})


@contextlib.asynccontextmanager
async def gateway(folder, *arguments, **sections):
    async with (
        Simulator(Answer(body=chat_body(700))) as upstream,
        serving(folder, upstream.base_url, *arguments, **{**CACHE, **sections}) as served,
    ):
        yield served, upstream


def test_orders_go_to_the_gateway_that_runs(tmp_path):
    async def scenario():
        async with gateway(tmp_path, **ADMIN) as (served, _), plain_client(served.port) as client:
            for text in ("one", "two\x1b[31m"):
                await ask(client, text)
            at = ("--url", f"http://127.0.0.1:{served.port}")
            key = {"ANTIPHON_ADMIN_KEY": "admin-key"}
            code, out, err = await antiphon(tmp_path, "list", *at, **key)
            assert (code, err) == (0, "")
            head, *rows = out.splitlines()
            assert head.split() == ["KEY", "MODEL", "AGE", "TTL", "TAGS", "PROMPT"]
            assert [row.split()[-1] for row in rows] == ["[31m", "one"]
            assert "\x1b" not in out
            digest = rows[1].split()[0]
            code, out, _ = await antiphon(tmp_path, "pin", "--key", digest, *at, **key)
            assert (code, out) == (0, "1 entry pinned.\n")
            code, out, _ = await antiphon(tmp_path, "purge", "--all", "--dry-run", *at, **key)
            assert (code, out) == (0, "1 entry would be purged.\n")
            code, out, _ = await antiphon(tmp_path, "purge", "--all", "--json", *at, **key)
            assert (code, json.loads(out)) == (0, {"removed": 1})
            assert (await ask(client, "one")).is_hit
            code, out, _ = await antiphon(tmp_path, "unpin", "--key", digest, *at, **key)
            assert (code, out) == (0, "1 entry unpinned.\n")
            code, out, _ = await antiphon(tmp_path, "stats", "--json", *at, **key)
            assert json.loads(out)["memory"]["models"]["up/gpt-test"]["entries"] == 1
            code, out, _ = await antiphon(tmp_path, "stats", *at, **key)
            assert "memory  up/gpt-test  1" in out
            code, out, _ = await antiphon(tmp_path, "wrong", "--key", digest, *at, **key)
            assert (code, out) == (0, "1 entry removed.\n")
            assert not (await ask(client, "one")).is_hit

    run(scenario())


def test_what_is_wrong_is_one_line_and_an_exit_code(tmp_path):
    async def scenario():
        async with gateway(tmp_path, **ADMIN) as (served, _):
            at = ("--url", f"http://127.0.0.1:{served.port}")
            key = {"ANTIPHON_ADMIN_KEY": "admin-key"}
            for arguments, environ, code, said in [
                (("purge", *at), key, 2, "Nothing says what to purge"),
                (("purge", "--tag", "a\nb", *at), key, 2, "control character"),
                (("purge", "--older-than", "soon", *at), key, 2, "older_than"),
                (("purge", "--all", *at), {"ANTIPHON_ADMIN_KEY": "wrong"}, 1, "admin key is needed"),
                (("purge", "--all", "--url", "http://127.0.0.1:9"), key, 1, "nobody answers"),
                (("purge", "--all", "--url", "ftp://host"), key, 2, "--url"),
                (("pin", "--key", "00" * 16, *at), key, 1, "No such answer"),
                (("stats", "--config", "elsewhere.yaml"), {}, 2, "elsewhere.yaml"),
            ]:
                got, out, err = await antiphon(tmp_path, *arguments, **environ)
                assert (got, out) == (code, ""), (arguments, err)
                (line,) = err.splitlines()
                assert line.startswith("antiphon: ")
                assert said in line

    run(scenario())


def test_where_no_gateway_runs_it_is_done_in_storage(tmp_path):
    async def scenario():
        async with gateway(tmp_path) as (served, _), plain_client(served.port) as client:
            for text in ("one", "two"):
                await ask(client, text)
            await served.stop()
        code, out, err = await antiphon(tmp_path, "stats")
        assert (code, err) == (0, "")
        assert "stored  up/gpt-test  2" in out
        code, out, _ = await antiphon(tmp_path, "purge", "--prompt", "one")
        assert (code, out) == (0, "1 entry purged.\n")
        code, out, _ = await antiphon(tmp_path, "list", "--json")
        assert [entry["prompt"] for entry in json.loads(out)["data"]] == ["two"]
        (tmp_path / "antiphon.db").rename(tmp_path / "moved.db")
        code, out, err = await antiphon(tmp_path, "purge", "--all")
        assert (code, out) == (2, "")
        assert "does not exist" in err
        assert not (tmp_path / "antiphon.db").exists()

    run(scenario())


def test_what_is_done_in_storage_reaches_gateways_that_have_no_admin_key(tmp_path):
    """Every worker of them, before the command is over."""

    async def scenario():
        async with gateway(tmp_path, "--workers", "2") as (served, upstream):
            config = json.loads((tmp_path / "antiphon.yaml").read_text())
            config["server"]["port"] = served.port
            (tmp_path / "antiphon.yaml").write_text(json.dumps(config))
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(plain_client(served.port)) for _ in range(8)]
                await warm(clients)
                code, _, err = await antiphon(tmp_path, "purge", "--all")
                assert (code, err) == (0, "")
                calls = len(upstream.calls)
                assert not (await ask(clients[0])).is_hit
                assert len(upstream.calls) == calls + 1

    run(scenario())


async def warm(clients):
    """Ask over each connection, which belongs to one of the workers, until all of them have the answer."""

    async def all_hit():
        return all([(await ask(client)).is_hit for client in clients])

    await eventually(all_hit)
    await eventually(all_hit)


def workers_of(pid):
    """The processes of a gateway."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123
        return [int(child) for child in file.read().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the workers in /proc")
def test_a_worker_that_is_frozen_serves_nothing_purged_when_it_wakes(tmp_path):
    """The purge waits for it no longer than it trusts its memory."""
    cache = {"lookup_timeout": 10, "memory": {"trust": 6}}

    async def scenario():
        async with (
            gateway(tmp_path, "--workers", "3", cache=cache, **ADMIN) as (served, _),
            contextlib.AsyncExitStack() as stack,
        ):
            clients = [await stack.enter_async_context(plain_client(served.port)) for _ in range(24)]
            await warm(clients)
            workers = workers_of(served.process.pid)
            assert len(workers) == 3
            frozen = workers[1]
            os.kill(frozen, signal.SIGSTOP)
            try:
                # Whatever a frozen one is sent, it reads only when it wakes.
                waiting = [asyncio.ensure_future(ask(client)) for client in clients]
                await asyncio.wait(waiting, timeout=3)
                still = [client for client, task in zip(clients, waiting, strict=True) if not task.done()]
                assert 0 < len(still) < len(clients)
                awake = next(client for client in clients if client not in still)
                loop = asyncio.get_running_loop()
                began = loop.time()
                got = await awake.post(
                    "/admin/v1/cache/purge", {"all": True}, Authorization="Bearer admin-key"
                )
                assert (got.status, got.json()) == (200, {"removed": 1})
                assert loop.time() - began < 20
                # A second one does not wait for it again.
                began = loop.time()
                got = await awake.post(
                    "/admin/v1/cache/purge", {"all": True}, Authorization="Bearer admin-key"
                )
                assert (got.status, loop.time() - began < 4) == (200, True)
            finally:
                os.kill(frozen, signal.SIGCONT)
            got = await asyncio.gather(*waiting)
            assert not any(
                answer.is_hit for answer, client in zip(got, clients, strict=True) if client in still
            )

    run(scenario())
