"""The one place that makes tasks."""

import asyncio
import logging

from antiphon.engine import tasks as engine_tasks
from antiphon.engine.tasks import Tasks
from waiting import PATIENCE


async def fail():
    await asyncio.sleep(0)
    raise ValueError("a defect")


def test_a_task_is_held_named_and_let_go():
    """Until it has ended."""

    async def test():
        tasks, go_on = Tasks(), asyncio.Event()

        async def wait():
            await go_on.wait()

        task = tasks.start(wait(), "waiting")
        assert (task.get_name(), tasks._tasks) == ("waiting", {task})
        go_on.set()
        await task
        await asyncio.sleep(0)
        assert tasks._tasks == set()

    asyncio.run(test())


def test_the_death_of_a_task_is_logged_and_told(caplog):
    """With its name, and to whoever wants to know."""
    told = []

    async def test():
        tasks = Tasks()
        await asyncio.wait([tasks.start(fail(), "doomed", on_death=lambda: told.append("died"))])
        await asyncio.wait([tasks.start(fail(), "doomed too")])
        await asyncio.sleep(0)
        assert tasks._tasks == set()

    with caplog.at_level(logging.ERROR):
        asyncio.run(test())
    assert told == ["died"]
    assert [record.getMessage() for record in caplog.records] == ["task doomed died", "task doomed too died"]
    assert all("a defect" in str(record.exc_info) for record in caplog.records)


def test_stopping_cancels_what_is_left_and_waits_for_it(caplog):
    """Which is nobody's death."""
    told = []

    async def test():
        tasks = Tasks()

        async def wait():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                told.append("cleaned up")

        tasks.start(wait(), "waiting", on_death=lambda: told.append("died"))
        await asyncio.sleep(0)
        await tasks.stop()
        assert (told, tasks._tasks) == (["cleaned up"], set())
        await tasks.stop()

    asyncio.run(test())
    assert caplog.records == []


def test_a_task_whose_cancellation_was_lost_is_stopped_all_the_same(monkeypatch):
    """A library that it waited for has swallowed it."""
    monkeypatch.setattr(engine_tasks, "_AGAIN_SECONDS", 0.01)

    async def test():
        tasks, lost = Tasks(), []

        async def go_on():
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if lost:
                        raise
                    lost.append("once")

        task = tasks.start(go_on(), "going on")
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await tasks.stop()
        assert (lost, task.cancelled()) == (["once"], True)

    asyncio.run(test())
