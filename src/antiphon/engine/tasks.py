"""The one place that makes tasks: each is held, named, and its death is logged."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

_log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 0.5
"""More than it takes to clean up."""


class Tasks:
    """Background tasks of one event loop."""

    def __init__(self) -> None:
        """Hold no task yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, work: Coroutine[Any, Any, None], name: str, on_death: Callable[[], None] | None = None
    ) -> asyncio.Task[None]:
        """Run `work` in the background; `on_death` is called if a defect of ours ends it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() or (error := task.exception()) is None:
                return
            _log.error("task %s died", task.get_name(), exc_info=error)
            if on_death is not None:
                on_death()

        task.add_done_callback(ended)
        return task

    async def stop(self) -> None:
        """Cancel what is still running and wait for it.

        What goes on all the same is cancelled again: a library that it waits for may lose a cancellation, as
        `asyncio.wait_for` does before Python 3.12 with one that comes in the same moment as the result.
        """
        tasks = set(self._tasks)
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
