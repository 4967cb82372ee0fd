"""How runs end, and what becomes of those whose worker is gone: taken over, given up, settled, forgotten."""

import pytest

from antiphon.ports.runs import Carried, RunState, StaleRun
from drivers.sqlite.opening import run
from drivers.stores.place import (
    LEASE,
    NOW,
    Clock,
    append_of,
    committed,
    context_of,
    kept_of,
    new_run,
    opened,
    recording_of,
)

NOBODY = "resp_nobody"


def test_somebody_elses_run_is_ended(place):
    """Whether it waits or is under way; what its worker writes then comes too late."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            runs = storage.runs
            lease = await runs.create(new_run("goes"), "other")
            await runs.create(new_run("waits"), None)
            clock.now += 2.5
            assert await runs.end("waits", "cancelled")
            assert await runs.end("goes", "failed", [b"2", b"3"])
            assert await runs.state("waits", "alice") == RunState("cancelled", 1, 1, NOW)
            page = await runs.read("goes", 0)
            assert page.state == RunState("failed", 2, 3, NOW)
            assert (page.frames, page.times) == ([b"1", b"2", b"3"], [0, 2_500_000, 2_500_000])
            assert await runs.append([append_of(lease)]) == [False]
            assert await runs.append([append_of(lease, last_seq=3, epoch=2)]) == [False]
            assert await runs.renew([("goes", 1), ("goes", 2)]) == set()
            assert await runs.claim("me", 9) == []
            assert await runs.queued() == 0

    run(test())


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_a_run_ends_once(place, status):
    """Whoever comes second changes nothing."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            by_worker = await runs.create(new_run("by worker"), "me")
            await runs.create(new_run("by another"), "me")
            await runs.append([append_of(by_worker, status=status)])
            assert await runs.end("by another", status, [b"2"])
            for name in ("by worker", "by another"):
                before = await runs.state(name, "alice")
                assert before.status == status
                for expected in (None, before):
                    assert not await runs.end(name, "failed", [b"x"], expected)
                assert not await runs.restart(name, before, 1)
                assert await runs.state(name, "alice") == before
                assert (await runs.read(name, -1)).frames == [b"0", b"1", b"2"]
            assert not await runs.end(NOBODY, "failed")

    run(test())


def test_a_run_that_moves_on_is_not_ended_for_what_it_was(place):
    """Who decides names what was seen: another epoch, or one more event, makes it void."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            await runs.create(new_run(), None)
            queued = await runs.state("resp_1", "alice")
            (lease,) = await runs.claim("me", 1)
            claimed = await runs.state("resp_1", "alice")
            await runs.append([append_of(lease)])
            for seen in (queued, claimed):
                assert not await runs.end("resp_1", "failed", [b"x"], seen)
                assert not await runs.restart("resp_1", seen, 1)
            seen = await runs.state("resp_1", "alice")
            assert seen == RunState("in_progress", 1, 2, NOW)
            assert await runs.end("resp_1", "failed", [b"3"], seen)

    run(test())


def test_a_run_is_started_again(place):
    """It keeps its first events, waits as long as it may take, and its earlier worker is fenced."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            runs = storage.runs
            first = await runs.create(new_run(queue_deadline=NOW + 10), "gone")
            await runs.append([append_of(first, (b"2", b"3", b"4"), is_shown=True)])
            seen = await runs.state("resp_1", "alice")
            assert await runs.restart("resp_1", seen, 3)
            assert not await runs.restart("resp_1", seen, 3)
            assert (await runs.read("resp_1", -1)).frames == [b"0", b"1", b"2"]
            assert await runs.state("resp_1", "alice") == RunState("queued", 2, 2, NOW)
            assert await runs.append([append_of(first, last_seq=2)]) == [False]
            clock.now = NOW + 100
            (again,) = await runs.claim("me", 1)
            assert (again.epoch, again.last_seq, again.attempt) == (3, 2, 2)
            assert again.history == first.history
            assert again.request == first.request
            for last_seq in (2, 4):
                assert await runs.append([append_of(first, last_seq=last_seq)]) == [False]
            assert await runs.append([append_of(again, (b"new",))]) == [True]
            page = await runs.read("resp_1", 1)
            assert (page.frames, page.times) == ([b"2", b"new"], [1, 1])
            clock.now += LEASE + 1
            (stale,) = await runs.stale(9)
            assert (stale.is_shown, stale.attempt) == (False, 2)

    run(test())


