"""Both event loops run each test of HTTP out."""

import asyncio

import pytest
import uvloop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine function to its end on a loop of its own."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def run_in_loop(main):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main())

    return run_in_loop
