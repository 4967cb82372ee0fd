"""Processes of one host that share a file: each run has one worker at a time, one end, and a log without gaps."""

from collections import Counter

from drivers.sqlite.at_once import run_at_once
from drivers.sqlite.opening import rows_of, run
from drivers.stores.place import SqlitePlace, new_run, opened

RUNS, FIRST, EVENTS = 120, 5, 4
_BEGINNING = """
import asyncio, random, sys, time
from antiphon.drivers.storage import open_storage
from antiphon.ports.runs import Append
from antiphon.settings import Settings, Storage

def begin():
    input(".")

async def within(work):
    storage = await open_storage(Settings(storage=Storage(url={url!r})))
    await work(storage.runs)
    await storage.close()
"""
_WORKER = """
async def write(runs, me, lease):
    last = lease.last_seq
    for number in range({events}):
        status = "completed" if number == {events} - 1 else None
        frames = [b"%s %d" % (me.encode(), number)]
        append = Append(run_id=lease.run_id, epoch=lease.epoch, last_seq=last, frames=frames, times=[1], status=status)
        if await runs.append([append]) == [False]:
            again = Append(run_id=lease.run_id, epoch=lease.epoch, last_seq=last, frames=frames, times=[1])
            assert await runs.append([again]) == [False]
            return
        last += 1

async def work(runs):
    me = runs.enter()
    leases = await runs.claim(me, {first})  # that each has some, however slowly it starts
    begin()
    while leases:
        await asyncio.gather(*(write(runs, me, lease) for lease in leases))
        leases = await runs.claim(me, 5)

asyncio.run(within(work))
"""
_CANCELLER = """
async def work(runs):
    begin()
    for name in random.sample(range(3 * {first}, {runs}), {runs} // 2):
        await runs.end(f"resp_{{name}}", "cancelled", [b"cancelled"])

asyncio.run(within(work))
"""
_SLOW = """
async def work(runs):
    begin()
    (lease,) = await runs.claim("slow", 1)
    append = Append(run_id=lease.run_id, epoch=lease.epoch, last_seq=1, frames=[b"2"], times=[1])
    assert await runs.append([append]) == [True]
    while (await runs.state("resp_0", "alice")).status == "in_progress":
        await asyncio.sleep(0.01)
    for last_seq in (1, 2, 3, 4):
        append = Append(run_id=lease.run_id, epoch=lease.epoch, last_seq=last_seq, frames=[b"late"], times=[1])
        assert await runs.append([append]) == [False]

asyncio.run(within(work))
"""
_QUICK = """
async def work(runs):
    begin()
    while (state := await runs.state("resp_0", "alice")).last_seq < 2:
        await asyncio.sleep(0.01)
    assert await runs.restart("resp_0", state, 3)
    (lease,) = await runs.claim("quick", 1)
    append = Append(
        run_id=lease.run_id, epoch=lease.epoch, last_seq=2, frames=[b"3"], times=[1], status="completed"
    )
    assert await runs.append([append]) == [True]

asyncio.run(within(work))
"""


def program(text, place):
    return (_BEGINNING + text).format(url=place.url, events=EVENTS, runs=RUNS, first=FIRST)


def test_workers_share_the_queue_while_others_cancel(tmp_path):
    """No run is lost or done twice; after an end, of whichever kind, nothing comes."""
    place = SqlitePlace(tmp_path)

    async def accept():
        async with opened(place) as storage:
            for number in range(RUNS):
                await storage.runs.create(new_run(f"resp_{number}", deadline=4e9, queue_deadline=4e9), None)

    run(accept())
    run_at_once([program(text, place) for text in (_WORKER, _WORKER, _WORKER, _CANCELLER)])

    runs = rows_of(tmp_path, "SELECT id, status, epoch, last_seq FROM runs")
    assert len(runs) == RUNS
    ends = Counter(status for _, status, _, _ in runs)
    assert set(ends) <= {"completed", "cancelled"}
    workers = set()
    for run_id, status, epoch, last_seq in runs:
        events = rows_of(tmp_path, "SELECT seq, frame FROM run_events WHERE id = ? ORDER BY seq", run_id)
        assert [seq for seq, _ in events] == list(range(last_seq + 1))
        told = [frame.decode() for _, frame in events[2:]]
        assert ("cancelled" in told) is (status == "cancelled")
        if status == "cancelled":
            assert told.pop() == "cancelled"
            assert epoch == (2 if told else epoch)
        else:
            assert (len(told), epoch) == (EVENTS, 1)
        names = {name.split()[0] for name in told}
        assert len(names) <= 1
        assert [name.split()[1] for name in told] == [str(number) for number in range(len(told))]
        workers |= names
    assert len(workers) == 3


def test_a_worker_whose_run_was_taken_over_writes_nothing(tmp_path):
    """Wherever in the log it thinks that it is."""
    place = SqlitePlace(tmp_path)

    async def accept():
        async with opened(place) as storage:
            await storage.runs.create(new_run("resp_0", deadline=4e9, queue_deadline=4e9), None)

    run(accept())
    run_at_once([program(text, place) for text in (_SLOW, _QUICK)])
    assert rows_of(tmp_path, "SELECT frame FROM run_events ORDER BY seq") == [
        (b"0",),
        (b"1",),
        (b"2",),
        (b"3",),
    ]
    assert rows_of(tmp_path, "SELECT status FROM runs") == [("completed",)]