@pytest.mark.parametrize(("is_public", "is_shown"), [(True, True), (True, False), (False, True)])
def test_what_was_shown_and_is_promised_is_not_taken_back(place, is_public, is_shown):
    """Unless all of it stays."""

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run(is_public=is_public), "gone")
            await storage.runs.append([append_of(lease, is_shown=is_shown)])
            seen = await storage.runs.state("resp_1", "alice")
            may = not (is_public and is_shown)
            assert await storage.runs.restart("resp_1", seen, 2) is may
            if may:
                (again,) = await storage.runs.claim("me", 1)
                assert again.last_seq == 1
            else:
                assert await storage.runs.restart("resp_1", seen, 3)
                (again,) = await storage.runs.claim("me", 1)
                assert again.last_seq == 2

    run(test())


def test_a_worker_lets_go_of_its_runs(place):
    """Somebody decides about them at once; it adds nothing until somebody has."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            leases = [await runs.create(new_run(name), "me") for name in ("a", "b", "c")]
            await runs.append([append_of(leases[2], status="completed")])
            await runs.release([("a", 1), ("b", 0), ("c", 1), (NOBODY, 1)])
            await runs.release([])
            assert {stale.id: stale.why for stale in await runs.stale(9)} == {"a": "released"}
            (stale,) = await runs.stale(9)
            assert await runs.restart("a", stale.state, 2)
            assert [lease.run_id for lease in await runs.claim("other", 9)] == ["a"]

    run(test())


def test_an_answer_that_the_upstream_carries_is_taken_over(place):
    """Whoever claims it is told where it stands, and that is no further attempt."""
    carried = Carried("openai", "resp_up", 7)

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease = await runs.create(new_run(), "gone")
            await runs.append([append_of(lease, carried=Carried("openai", "resp_up", 3))])
            await runs.append([append_of(lease, last_seq=2, carried=carried)])
            await runs.append([append_of(lease, last_seq=3)])
            seen = await runs.state("resp_1", "alice")
            assert seen == RunState("in_progress", 1, 4, NOW, carried)
            assert (await runs.read("resp_1", -1)).state == seen
            assert await runs.restart("resp_1", seen, 5)
            (again,) = await runs.claim("me", 1)
            assert (again.carried, again.attempt, again.last_seq) == (carried, 1, 4)

    run(test())


def test_the_death_of_a_worker_may_be_seen_before_its_lease_runs_out(place):
    """Where the store can see it; one that lives is never taken for dead."""

    async def test():
        async with opened(place) as here, opened(place) as there:
            mine, others = here.runs.enter(), there.runs.enter()
            assert mine != others
            await here.runs.create(new_run("mine"), mine)
            await there.runs.create(new_run("others"), others)
            for storage in (here, there):
                assert await storage.runs.stale(9) == []
            there.runs.leave(others)
            assert {stale.id for stale in await here.runs.stale(9)} <= {"others"}
            here.runs.leave(mine)

    run(test())


def test_runs_that_somebody_must_decide_about(place):
    """Each with why, and with what is needed to decide; the oldest first."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            runs = storage.runs
            names = ("waits", "goes", "gone", "too late", "too late to begin", "too late at all", "ended")
            ages = {name: NOW - number for number, name in enumerate(names)}
            late = {"queue_deadline": NOW + 20}
            goes = await runs.create(new_run("goes", created_at=ages["goes"]), "me")
            gone = await runs.create(new_run("gone", created_at=ages["gone"], is_public=True), "other")
            slow = await runs.create(
                new_run("too late", created_at=ages["too late"], deadline=NOW + 20), "me"
            )
            ended = await runs.create(new_run("ended", created_at=ages["ended"]), "me")
            await runs.create(new_run("waits", created_at=ages["waits"]), None)
            name = "too late to begin"
            await runs.create(new_run(name, created_at=ages[name], **late), None)
            name = "too late at all"
            await runs.create(new_run(name, created_at=ages[name], deadline=NOW + 20, **late), None)
            await runs.append([append_of(gone, is_shown=True, has_effect=True)])
            await runs.append([append_of(gone, last_seq=2)])
            await runs.append([append_of(ended, status="completed")])
            assert await runs.stale(99) == []

            clock.now = NOW + 10
            await runs.renew([("goes", goes.epoch), ("too late", slow.epoch)])
            clock.now = NOW + 20
            by_why = {stale.id: stale.why for stale in await runs.stale(99)}
            assert by_why == {
                "ended": "ended",
                "too late at all": "deadline",
                "too late to begin": "queue_deadline",
                "too late": "deadline",
                "gone": "lease",
            }
            assert list(by_why) == list(reversed([name for name in names if name in by_why]))
            assert [stale.id for stale in await runs.stale(2)] == ["ended", "too late at all"]
            assert (await runs.stale(99))[-1] == StaleRun(
                "gone",
                "alice",
                RunState("in_progress", 1, 3, ages["gone"]),
                1,
                is_shown=True,
                is_public=True,
                has_effect=True,
                why="lease",
            )

    run(test())


