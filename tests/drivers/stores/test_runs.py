"""Runs: accepted, claimed, written under a lease, and nothing by anybody who has none."""

import asyncio
from dataclasses import replace

import pytest

from antiphon.ports.runs import Lease, QueueFull, RunLimits, RunState
from drivers.sqlite.opening import run
from drivers.stores.place import LEASE, NOW, Clock, append_of, committed, context_of, kept_of, new_run, opened

NOBODY = "resp_nobody"


def test_a_run_that_is_accepted_waits(place):
    """Its owner sees it queued, with its first events; so does a gateway that is started later."""

    async def test():
        async with opened(place) as storage:
            assert await storage.runs.create(new_run(), None) is None
        async with opened(place) as storage:
            runs = storage.runs
            state = RunState("queued", 0, 1, NOW)
            assert await runs.state("resp_1", "alice") == state
            assert await runs.queued() == 1
            page = await runs.read("resp_1", -1)
            assert (page.frames, page.times, page.state) == ([b"0", b"1"], [0, 0], state)
            assert (await runs.read("resp_1", 0)).frames == [b"1"]
            assert (await runs.read("resp_1", 1)).frames == []

    run(test())


def test_nobody_else_knows_of_a_run(place):
    """It is the same to them as an unknown one."""

    async def test():
        async with opened(place) as storage:
            await storage.runs.create(new_run(), None)
            assert await storage.runs.state("resp_1", "bob") is None
            assert await storage.runs.state(NOBODY, "alice") is None
            assert (await storage.runs.read(NOBODY, -1)).state is None
            assert not await storage.runs.delete("resp_1", "bob")
            assert not await storage.runs.delete(NOBODY, "alice")
            assert await storage.runs.queued() == 1

    run(test())


def test_what_is_shown_when_its_run_is_made_begins_whatever_waits(place):
    """It was begun before; nobody begins it again."""

    async def test():
        clock = Clock(NOW)
        async with opened(place, clock) as storage:
            runs = storage.runs
            limits = RunLimits(in_progress_per_owner=0, queued=1)
            await runs.create(new_run("resp_waits", priority=9), None)
            new = new_run(frames=(), is_public=True, is_shown=True)
            lease = await runs.create(new, "me", limits)
            assert (lease.epoch, lease.last_seq) == (1, -1)
            assert await runs.append([append_of(lease, (b"0",))]) == [True]
            clock.now += LEASE + 1
            [stale] = [each for each in await runs.stale(10) if each.id == "resp_1"]
            assert (stale.is_shown, stale.is_public) == (True, True)
            assert not await runs.restart("resp_1", stale.state, 0)

    run(test())


def test_a_run_may_belong_to_a_worker_from_the_beginning(place):
    """Then nobody else claims it, and it does not wait."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease = await runs.create(new_run(context=context_of(b'"a"', b'"b"')), "me")
            assert lease == Lease(
                run_id="resp_1",
                owner="alice",
                epoch=1,
                last_seq=1,
                attempt=1,
                created_at=NOW,
                deadline=NOW + 3600,
                request=b"what is asked",
                history=lease.history,
            )
            assert await storage.responses.history(lease.history) == (b'"a"', b'"b"')
            assert await runs.state("resp_1", "alice") == RunState("in_progress", 1, 1, NOW)
            assert await runs.claim("other", 9) == []
            assert await runs.queued() == 0

    run(test())


def test_a_run_that_is_begun_at_once_tells_so(place):
    """With events that one that waits does not have."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease = await runs.create(new_run(begun=(b"2", b"3")), "me")
            assert lease.last_seq == 3
            assert (await runs.read("resp_1", 0)).frames == [b"1", b"2", b"3"]
            assert await runs.create(new_run("resp_2", begun=(b"2", b"3")), None) is None
            assert (await runs.read("resp_2", 0)).frames == [b"1"]

    run(test())


def test_a_run_waits_behind_those_that_wait(place):
    """Unless it is more urgent."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            await runs.create(new_run("first"), None)
            assert await runs.create(new_run("second"), "me") is None
            assert (await runs.create(new_run("urgent", priority=1), "me")).run_id == "urgent"
            assert [lease.run_id for lease in await runs.claim("me", 9)] == ["first", "second"]

    run(test())


def test_an_owner_has_no_more_in_progress_than_may_be(place):
    """Whoever takes them; the others wait, and those of other owners do not."""
    limits = RunLimits(in_progress_per_owner=2)

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            begun = [await runs.create(new_run(f"a{number}"), "me", limits) for number in range(4)]
            assert [lease is not None for lease in begun] == [True, True, False, False]
            assert (await runs.create(new_run("b", owner="bob"), "me", limits)) is not None
            assert await runs.claim("me", 9, limits) == []
            await runs.append([append_of(begun[0], status="completed")])
            assert [lease.run_id for lease in await runs.claim("me", 9, limits)] == ["a2"]

    run(test())


def test_no_more_runs_wait_than_may(place):
    """Neither of one owner nor of all; those that are refused leave nothing behind."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            limits = RunLimits(queued=3, queued_per_owner=2)
            await runs.create(new_run("a1"), None, limits)
            await runs.create(new_run("a2"), None, limits)
            with pytest.raises(QueueFull) as refused:
                await runs.create(new_run("a3"), None, limits)
            assert refused.value.is_owners
            await runs.create(new_run("b1", owner="bob"), None, limits)
            with pytest.raises(QueueFull) as refused:
                await runs.create(new_run("c1", owner="carol"), None, limits)
            assert not refused.value.is_owners
            assert await runs.state("a3", "alice") is None
            assert await runs.queued() == 3
            await runs.claim("me", 1)
            assert await runs.create(new_run("c1", owner="carol"), None, limits) is None

    run(test())


