"""What models were shown: items that several histories have in common."""

import asyncio
import contextlib
import sqlite3

from antiphon.drivers.sqlite.history import keep_history, read_history, release
from antiphon.turn.history import Context, grow
from drivers.sqlite.opening import opened


def test_a_branch_outlives_the_one_that_it_grew_from(tmp_path):
    """Both lead through an item that came with the first one, and is not its last."""

    async def run():
        async with opened(tmp_path) as database:
            trunk = grow("alice", None, [b'"one"'])
            first = grow("alice", trunk[-1].head, [b'"two"', b'"three"'])
            second = grow("alice", trunk[-1].head, [b'"two"', b'"four"'])

            def work(connection: sqlite3.Connection) -> tuple[bytes, ...]:
                for before, nodes in ((None, trunk), (trunk[-1].head, first), (trunk[-1].head, second)):
                    context = Context(before, tuple(node.item for node in nodes))
                    keep_history(connection, "alice", context, nodes)
                release(connection, first[-1].id)
                left = read_history(connection, second[-1].id)
                release(connection, second[-1].id)
                release(connection, trunk[-1].id)
                return left

            assert await database.written(work) == (b'"one"', b'"two"', b'"four"')
        with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db")) as connection:
            assert connection.execute("SELECT count(*) FROM history").fetchone() == (0,)

    asyncio.run(run())