def test_the_events_of_a_run_are_promised_later(place):
    """Whoever decides about it learns of that."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            for name in ("a", "b"):
                await storage.runs.create(new_run(name), "gone")
            await storage.runs.publish("a")
            await storage.runs.publish(NOBODY)
            clock.now += LEASE + 1
            assert {stale.id: stale.is_public for stale in await storage.runs.stale(9)} == {
                "a": True,
                "b": False,
            }

    run(test())


def test_an_ended_run_is_settled_among_the_kept_responses(place):
    """Its log goes, its history stays with the response; it happens once."""

    async def test():
        async with opened(place) as storage:
            runs, responses = storage.runs, storage.responses
            lease = await runs.create(new_run(context=context_of(b'"a"', b'"b"')), "me")
            await runs.append([append_of(lease, status="completed")])
            kept = kept_of("resp_1", recording_of("resp_1"))
            assert await runs.settle(kept)
            assert await runs.state("resp_1", "alice") is None
            page = await runs.read("resp_1", -1)
            assert (page.state, page.frames) == (None, [])
            found = await responses.get("resp_1", "alice")
            assert found.recording == recording_of("resp_1")
            assert (found.head.id, found.head.depth) == (lease.history, 2)
            assert not await runs.settle(kept)
            await responses.delete("resp_1", "alice")
            assert not await runs.settle(kept)
            assert await responses.get("resp_1", "alice") is None
            await committed(storage)
            for table in ("runs", "run_requests", "run_events", "history"):
                assert await place.rows(f"SELECT count(*) FROM {table}") == [(0,)], table

    run(test())


def test_a_run_is_forgotten_whatever_its_state(place):
    """With all that belongs to it; its worker is fenced."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            goes = await runs.create(new_run("goes"), "me")
            ended = await runs.create(new_run("ended"), "me")
            await runs.create(new_run("waits"), None)
            await runs.append([append_of(ended, status="completed")])
            for name in ("waits", "goes", "ended"):
                assert await runs.delete(name, "alice")
                assert not await runs.delete(name, "alice")
                assert await runs.state(name, "alice") is None
            assert await runs.append([append_of(goes)]) == [False]
            assert await runs.renew([("goes", 1)]) == set()
            assert await runs.claim("me", 9) == []
            for table in ("runs", "run_requests", "run_events", "history"):
                assert await place.rows(f"SELECT count(*) FROM {table}") == [(0,)], table

    run(test())