def test_owners_take_turns(place):
    """Inside one priority, what an owner has in progress counts."""

    async def test():
        async with opened(place) as storage:
            for number in range(3):
                await storage.runs.create(new_run(f"a{number}", created_at=NOW + number), None)
            await storage.runs.create(new_run("b0", owner="bob", created_at=NOW + 9), None)
            claimed = [(await storage.runs.claim("me", 1))[0].run_id for _ in range(4)]
            assert claimed == ["a0", "b0", "a1", "a2"]

    run(test())


def test_what_a_run_is_shown_can_be_continued(place):
    """By its owner; nothing is told from no run."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease = await runs.create(new_run(), "me")
            await runs.create(new_run("empty", context=context_of()), None)
            assert await runs.shown("resp_1", "alice") == lease.history
            assert await runs.shown("empty", "alice") == b""
            assert await runs.shown("resp_1", "bob") is None
            assert await runs.shown(NOBODY, "alice") is None

    run(test())


def test_a_worker_asks_what_is_still_its_own(place):
    """Without prolonging anything."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            runs = storage.runs
            for name in ("a", "b"):
                await runs.create(new_run(name), "me")
            await runs.end("b", "cancelled")
            clock.now += LEASE + 1
            assert await runs.mine([("a", 1), ("b", 1), ("b", 2), (NOBODY, 1)]) == {"a"}
            assert await runs.mine([]) == set()
            assert "a" in {stale.id for stale in await runs.stale(9)}

    run(test())


def test_a_run_without_input_has_no_history(place):
    """As one that only has instructions."""

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run(context=context_of()), "me")
            assert lease.history is None

    run(test())


def test_a_run_continues_what_is_kept(place):
    """It is shown the history that it continues, then what is new."""

    async def test():
        async with opened(place) as storage:
            storage.responses.put(kept_of("resp_0", context=context_of(b'"a"', b'"b"')))
            await committed(storage)
            before = (await storage.responses.get("resp_0", "alice")).head
            lease = await storage.runs.create(new_run(context=context_of(b'"c"', before=before)), "me")
            assert await storage.responses.history(lease.history) == (b'"a"', b'"b"', b'"c"')
            lease = await storage.runs.create(new_run("resp_2", context=context_of(before=before)), "me")
            assert lease.history == before.id

    run(test())


def test_the_most_urgent_is_claimed_first_then_the_oldest(place):
    """As many as are asked for, each once."""

    async def test():
        async with opened(place) as storage:
            for name, priority, age in [("c", 0, 5), ("b", 0, 9), ("a", 7, 1), ("d", -1, 99)]:
                await storage.runs.create(new_run(name, priority=priority, created_at=NOW - age), None)
            claimed = [
                lease.run_id for limit in (1, 2, 9, 9) for lease in await storage.runs.claim("me", limit)
            ]
            assert claimed == ["a", "b", "c", "d"]

    run(test())


def test_a_claim_takes_the_most_urgent_together(place):
    """Also where there are more than are taken."""

    async def test():
        async with opened(place) as storage:
            for age in range(9):
                await storage.runs.create(new_run(f"resp_{age}", created_at=NOW - age), None)
            assert {lease.run_id for lease in await storage.runs.claim("me", 3)} == {
                "resp_8",
                "resp_7",
                "resp_6",
            }
            assert await storage.runs.queued() == 6

    run(test())


def test_a_claim_says_all_that_is_needed_to_begin(place):
    """The same as is told to a worker that has the run from the beginning."""

    async def test():
        async with opened(place) as storage:
            await storage.runs.create(new_run("a"), None)
            (claimed,) = await storage.runs.claim("me", 1)
            assert claimed == replace(await storage.runs.create(new_run("b"), "me"), run_id="a")

    run(test())


