"""Hearing of what other processes have written, and sleeping while nobody wants to."""

import asyncio

from antiphon.drivers.sqlite.watching import Watch
from drivers.sqlite.opening import opened, run
from waiting import eventually, settled

WRITE = "INSERT INTO secrets (name, value) VALUES (hex(randomblob(8)), '')"


class Looking:
    """A database that counts how often it was read."""

    def __init__(self, database):
        self._database = database
        self.looks = 0

    async def read(self, work):
        self.looks += 1
        return await self._database.read(work)


async def write(database):
    await database.written(lambda connection: connection.execute(WRITE) and None)


def test_nobody_looks_while_there_is_nothing_to_hear(tmp_path):
    """Neither at first nor a while after it was of use; what was written meanwhile is told then."""

    async def test():
        async with opened(tmp_path) as here, opened(tmp_path) as there:
            looking, heard = Looking(here), []
            watch = Watch(looking, 0.2)
            watching = asyncio.ensure_future(watch.run(lambda: heard.append(1)))
            try:
                await write(there)
                await settled(lambda: looking.looks)
                assert (looking.looks, heard) == (0, [])

                watch.use()
                await eventually(lambda: heard == [1])
                await write(there)
                await eventually(lambda: heard == [1, 1])
                await settled(lambda: looking.looks)

                looks, told = looking.looks, len(heard)
                await write(there)
                await settled(lambda: looking.looks)
                assert (looking.looks, len(heard)) == (looks, told)
                watch.use()
                await eventually(lambda: len(heard) > told)
            finally:
                watching.cancel()

    run(test())


def test_it_looks_for_as_long_as_it_is_of_use(tmp_path):
    """Each use prolongs it, and what is written in between is heard soon."""

    async def test():
        async with opened(tmp_path) as here, opened(tmp_path) as there:
            heard = asyncio.Event()
            watch = Watch(here, 0.2)
            watching = asyncio.ensure_future(watch.run(heard.set))
            try:
                for _ in range(5):
                    watch.use()
                    heard.clear()
                    await write(there)
                    watch.use()
                    async with asyncio.timeout(1):
                        await heard.wait()
            finally:
                watching.cancel()

    run(test())
