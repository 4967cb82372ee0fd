"""Somebody who answers as a local server does, with chat, embeddings and rankings, for the examples on the pages."""

import asyncio
import contextlib
import threading

from antiphon.drivers.simulator import Answer, Received, Simulator
from embedder import Embedder
from scripted.scenarios import assistant
from scripted.upstream import ScriptedUpstream
from waiting import PATIENCE

ADDRESS = "http://127.0.0.1:8000/v1"


@contextlib.contextmanager
def standing_in():
    """Serve until the block ends, and give the address; whoever asks wrongly fails the tests."""
    upstream = ScriptedUpstream(play=assistant)
    loop = asyncio.new_event_loop()
    embedder = Embedder()

    def answer(received: Received) -> Answer:
        is_list = received.path.endswith(("/embeddings", "/rerank"))
        return embedder(received) if is_list else upstream(received)

    simulator = Simulator(answer)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.__aenter__(), loop).result(PATIENCE)
        yield simulator.base_url.removesuffix("/v1") + "/chat/v1"
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
    assert upstream.faults == []
