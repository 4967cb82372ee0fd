"""Several hosts at one PostgreSQL at the same time: nothing is done twice, lost, or waited for in a circle."""

import asyncio
import random

import pytest

from antiphon.drivers.postgres.values import is_storable
from antiphon.ports.runs import RunLimits, RunState
from antiphon.wire.errors import StoreFault
from drivers.sqlite.opening import run
from drivers.stores.place import (
    NOW,
    PostgresPlace,
    append_of,
    committed,
    context_of,
    kept_of,
    new_run,
    opened,
    recording_of,
)
from usage_rows import ROW


@pytest.fixture
def place(postgres_url):
    return PostgresPlace(postgres_url)


def test_hosts_that_start_at_once_make_the_tables_once(place):
    async def test():
        async def start():
            async with opened(place) as storage:
                await storage.check()

        await asyncio.gather(*(start() for _ in range(4)))
        assert await place.rows("SELECT count(DISTINCT number) = count(*) FROM schema_steps") == [(True,)]

    run(test())


def test_hosts_that_claim_at_once_share_what_waits(place):
    """Each run goes to one of them, and no owner gets more than may be."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            for number in range(40):
                await one.runs.create(new_run(f"{number}", owner=f"owner {number % 4}"), None)
            limits = RunLimits(in_progress_per_owner=5)
            claims = [each.runs.claim("me", 3, limits) for each in (one, other) * 8]
            leases = [lease for claimed in await asyncio.gather(*claims) for lease in claimed]
            assert len({lease.run_id for lease in leases}) == len(leases) == 20
            counted = await place.rows(
                "SELECT owner, count(*) FROM runs WHERE status = 'in_progress' GROUP BY owner ORDER BY owner"
            )
            assert counted == [(f"owner {number}", 5) for number in range(4)]

    run(test())


def test_runs_that_are_begun_at_once_keep_to_the_bound(place):
    """Whoever accepts them."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            limits = RunLimits(in_progress_per_owner=3)
            created = [
                each.runs.create(new_run(f"{number} {place}"), "me", limits)
                for number in range(5)
                for place, each in enumerate((one, other))
            ]
            leases = await asyncio.gather(*created)
            assert len([lease for lease in leases if lease is not None]) == 3

    run(test())


def test_writing_renewing_ending_and_looking_go_on_beside_each_other(place):
    """Over the same runs, in any order: what one of them has done holds for all."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            names = [f"run {number}" for number in range(20)]
            leases = {name: await one.runs.create(new_run(name), "me") for name in names}
            lengths = dict.fromkeys(names, 2)

            async def write():
                for turn in range(30):
                    chosen = random.sample(names, 12)
                    appends = [append_of(leases[name], last_seq=lengths[name] - 1) for name in chosen]
                    if turn == 15:
                        appends.append(append_of(leases[chosen[0]], last_seq=lengths[chosen[0]]))
                    for append, is_written in zip(appends, await one.runs.append(appends), strict=True):
                        lengths[append.run_id] += is_written

            async def renew():
                for _ in range(60):
                    await other.runs.renew([(name, 1) for name in random.sample(names, 20)])
                    await other.runs.stale(10)

            async def end():
                for name in names[:5]:
                    await other.runs.end(name, "cancelled", [b"end"])

            await asyncio.gather(write(), renew(), renew(), end())
            pages = await other.runs.read_many([(name, -1) for name in names])
            for name, page in zip(names, pages, strict=True):
                is_ended = name in names[:5]
                assert len(page.frames) == lengths[name] + is_ended == page.state.last_seq + 1
                assert page.state.status == ("cancelled" if is_ended else "in_progress")

    run(test())


def test_histories_that_are_kept_and_let_go_at_once_stay_whole(place):
    """Whoever holds one can read all of it; what nobody holds is gone, to the last byte that is counted."""
    chains = [[b"%d %d" % (chain, min(depth, 2)) for depth in range(6)] for chain in range(2)]

    async def test():
        async with opened(place) as one, opened(place) as other:

            async def keep(storage, host):
                for turn in range(25):
                    chain = random.choice(chains)
                    items = tuple(chain[: random.randint(1, 6)])
                    name = f"{host} {turn}"
                    lease = await storage.runs.create(new_run(name, context=context_of(*items)), "me")
                    assert await storage.responses.history(lease.history) == items
                    if turn % 2:
                        recording = recording_of(random.choice("rs"))
                        await storage.runs.end(name, "completed")
                        assert await storage.runs.settle(kept_of(name, recording))
                        assert await storage.responses.get(name, "alice") is not None
                        assert await storage.responses.delete(name, "alice") == recording.id
                        storage.sweep(NOW)
                    else:
                        assert await storage.runs.delete(name, "alice")

            await asyncio.gather(*(keep(each, host) for host, each in enumerate((one, other, one, other))))
            await committed(one)
            await committed(other)
            assert await place.rows("SELECT count(*) FROM history") == [(0,)]
            one.sweep(NOW)
            await committed(one)
            assert await place.rows("SELECT count(*) FROM recordings") == [(0,)]
            assert await place.rows("SELECT coalesce(sum(bytes), 0)::int FROM total_changes") == [(0,)]

    run(test())


def test_names_that_no_text_can_hold_belong_to_nothing(place):
    """They can be asked for, and counted under what is nearest."""

    async def test():
        async with opened(place) as storage:
            for name in ("a\0b", "\ud800"):
                assert not is_storable(name)
                assert await storage.responses.get(name, "alice") is None
                assert await storage.responses.delete(name, "alice") is None
                assert await storage.responses.upstream_of(name, "alice") is None
                assert await storage.runs.state(name, "alice") is None
                assert await storage.runs.shown(name, "alice") is None
                assert not await storage.runs.delete(name, "alice")
            await storage.ledger.append(
                [ROW, ROW._replace(id="req_2", model="a\0\ud800", input_tokens=2**70)]
            )
            rows = await place.rows("SELECT id, model, input_tokens FROM usage ORDER BY id")
            assert rows[1] == ("req_2", "a\ufffd?", 2**63 - 1)

    run(test())


def test_an_append_that_was_committed_unheard_is_not_done_again(place, monkeypatch):
    """Its writer repeats it as it was, and is told that it is written; for others it stays fenced."""

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run(), "me")
            append = append_of(lease, (b"2", b"3"))
            fetch = storage.database.fetch

            async def unheard(*given):
                await fetch(*given)
                raise StoreFault("the answer was lost")

            monkeypatch.setattr(storage.database, "fetch", unheard)
            with pytest.raises(StoreFault):
                await storage.runs.append([append])
            monkeypatch.undo()
            assert await storage.runs.append([append]) == [True]
            assert await storage.runs.append([append]) == [False]
            page = await storage.runs.read("resp_1", -1)
            assert page.frames == [b"0", b"1", b"2", b"3"]
            assert page.state == RunState("in_progress", 1, 3, NOW)

    run(test())