def test_what_has_waited_too_long_is_not_begun(place):
    """Somebody decides about it instead."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            await storage.runs.create(new_run("a", queue_deadline=NOW + 10), None)
            await storage.runs.create(new_run("b", queue_deadline=NOW + 11), None)
            clock.now = NOW + 10
            assert [lease.run_id for lease in await storage.runs.claim("me", 9)] == ["b"]

    run(test())


def test_workers_that_claim_at_once_share_the_runs(place):
    """Each run has one of them."""

    async def test():
        async with opened(place) as one, opened(place) as other:
            for number in range(40):
                await one.runs.create(new_run(f"resp_{number:02}"), None)
            claims = await asyncio.gather(
                *(storage.runs.claim("w", 3) for _ in range(10) for storage in (one, other))
            )
            claimed = [lease.run_id for leases in claims for lease in leases]
            assert sorted(claimed) == [f"resp_{number:02}" for number in range(40)]

    run(test())


def test_the_holder_adds_events(place):
    """With their times, behind those that are there, and how the run has ended."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease = await runs.create(new_run(), "me")
            assert await runs.append([append_of(lease, (b"2", b"3"), times=(5, 6))]) == [True]
            last = append_of(lease, (b"4",), times=(9,), last_seq=3, status="incomplete")
            assert await runs.append([last]) == [True]
            page = await runs.read("resp_1", 0)
            assert (page.frames, page.times) == ([b"1", b"2", b"3", b"4"], [0, 5, 6, 9])
            assert page.state == RunState("incomplete", 1, 4, NOW)

    run(test())


def test_a_run_may_end_without_another_event(place):
    """Its status alone changes."""

    async def test():
        async with opened(place) as storage:
            lease = await storage.runs.create(new_run(), "me")
            assert await storage.runs.append([append_of(lease, (), status="failed")]) == [True]
            assert await storage.runs.state("resp_1", "alice") == RunState("failed", 1, 1, NOW)

    run(test())


def test_whoever_does_not_hold_a_run_adds_nothing(place):
    """An older or a later epoch, a place in the log that is not its end, a run that waits, has ended or is none."""

    async def test():
        async with opened(place) as storage:
            runs = storage.runs
            lease, ended = [await runs.create(new_run(name), "me") for name in ("resp_1", "resp_2")]
            await runs.create(new_run("resp_3"), None)
            await runs.append([append_of(lease), append_of(ended, status="completed")])
            refused = [
                append_of(lease),  # again
                append_of(lease, last_seq=0),
                append_of(lease, last_seq=3),
                append_of(lease, last_seq=2, epoch=0),
                append_of(lease, last_seq=2, epoch=2),
                append_of(ended, last_seq=2),
                append_of(replace(lease, run_id="resp_3", epoch=0)),
                append_of(replace(lease, run_id=NOBODY)),
            ]
            for append in refused:
                assert await runs.append([append]) == [False], append
            assert (await runs.read("resp_1", -1)).frames == [b"0", b"1", b"2"]
            assert (await runs.read("resp_2", -1)).frames == [b"0", b"1", b"2"]
            assert (await runs.read("resp_3", -1)).frames == [b"0", b"1"]

    run(test())


def test_a_writer_that_is_fenced_does_not_hold_up_the_others(place):
    """A batch is many runs; each has its own answer, in their order."""

    async def test():
        async with opened(place) as storage:
            leases = [await storage.runs.create(new_run(f"resp_{number}"), "me") for number in range(6)]
            appends = [
                append_of(lease, epoch=1 + number % 2, frames=(b"2", b"%d" % number))
                for number, lease in enumerate(leases)
            ]
            appends.reverse()
            assert await storage.runs.append(appends) == [False, True] * 3
            for number in range(6):
                frames = (await storage.runs.read(f"resp_{number}", 1)).frames
                assert frames == ([] if number % 2 else [b"2", b"%d" % number])
            assert await storage.runs.append([]) == []

    run(test())


def test_a_lease_is_prolonged_by_writing_and_by_renewing(place):
    """Each for the whole time from then on; only what is held is renewed."""
    clock = Clock(NOW)

    async def test():
        async with opened(place, clock) as storage:
            runs = storage.runs
            written, renewed, silent, ended = [
                await runs.create(new_run(name), "me") for name in ("written", "renewed", "silent", "ended")
            ]
            await runs.create(new_run("queued"), None)
            await runs.append([append_of(ended, status="completed")])
            clock.now += LEASE - 1
            await runs.append([append_of(written)])
            held = [(renewed.run_id, 1), (written.run_id, 2), ("ended", 1), ("queued", 0), (NOBODY, 1)]
            assert await runs.renew(held) == {"renewed"}
            assert await runs.renew([]) == set()
            clock.now += LEASE
            assert {stale.id for stale in await runs.stale(9) if stale.why == "lease"} == {"silent"}
            clock.now += 0.5
            assert {stale.id for stale in await runs.stale(9) if stale.why == "lease"} == {
                *("silent", "written", "renewed")
            }
            assert silent.epoch == 1

    run(test())


def test_whoever_looks_is_told_that_something_has_moved(place):
    """By this process or another one, soon."""

    async def test():
        async with opened(place) as here, opened(place) as there:
            moved = asyncio.Event()
            watching = asyncio.ensure_future(here.runs.watch(lambda _: moved.set()))
            try:
                lease = await there.runs.create(new_run(), "me")
                for number in range(1, 4):
                    await here.runs.read("resp_1", -1)
                    await asyncio.sleep(0)
                    moved.clear()
                    await there.runs.append([append_of(lease, last_seq=number)])
                    async with asyncio.timeout(1):
                        await moved.wait()
            finally:
                watching.cancel()

    run(test())
