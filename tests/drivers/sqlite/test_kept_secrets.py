"""Secrets that the gateway makes for itself, in the file and through the application."""

import asyncio
import contextlib
import itertools
import stat

import pytest

from antiphon.app import Application
from antiphon.drivers.sqlite.kept_secrets import SqliteSecrets
from antiphon.settings import ConfigurationError, Responses, Secret
from antiphon.wire.errors import ClientFault
from drivers.sqlite.opening import change, opened, rows_of, run
from serving import settings_for

SECRET, EARLIER = Secret("s" * 32), Secret("e" * 32)


def numbered():
    numbers = itertools.count()
    return lambda: b"made %d" % next(numbers)


def test_a_secret_is_made_once(tmp_path):
    """The first value stays; each name has its own; nothing is made where one is only looked for."""

    async def scenario():
        make = numbered()
        async with opened(tmp_path) as database:
            secrets = SqliteSecrets(database)
            assert await secrets.stored("a") is None
            assert await secrets.kept("a", make) == b"made 0"
            assert await secrets.kept("a", make) == b"made 0"
            assert await secrets.kept("b", make) == b"made 1"
            assert await secrets.stored("a") == b"made 0"

    run(scenario())


def test_a_secret_is_found_after_a_restart(tmp_path):
    """In the same file, which only its owner can read."""

    async def scenario():
        make = numbered()
        async with opened(tmp_path) as database:
            await SqliteSecrets(database).kept("a", make)
        async with opened(tmp_path) as database:
            assert await SqliteSecrets(database).kept("a", make) == b"made 0"
        assert stat.S_IMODE((tmp_path / "antiphon.db").stat().st_mode) == 0o600

    run(scenario())


def test_workers_that_start_together_agree(tmp_path):
    """Whoever comes first has made the secret of all."""

    async def scenario():
        make = numbered()
        async with contextlib.AsyncExitStack() as stack:
            databases = [await stack.enter_async_context(opened(tmp_path)) for _ in range(4)]
            found = await asyncio.gather(*(SqliteSecrets(database).kept("a", make) for database in databases))
            assert len(set(found)) == 1

    run(scenario())


@contextlib.asynccontextmanager
async def application(folder, **responses):
    application = await Application.open(
        settings_for(folder, "http://127.0.0.1:9", responses=Responses(**responses)), environ={}
    )
    try:
        yield application
    finally:
        await application.stop()


def test_workers_and_restarts_open_what_each_other_sealed(tmp_path):
    """Two gateways on one file have one key, now and later."""

    async def scenario():
        async with application(tmp_path) as one, application(tmp_path) as other:
            text = one.sealer.seal("k", "b", "m", "payload", owner="alice")
            assert other.sealer.open(text, owner="alice").payload == "payload"
        async with application(tmp_path) as later:
            assert later.sealer.open(text, owner="alice").payload == "payload"
            assert later.sealer.seal("k", "b", "m", "payload", owner="alice") != text

    run(scenario())


def test_gateways_on_other_files_have_other_keys(tmp_path):
    """A key is random, not the same for everybody."""

    async def scenario():
        (tmp_path / "other").mkdir()
        async with application(tmp_path) as one, application(tmp_path / "other") as other:
            text = one.sealer.seal("k", "b", "m", None, owner="alice")
            with pytest.raises(ClientFault):
                other.sealer.open(text, owner="alice")

    run(scenario())


def test_a_configured_secret_is_shared_by_hosts_and_can_be_changed(tmp_path):
    """It needs no common file; what was sealed with a kept or an earlier secret still opens, and none is stored."""

    async def scenario():
        (tmp_path / "other").mkdir()
        async with application(tmp_path) as before:
            kept = before.sealer.seal("k", "b", "m", 1, owner="")
        async with application(tmp_path, secret=EARLIER) as host:
            early = host.sealer.seal("k", "b", "m", 2, owner="")
            assert host.sealer.open(kept, owner="").payload == 1
        async with application(tmp_path / "other", secret=SECRET, old_secrets=(EARLIER,)) as other:
            assert other.sealer.open(early, owner="").payload == 2
            late = other.sealer.seal("k", "b", "m", 3, owner="")
        assert rows_of(tmp_path / "other", "SELECT * FROM secrets") == []
        async with application(tmp_path, old_secrets=(SECRET,)) as without:
            assert without.sealer.open(late, owner="").payload == 3
            assert without.sealer.open(kept, owner="").payload == 1
            with pytest.raises(ClientFault):
                without.sealer.open(early, owner="")

    run(scenario())


def test_a_file_that_can_keep_no_secret_is_a_clear_fault(tmp_path):
    """The start ends with a configuration error, not in the middle of a request."""

    async def scenario():
        async with opened(tmp_path):
            pass
        change(
            tmp_path,
            "CREATE TRIGGER refuse BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END",
        )
        with pytest.raises(ConfigurationError, match=r"storage\.url: no secret can be kept there: disk full"):
            await Application.open(settings_for(tmp_path, "http://127.0.0.1:9"), environ={})

    run(scenario())
