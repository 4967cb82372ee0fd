"""What workers tell each other of their counters, in SQLite."""

from antiphon.drivers.sqlite.worker_metrics import SqliteWorkerMetrics
from drivers.sqlite.opening import opened, run


def test_workers_see_each_others_counters(tmp_path):
    """The last that each has published, and none of those that have gone silent."""

    async def test():
        async with opened(tmp_path) as database:
            metrics = SqliteWorkerMetrics(database)
            for worker, snapshot, now in [("a", b"1", 10), ("b", b"2", 20), ("c", b"3", 30), ("b", b"4", 40)]:
                await metrics.publish(worker, snapshot, now)
            assert sorted(await metrics.others("a")) == [b"3", b"4"]
            await metrics.forget(35)
            assert await metrics.others("a") == [b"4"]
            assert await metrics.others("b") == []

    run(test())
