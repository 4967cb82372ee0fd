"""Webhooks: due from the moment in which a run has ended, told by one worker at a time, until they were told."""

from dataclasses import replace

import pytest

from antiphon.ports.webhooks import Notice
from drivers.sqlite.opening import run
from drivers.stores.place import LEASE, NOW, Clock, append_of, kept_of, new_run, opened

NOTICES = (("evt_1", "one"), ("evt_2", "two"))


def noticed(name="resp_1"):
    return replace(new_run(name), notices=[(f"{each}_{name}", hook) for each, hook in NOTICES])


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_notices_are_due_when_their_run_has_ended(place, status):
    """By its worker or by anybody else; and stay so when it is settled."""

    async def test():
        clock = Clock()
        async with opened(place, clock) as storage:
            runs, outbox = storage.runs, storage.outbox
            lease = await runs.create(noticed(), "me")
            await runs.create(noticed("resp_2"), "me")
            assert await outbox.due(9, 60) == []
            if status == "cancelled":
                assert await runs.end("resp_1", status)
            else:
                assert await runs.append([append_of(lease, (b"end",), status=status)]) == [True]
            await runs.settle(kept_of("resp_1"))
            found = sorted(await outbox.due(9, 60), key=lambda notice: notice.id)
            assert [replace(notice, ended_at=0.0) for notice in found] == [
                Notice("evt_1_resp_1", "resp_1", "one", status, 0.0, 1),
                Notice("evt_2_resp_1", "resp_1", "two", status, 0.0, 1),
            ]
            assert all(abs(notice.ended_at - NOW) < LEASE for notice in found)

    run(test())


def test_a_notice_belongs_to_one_worker_until_its_time_is_over(place):
    """Or until that one puts it off, or drops it."""

    async def test():
        clock = Clock()
        async with opened(place, clock) as storage:
            await storage.runs.create(noticed(), None)
            await storage.runs.end("resp_1", "cancelled")
            outbox = storage.outbox
            (first,), (second,) = await outbox.due(1, 60), await outbox.due(1, 60)
            assert {first.id, second.id} == {"evt_1_resp_1", "evt_2_resp_1"}
            assert await outbox.due(9, 60) == []
            await outbox.forget(first.id)
            await outbox.put_off(second.id, 300)
            clock.now += 61
            assert await outbox.due(9, 60) == []
            clock.now += 240
            (again,) = await outbox.due(9, 60)
            assert again == replace(second, attempt=2)
            clock.now += 61
            assert [notice.attempt for notice in await outbox.due(9, 60)] == [3]
            await outbox.forget(second.id)
            clock.now += 61
            assert await outbox.due(9, 60) == []

    run(test())


def test_of_a_run_that_is_deleted_nothing_is_told(place):
    """If it had not ended."""

    async def test():
        async with opened(place) as storage:
            await storage.runs.create(noticed(), None)
            await storage.runs.create(noticed("resp_2"), None)
            await storage.runs.delete("resp_1", "alice")
            await storage.runs.end("resp_2", "cancelled")
            await storage.runs.delete("resp_2", "alice")
            assert {notice.run_id for notice in await storage.outbox.due(9, 60)} == {"resp_2"}

    run(test())
